//! Running other programs. A test skips itself, with a message, when a program is not installed.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

/// The output of a program, and whether it succeeded.
pub struct Output {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub success: bool,
}

impl Output {
    /// Standard output followed by standard error.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

/// Runs a program with this input. Prints a message and returns `None` when it is not installed. Kills it when it
/// hangs.
#[track_caller]
pub fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    run_with_timeout(DEADLINE * 2, program, arguments, input)
}

/// As [`run`], with this timeout.
#[track_caller]
pub fn run_with_timeout(timeout: Duration, program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        bytes
    });
    let stderr = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let until = Instant::now() + timeout;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{program} {arguments:?} hangs: {}", stderr.join().unwrap());
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    writer.join().unwrap();
    Some(Output { stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), success: status.success() })
}

/// Runs curl.
#[track_caller]
pub fn try_curl(arguments: &[&str], input: &[u8]) -> Option<Output> {
    run("curl", &[&["-sS", "-m", "30", "--noproxy", "*"], arguments].concat(), input)
}

/// Runs curl, and asserts that it succeeds.
#[track_caller]
pub fn curl(arguments: &[&str], input: &[u8]) -> Option<String> {
    let output = try_curl(arguments, input)?;
    assert!(output.success, "curl {arguments:?}: {}", output.text());
    Some(output.text())
}

/// Runs an openssl command, and asserts that it succeeds.
#[track_caller]
pub fn openssl(arguments: &[&str]) -> Option<String> {
    let output = run("openssl", arguments, b"")?;
    assert!(output.success, "openssl {arguments:?}: {}", output.text());
    Some(output.text())
}

/// Sends a request with `openssl s_client`. The output contains the response.
#[track_caller]
pub fn s_client(server: &TestServer, arguments: &[&str]) -> Option<Output> {
    let addr = server.addr.to_string();
    let arguments = [&["s_client", "-connect", &addr, "-servername", "localhost", "-ign_eof"], arguments].concat();
    run("openssl", &arguments, b"GET /environ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Runs a Python program, asserts that it succeeds, and returns what it printed.
#[track_caller]
pub fn python(program: &str, arguments: &[&str]) -> Option<String> {
    let output = run("python3", &[&["-c", program], arguments].concat(), b"")?;
    assert!(output.success, "{}", output.text());
    Some(output.text())
}
