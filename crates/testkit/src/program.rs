//! Programs of the machine that tests run to their end: curl, python3, openssl. A test skips its part when one is
//! missing.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{poll_until, DEADLINE};

/// Reports that a test, or a part of it, is skipped, and why.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// What a program has printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
    /// Whether it exited with status 0.
    pub success: bool,
}

impl Output {
    /// Returns the program's standard output, followed by its standard error.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

/// Runs a program with `input` as its standard input, at most for twice [`DEADLINE`].
///
/// Returns `None`, after a [`skip`], when the program is not installed. Variables that name proxies are removed.
#[track_caller]
pub fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    run_with_timeout(DEADLINE * 2, program, arguments, input)
}

/// Runs a program as [`run`] does, but with this timeout, at which it is killed and the test fails.
#[track_caller]
pub fn run_with_timeout(timeout: Duration, program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let Ok(mut child) = command.spawn() else {
        skip(&format!("{program} is not installed"));
        return None;
    };
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let (stdout, stderr) = (read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap()));
    let (deadline, mut killed) = (Instant::now() + timeout, false);
    let poll = || {
        if !killed && Instant::now() >= deadline {
            killed = child.kill().is_ok();
        }
        child.try_wait().unwrap()
    };
    let status = poll_until(timeout + DEADLINE, poll, || format!("waiting until {program} is killed"));
    writer.join().unwrap();
    let (stdout, stderr) = (stdout.join().unwrap(), String::from_utf8_lossy(&stderr.join().unwrap()).into_owned());
    assert!(!killed, "{program} {arguments:?} did not exit within {timeout:?}: {stderr}");
    Some(Output { stdout, stderr, success: status.success() })
}

fn read_all(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Whether a program can be run; reports a [`skip`] otherwise.
pub fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err() {
        skip(&format!("{program} is not installed"));
    }
    version.is_ok()
}

/// Returns the name under which Chromium can be run; reports a [`skip`] when it is not installed.
pub fn find_chromium() -> Option<&'static str> {
    let runs = |name: &&str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs);
    if found.is_none() {
        skip("Chromium is not installed");
    }
    found
}

/// Runs curl without a proxy, which may fail.
#[track_caller]
pub fn try_curl(arguments: &[&str], input: &[u8]) -> Option<Output> {
    run("curl", &[&["-sS", "-m", "30", "--noproxy", "*"], arguments].concat(), input)
}

/// Runs curl without a proxy, asserts that it succeeds, and returns what it printed.
#[track_caller]
pub fn curl(arguments: &[&str], input: &[u8]) -> Option<String> {
    let output = try_curl(arguments, input)?;
    assert!(output.success, "curl {arguments:?}: {}", output.text());
    Some(output.text())
}

/// Runs a script with python3, asserts that it succeeds, and returns what it printed.
#[track_caller]
pub fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let output = run("python3", &[&["-c", script], arguments].concat(), b"")?;
    assert!(output.success, "{}", output.text());
    Some(output.text())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_a_missing_one_is_skipped() {
        let output = run("sh", &["-c", "cat; echo oh >&2; exit 1"], b"input").unwrap();
        assert_eq!((output.text().as_str(), output.success), ("inputoh\n", false));
        assert!(run("no-such-program-anywhere", &[], b"").is_none());
    }

    #[test]
    #[should_panic(expected = "did not exit within 50ms")]
    fn a_program_that_hangs_is_killed() {
        run_with_timeout(Duration::from_millis(50), "sleep", &["1000"], b"");
    }
}
