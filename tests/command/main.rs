//! The built `amboss` command, run as a newcomer runs it: banner, port rules, exit codes, signals, the test page; `tls`
//! has its HTTPS, `python` the interpreters it looks for, `systemd` the sockets passed on to it, `reload` its children,
//! `stopping` signals and log files, `seam` the command as a library.

#[cfg(all(unix, feature = "reload"))]
mod python;
#[cfg(all(unix, feature = "reload"))]
mod reload;
#[cfg(all(unix, feature = "reload"))]
mod running;
#[cfg(all(unix, feature = "reload"))]
mod seam;
#[cfg(all(unix, feature = "reload"))]
mod stopping;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(feature = "tls")]
mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running command; ended when dropped.
struct Amboss {
    child: Child,
    err: BufReader<ChildStderr>,
    /// What it printed up to "Press CTRL+C to quit".
    banner: String,
}

fn amboss(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amboss"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "LISTEN_FDS", "LISTEN_PID"] {
        command.env_remove(name);
    }
    command
}

impl Amboss {
    fn start(arguments: &[&str]) -> Amboss {
        Amboss::spawn(&mut amboss(arguments))
    }

    fn spawn(command: &mut Command) -> Amboss {
        let mut child = command.spawn().expect("the command starts");
        let mut err = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut banner = String::new();
        while !banner.ends_with("Press CTRL+C to quit\n") {
            let read = err.read_line(&mut banner).expect("it is text");
            assert!(read > 0, "it ended early: {banner}");
        }
        Amboss { child, err, banner }
    }

    /// The port of the first URL in the banner.
    fn port(&self) -> u16 {
        let port = self.banner.split("://127.0.0.1:").nth(1).expect("an address with a port");
        port.lines().next().and_then(|port| port.parse().ok()).expect("a port")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// How it ended, and what else it printed.
    fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).expect("it is text");
        (status, rest)
    }
}

impl Drop for Amboss {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(port: u16, fields: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    write!(stream, "GET /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n").expect("it can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer comes");
    answer
}

fn fails(arguments: &[&str], code: i32, sentence: &str) {
    let output = amboss(arguments).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
    assert!(printed.contains(sentence), "{arguments:?}: {printed}");
}

#[test]
fn the_test_page_shows_environ_and_settings_and_json_to_those_who_ask() {
    let server = Amboss::start(&["--port", "0"]);
    let page = get(server.port(), "X-Mark: <&>\r\n");
    assert!(page.contains("Content-Type: text/html"), "{page}");
    for part in ["<th>PATH_INFO</th><td>/a b</td>", "<td>&lt;&amp;&gt;</td>", "Try next", "header section"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let json = get(server.port(), "Accept: application/json\r\n");
    assert!(json.contains("Content-Type: application/json") && json.contains("\"QUERY_STRING\": \"q=1\""), "{json}");
}

#[test]
fn requests_are_logged_in_the_format_asked_for_and_coloured_only_on_request() {
    for (arguments, expected) in [
        (&["--port", "0"][..], "\"GET /a b?q=1 HTTP/1.1\" 200 "),
        (&["--port", "0", "--color", "always"], "] \"GET /a b?q=1 HTTP/1.1\" 200 "),
        (&["--port", "0", "--log-format", "common"], " +0000] \"GET /a%20b?q=1 HTTP/1.1\" 200 "),
        (
            &["--port", "0", "--log-format", "json"],
            "\"method\":\"GET\",\"path\":\"/a%20b\",\"query\":\"q=1\",\"protocol\":\"HTTP/1.1\",\"status\":200,",
        ),
    ] {
        let mut server = Amboss::start(arguments);
        get(server.port(), "");
        let mut line = String::new();
        server.err.read_line(&mut line).expect("a line");
        assert!(line.contains(expected), "{arguments:?}: {line}");
        assert!(!line.contains('\x1b'), "200 is plain: {line}");
    }
    let mut server = Amboss::start(&["--port", "0", "--color", "always"]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.write_all(b"\x1b]nonsense\r\n\r\n").expect("it can be sent");
    let mut line = String::new();
    server.err.read_line(&mut line).expect("a line");
    assert!(line.contains("\x1b[1m\x1b[31m\"\\x1b]nonsense\"\x1b[0m 400 "), "bold red, and escaped: {line:?}");
}

/// <https://no-color.org>: any value but an empty one, "0" included.
#[test]
fn no_color_counts_whatever_its_value() {
    for (no_color, force, colored) in
        [(None, "1", true), (Some(""), "1", true), (Some("0"), "1", false), (Some("1"), "1", false), (None, "0", false)]
    {
        let mut command = amboss(&["--port", "0"]);
        command.env("CLICOLOR_FORCE", force).envs(no_color.map(|value| ("NO_COLOR", value)));
        let mut server = Amboss::spawn(&mut command);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        stream.write_all(b"nonsense\r\n\r\n").expect("it can be sent");
        let mut line = String::new();
        server.err.read_line(&mut line).expect("a line");
        assert_eq!(line.contains("\x1b[1m"), colored, "NO_COLOR={no_color:?} CLICOLOR_FORCE={force}: {line:?}");
    }
}

#[test]
fn help_is_wrapped_to_the_terminal() {
    for columns in [60, 80, 120] {
        for arguments in [&["--help"][..], &["-h"], &["devcert", "--help"]] {
            let output = amboss(arguments).env("COLUMNS", columns.to_string()).output().expect("the command runs");
            let text = String::from_utf8(output.stdout).expect("text");
            assert!(text.contains("Usage: amboss"), "{arguments:?}: {text}");
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{arguments:?} at {columns} columns: {line}");
            }
        }
    }
}

#[test]
fn a_signal_stops_gracefully_and_quiet_is_quiet() {
    for signal in ["INT", "TERM"] {
        let server = Amboss::start(&["--port", "0"]);
        server.signal(signal);
        let (status, rest) = server.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {rest}");
        assert!(rest.contains("Stopping when the running requests are done"), "{rest}");
    }
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let mut server = Amboss::start(&["--port", "0"]);
    // A request that is being sent keeps the first from being enough.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").expect("it can be sent");
    std::thread::sleep(Duration::from_millis(50)); // the request has to be running; nothing outside tells
    server.signal("INT");
    let mut line = String::new();
    server.err.read_line(&mut line).expect("a line");
    assert!(line.contains("again to stop at once"), "{line}");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        // What comes within 300 ms counts as one.
        server.signal("INT");
        if let Some(status) = server.child.try_wait().expect("it is a child") {
            assert_eq!(status.code(), Some(130));
            return;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_bad_command_line_gets_a_sentence_and_code_2() {
    fails(&["--bind", "nonsense"], 2, "give a port, as in 127.0.0.1:5000");
    fails(&["--bind", "::1:80"], 2, "put an IPv6 address in brackets, as in [::1]:5000");
    fails(&["--bind", "fd://x"], 2, "give the descriptor's number, as in fd://3");
    fails(&["--port", "70000"], 2, "70000");
    fails(&["--port", "1", "--bind", "localhost:1"], 2, "cannot be used with");
    fails(&["--processes", "2", "--threads", "2"], 2, "Cannot have a multi-thread and multi-process server.");
    fails(&["--single", "--processes", "2"], 2, "leave out --threads and --processes");
    fails(&["--processes", "1"], 2, "1 is not in 2..=1000");
    fails(&["--nonsense"], 2, "--nonsense");
}

#[test]
fn a_taken_port_that_was_asked_for_is_an_error_with_advice_and_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    fails(&["--port", &port], 1, &format!("Port {port} is in use by another program."));
    fails(&["--bind", "fd://99"], 1, "can't listen on fd://99");
}

#[test]
fn the_default_port_gives_way_to_the_next_free_one_and_says_so() {
    // Taken by this or by somebody else: either way it is.
    let _taken = TcpListener::bind("127.0.0.1:5000");
    let server = Amboss::start(&[]);
    assert!(server.banner.starts_with("Port 5000 is in use by another program; trying 5001.\n"), "{}", server.banner);
    assert!(server.port() > 5000);
}

#[test]
fn processes_answer_on_one_connection_after_another() {
    let server = Amboss::start(&["--port", "0", "--processes", "2"]);
    for _ in 0..5 {
        let json = get(server.port(), "Accept: application/json\r\n");
        assert!(json.contains("\"wsgi.multiprocess\": \"true\""), "{json}");
    }
    server.signal("INT");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn chromium_shows_the_test_page() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    let Some(browser) = found else {
        println!("skipped: there is no Chromium here");
        return;
    };
    let server = Amboss::start(&["--port", "0"]);
    let profile = std::env::temp_dir().join(format!("amboss-chromium-{}", std::process::id()));
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://127.0.0.1:{}/in%20a%20browser", server.port()))
        .output()
        .expect("it starts");
    let _ = std::fs::remove_dir_all(&profile);
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("<td>/in a browser</td>") && page.contains("Chrom"), "{page}");
}
