//! Tests that run the built `amboss` command. This file tests the banner, ports, exit codes, signals, and the
//! development application. The other files test:
//!
//! - `configuration`: files, environment variables, and which of them counts
//! - `debugger`: `--debug`
//! - `limits`: the effect of each limit and each timeout
//! - `logs`: access lines, errors and messages
//! - `migrate`: the configurations of other servers, completions and the manual
//! - `process`: directory, environment, user and name of the process
//! - `proxies`: nginx and haproxy in front
//! - `python`: the search for an interpreter
//! - `reload`: reloading, workers and other programs
//! - `runner_api`: the command as a library
//! - `site`: folders, CGI scripts and allowed hosts
//! - `stopping`: signals, and log files
//! - `systemd`: sockets from systemd
//! - `tls`: HTTPS
//!
//! `running` contains what the tests with a supervisor share.

mod configuration;
mod debugger;
mod limits;
#[cfg(all(unix, feature = "reload"))]
mod logs;
#[cfg(all(unix, feature = "reload"))]
mod migrate;
#[cfg(all(unix, feature = "reload"))]
mod process;
#[cfg(unix)]
mod proxies;
#[cfg(all(unix, feature = "reload"))]
mod python;
#[cfg(all(unix, feature = "reload"))]
mod reload;
#[cfg(all(unix, feature = "reload"))]
mod runner_api;
#[cfg(all(unix, feature = "reload"))]
mod running;
mod site;
#[cfg(all(unix, feature = "reload"))]
mod stopping;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(feature = "tls")]
mod tls;

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use amboss_testkit::{find_chromium, wait_for, Client, TempDir};

/// A running command; killed when dropped. The tests read its log line by line, which `amboss_testkit::Process` cannot
/// do: it collects all output.
struct Amboss {
    child: Child,
    err: BufReader<ChildStderr>,
    /// The output up to "Press CTRL+C to quit".
    banner: String,
}

fn amboss(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amboss"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in
        ["NO_COLOR", "CLICOLOR_FORCE", "LISTEN_FDS", "LISTEN_PID", "FORWARDED_ALLOW_IPS", "PORT", "WEB_CONCURRENCY"]
    {
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
        let mut err = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut banner = String::new();
        while !banner.ends_with("Press CTRL+C to quit\n") {
            let read = err.read_line(&mut banner).expect("the output is text");
            assert!(read > 0, "the command ended early: {banner}");
        }
        Amboss { child, err, banner }
    }

    /// Returns the port of the first URL in the banner.
    fn port(&self) -> u16 {
        let port = self.banner.split("://127.0.0.1:").nth(1).expect("an address with a port");
        port.lines().next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Sends a signal. `amboss_testkit::send_signal` exists only on Unix, but this file is compiled everywhere.
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits until the command ends; returns its status and the rest of its output.
    fn wait(mut self) -> (ExitStatus, String) {
        let status = wait_for("the command has exited", || self.child.try_wait().expect("the child can be waited for"));
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).expect("the output is text");
        (status, rest)
    }
}

impl Drop for Amboss {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to a port of this machine.
fn connect(port: u16) -> Client {
    Client::connect(("127.0.0.1", port))
}

/// Sends a GET request and returns the whole response as text.
#[track_caller]
fn get(port: u16, fields: &str) -> String {
    match try_get(port, fields) {
        Ok(response) => response,
        Err(error) => panic!("no response: {error}"),
    }
}

/// Sends a GET request as [`get`] does, and fails when no whole response arrives within ten seconds.
fn try_get(port: u16, fields: &str) -> io::Result<String> {
    let fields = format!("Connection: close\r\n{fields}");
    let mut client = Client::try_connect(("127.0.0.1", port))?.with_fields(&fields);
    client.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let response = client.try_get("/a%20b?q=1")?;
    assert!(client.at_end(), "the server closes the connection after the response");
    Ok(format!("{}{}", response.head, response.text()))
}

/// Asserts that the command fails with this exit code and prints this message.
#[track_caller]
fn fails(arguments: &[&str], code: i32, message: &str) {
    let output = amboss(arguments).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
    assert!(printed.contains(message), "{arguments:?}: {printed}");
}

#[test]
fn the_development_application_shows_environ_and_settings_as_html_or_json() {
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
fn requests_are_logged_in_the_chosen_format_and_coloured_only_on_request() {
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
        assert!(!line.contains('\x1b'), "a 200 is not coloured: {line}");
    }
    let mut server = Amboss::start(&["--port", "0", "--color", "always"]);
    let mut client = connect(server.port());
    client.send("\x1b]nonsense\r\n\r\n");
    let mut line = String::new();
    server.err.read_line(&mut line).expect("a line");
    assert!(line.contains("\x1b[1m\x1b[31m\"\\x1b]nonsense\"\x1b[0m 400 "), "bold red, and escaped: {line:?}");
}

/// <https://no-color.org>: any value counts that is not empty, "0" included.
#[test]
fn any_nonempty_value_of_no_color_switches_colours_off() {
    for (no_color, force, colored) in
        [(None, "1", true), (Some(""), "1", true), (Some("0"), "1", false), (Some("1"), "1", false), (None, "0", false)]
    {
        let mut command = amboss(&["--port", "0"]);
        command.env("CLICOLOR_FORCE", force).envs(no_color.map(|value| ("NO_COLOR", value)));
        let mut server = Amboss::spawn(&mut command);
        let mut client = connect(server.port());
        client.send("nonsense\r\n\r\n");
        let mut line = String::new();
        server.err.read_line(&mut line).expect("a line");
        assert_eq!(line.contains("\x1b[1m"), colored, "NO_COLOR={no_color:?} CLICOLOR_FORCE={force}: {line:?}");
    }
}

#[test]
fn help_is_wrapped_to_the_width_of_the_terminal() {
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
fn int_and_term_stop_gracefully() {
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
    // A request whose body is incomplete keeps the server from stopping.
    let mut client = connect(server.port());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50)); // until the request is running, which is not visible from outside
    server.signal("INT");
    let mut line = String::new();
    server.err.read_line(&mut line).expect("a line");
    assert!(line.contains("again to stop at once"), "{line}");
    let status = wait_for("the command has exited", || {
        // Signals within 300 ms count as one.
        server.signal("INT");
        server.child.try_wait().expect("the child can be waited for")
    });
    assert_eq!(status.code(), Some(130));
}

#[test]
fn an_invalid_command_line_is_refused_with_a_message_and_code_2() {
    fails(&["--bind", "nonsense"], 2, "give a port, as in 127.0.0.1:5000");
    fails(&["--bind", "::1:80"], 2, "put an IPv6 address in brackets, as in [::1]:5000");
    fails(&["--bind", "fd://x"], 2, "give the descriptor's number, as in fd://3");
    fails(&["--port", "70000"], 2, "70000");
    fails(&["--port", "1", "--bind", "localhost:1"], 2, "cannot be used with");
    fails(&["--processes", "2", "--threads", "2"], 2, "'--processes <N>' cannot be used with '--threads <N>'");
    fails(&["--single", "--processes", "2"], 2, "'--processes <N>' cannot be used with '--single'");
    fails(&["--processes", "1"], 2, "1 is not in 2..=1000");
    fails(&["--nonsense"], 2, "--nonsense");
}

#[test]
fn a_given_port_that_is_in_use_is_an_error_with_advice_and_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    fails(&["--port", &port], 1, &format!("Port {port} is in use by another program."));
    fails(&["--bind", "fd://99"], 1, "can't listen on fd://99");
}

#[test]
fn the_next_free_port_replaces_a_default_port_that_is_in_use() {
    // Either this call takes the port, or another program has it already.
    let _taken = TcpListener::bind("127.0.0.1:5000");
    let server = Amboss::start(&[]);
    assert!(server.banner.starts_with("Port 5000 is in use by another program; trying 5001.\n"), "{}", server.banner);
    assert!(server.port() > 5000);
}

#[test]
fn processes_serve_consecutive_connections() {
    let server = Amboss::start(&["--port", "0", "--processes", "2"]);
    for _ in 0..5 {
        let json = get(server.port(), "Accept: application/json\r\n");
        assert!(json.contains("\"wsgi.multiprocess\": \"true\""), "{json}");
    }
    server.signal("INT");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn chromium_shows_the_development_application() {
    let Some(browser) = find_chromium() else { return };
    let server = Amboss::start(&["--port", "0"]);
    let profile = TempDir::new("chromium");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://127.0.0.1:{}/in%20a%20browser", server.port()))
        .output()
        .expect("Chromium starts");
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("<td>/in a browser</td>") && page.contains("Chrom"), "{page}");
}
