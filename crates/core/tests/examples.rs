//! Runs every example as a user would, and checks that it does what its first lines say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running example; dropping it kills the process.
struct Example {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

fn path(name: &str) -> PathBuf {
    // `cargo test` builds the examples into a folder beside that of the tests.
    let mut path = std::env::current_exe().expect("the path of the test");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Example {
        let mut child = Command::new(path(name))
            .arg("127.0.0.1:0")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut out = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("the example prints its address");
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Example { child, out, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the example listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        stream
    }

    /// Sends a request on a connection of its own, and returns the response.
    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sending succeeds");
        let mut response = String::new();
        // A process that crashes resets the connection; the bytes before that are the response.
        let _ = stream.read_to_string(&mut response);
        response
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hello_responds() {
    let response = Example::start("hello", &[]).get("/");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nHello, World!"), "{response}");
}

#[test]
fn token_callback_waits_for_a_token_prints_it_and_exits() {
    let mut example = Example::start("token_callback", &[]);
    assert!(example.get("/favicon.ico").starts_with("HTTP/1.1 404 "));
    let response = example.get("/callback?state=x&token=abc123");
    assert!(response.ends_with("You can close this window.\n"), "{response}");
    let mut rest = String::new();
    example.out.read_to_string(&mut rest).expect("the example exits");
    assert_eq!(rest, "token: abc123\n");
    assert!(example.child.wait().expect("the example exits").success());
    assert!(TcpStream::connect(&example.address).is_err(), "the port is not free");
}

#[test]
fn streaming_sends_each_block_at_once_and_closes_when_the_client_disconnects() {
    let mut example = Example::start("streaming", &["1"]);
    let response = example.get("/");
    let events = (0..10).rev().map(|left| format!("data: {left}\n\n"));
    for event in events {
        assert!(response.contains(&format!("\r\n{event}\r\n")), "{event:?} is not a chunk of its own in {response}");
    }
    let mut line = String::new();
    example.out.read_line(&mut line).expect("the example prints that it closed");
    assert_eq!(line, "closed with 0 to go\n");

    let mut example = Example::start("streaming", &["100"]);
    let mut stream = example.connect();
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sending succeeds");
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("the first block arrives") > 0);
        if line.starts_with("data: 9") {
            break;
        }
    }
    drop(reader);
    let mut line = String::new();
    example.out.read_line(&mut line).expect("the example prints that it closed");
    assert!(line.starts_with("closed with ") && line != "closed with 0 to go\n", "{line}");
}

#[test]
fn middleware_changes_the_environ_adds_a_field_and_responds_on_its_own() {
    let example = Example::start("middleware", &[]);
    let response = example.get("/app/page");
    assert!(
        response.contains("\r\nX-Content-Type-Options: nosniff\r\n") && response.ends_with("/app|/page\n"),
        "{response}"
    );
    assert!(example.get("/health").starts_with("HTTP/1.1 204 No Content\r\n"));
}

#[test]
fn forking_survives_a_crash() {
    let example = Example::start("forking", &[]);
    assert_eq!(example.get("/crash"), "");
    let (first, second) = (example.get("/"), example.get("/"));
    assert!(first.ends_with(", multiprocess true\n"), "{first}");
    let process = |response: &str| response.split("process ").nth(1).map(str::to_owned);
    assert_ne!(process(&first), process(&second));
}

#[test]
fn upgrade_echoes_also_bytes_that_were_sent_with_the_request() {
    let example = Example::start("upgrade", &[]);
    assert!(example.get("/").starts_with("HTTP/1.1 426 "));
    let mut stream = example.connect();
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst\n")
        .expect("sending succeeds");
    let mut reader = BufReader::new(stream.try_clone().expect("the socket can be duplicated"));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("the head arrives");
    }
    for (sent, expected) in [(None, "first\n"), (Some("second\n"), "second\n")] {
        if let Some(sent) = sent {
            stream.write_all(sent.as_bytes()).expect("sending succeeds");
        }
        let mut echoed = String::new();
        reader.read_line(&mut echoed).expect("the echo arrives");
        assert_eq!(echoed, expected);
    }
}

#[test]
fn parser_only_prints_the_requests_that_it_reads() {
    let run = |input: &str| {
        let mut child = Command::new(path("parser_only"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        child.stdin.take().expect("the stream is piped").write_all(input.as_bytes()).expect("the example reads");
        let output = child.wait_with_output().expect("the example exits");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (success, text) = run("GET /a%20b HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(success && text.contains("GET \"/a b\"\n  Host = x\n") && text.contains("\r\n\r\nok\n"), "{text}");
    assert!(!run("GET / HTTP/1.1\r\n\r\n").0, "a request without Host was accepted");
}
