//! The effect of each limit and each timeout of the command line.

use std::time::{Duration, Instant};

use amboss_testkit::{Client, TempDir};

use crate::{connect, Amboss};

/// Starts the command with these flags, besides a free port.
fn serving(flags: &[&str]) -> Amboss {
    Amboss::start(&[&["-p", "0"], flags].concat())
}

/// Returns the status that a server with these flags answers a request with; 0 if it closes the connection instead.
#[track_caller]
fn status(flags: &[&str], request: &str) -> u16 {
    let server = serving(flags);
    let mut client = connect(server.port());
    client.send(request);
    client.try_response().map_or(0, |response| response.status)
}

const POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\n";

/// Returns a POST request with a body of this length.
fn post(length: usize) -> String {
    format!("{POST}Content-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

/// Returns a POST request with a chunked body.
fn chunked(body: &str) -> String {
    format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn each_limit_of_a_request_refuses_what_is_longer() {
    let get = |line: &str, fields: &str| format!("GET {line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let long_path = get(&format!("/{}", "a".repeat(100)), "");
    let long_field = get("/", &format!("X: {}\r\n", "a".repeat(200)));
    let many_fields = get("/", "A: 1\r\nB: 2\r\nC: 3\r\n");
    for (flag, request, refused) in [
        ("--limit-request-line=100", long_path, 414),
        ("--limit-header-section=100", long_field.clone(), 431),
        ("--limit-request-field-size=100", long_field.clone(), 431),
        ("--limit-request-field_size=100", long_field, 431),
        ("--limit-request-fields=3", many_fields, 431),
        ("--limit-body=10", post(11), 413),
        ("--limit-collected-body=10", post(11), 413),
        ("--limit-chunk-extensions=4", chunked("1;abcdef=1\r\nx\r\n0\r\n\r\n"), 400),
        ("--limit-trailers=4", chunked("1\r\nx\r\n0\r\nabc: def\r\n\r\n"), 400),
    ] {
        assert_eq!(status(&[flag], &request), refused, "{flag}");
        assert_eq!(status(&[], &request), 200, "{flag} is what refuses the request");
    }
    for flag in ["--limit-body=10", "--limit-collected-body=10"] {
        assert_eq!(status(&[flag], &post(10)), 200, "{flag}");
    }
}

#[test]
fn bodies_that_fit_neither_into_memory_nor_into_files_are_refused() {
    let request = post(1 << 20);
    for flags in [&["--limit-body-memory=64K"][..], &["--limit-bodies-memory=64K"]] {
        assert_eq!(status(&[flags, &["--limit-body-files=64K"]].concat(), &request), 503, "{flags:?}");
        assert_eq!(status(flags, &request), 200, "{flags:?}");
    }
    assert_eq!(status(&["--limit-body-files=64K"], &request), 200);
}

#[test]
fn an_unread_body_beyond_the_limit_closes_the_connection() {
    let dir = TempDir::new("limits");
    dir.write("site/file", "x");
    let folder = dir.join_str("site");
    for (flag, closes) in [("--limit-drain=10", true), ("--limit-drain=1K", false)] {
        let server = serving(&[flag, "--body-mode=stream", &folder]);
        let mut client = connect(server.port());
        client.send(post(100));
        let response = client.response();
        assert_eq!(response.field("Connection") == Some("close"), closes, "{flag}: {}", response.head);
    }
}

#[test]
fn a_connection_beyond_the_limit_waits_until_another_one_ends() {
    let server = serving(&["--limit-connections=1"]);
    let mut first = connect(server.port());
    assert_eq!(first.get("/").status, 200);
    let mut second = connect(server.port());
    second.send_get("/");
    assert!(second.is_silent_for(Duration::from_millis(200)));
    drop(first);
    assert_eq!(second.response().status, 200);
}

#[test]
fn a_long_proxy_header_ends_the_connection() {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x40".to_vec();
    header.extend([b'x'; 64]);
    for (flag, status) in [("--limit-proxy-header=79", 0), ("--limit-proxy-header=80", 200)] {
        let server = serving(&["--proxy-protocol", flag]);
        let mut client = connect(server.port());
        client.send(&header);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.try_response().map_or(0, |response| response.status), status, "{flag}");
    }
}

/// The time after which a test with a short timeout would have met the default.
const SOON: Duration = Duration::from_secs(5);

/// Sends bytes to a server with these flags; returns what it answers before it closes the connection, which has to be
/// soon.
#[track_caller]
fn ends_soon(flags: &[&str], bytes: &str) -> String {
    let server = serving(flags);
    let started = Instant::now();
    let mut client = connect(server.port());
    client.send(bytes);
    let rest = client.rest();
    assert!(started.elapsed() < SOON, "{flags:?}: {:?}", started.elapsed());
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn each_timeout_ends_what_takes_longer() {
    let half = format!("{POST}Content-Length: 10\r\n\r\nx");
    for (flags, bytes, answer) in [
        (&["--idle-timeout=0.2"][..], "", ""),
        (&["--keep-alive=0.2"], "", ""),
        (&["--head-timeout=0.2"], "GET / HT", "HTTP/1.1 408"),
        (&["--stalled-timeout=0.2"], &half, "HTTP/1.1 408"),
        (&["--grace=0.2", "--minimum-rate=1M"], &half, "HTTP/1.1 408"),
        #[cfg(feature = "tls")]
        (&["--adhoc", "--handshake-timeout=0.2"], "\x16\x03\x01", ""),
    ] {
        let rest = ends_soon(flags, bytes);
        assert!(rest.starts_with(answer) && rest.is_empty() == answer.is_empty(), "{flags:?}: {rest}");
    }
    let rest = ends_soon(&["--idle-timeout=0.2"], "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
}

#[test]
fn a_slow_client_is_not_ended_by_the_minimum_rate_of_zero() {
    let server = serving(&["--grace=0.1", "--minimum-rate=0"]);
    let mut client = connect(server.port());
    client.send(format!("{POST}Content-Length: 2\r\n\r\nx"));
    assert!(client.is_silent_for(Duration::from_millis(400)));
    client.send("x");
    assert_eq!(client.response().status, 200);
}

#[test]
fn what_a_client_sends_after_the_last_response_is_read_for_the_time_of_linger() {
    let server = serving(&["--linger=0.2", "--limit-body=1"]);
    let started = Instant::now();
    let mut client = connect(server.port());
    client.send(post(2));
    assert_eq!(client.response().status, 413);
    // The server has closed the connection when its system answers bytes with a reset.
    while client.try_send("x").is_ok() {
        assert!(started.elapsed() < Duration::from_millis(1800), "the default is two seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_request_that_waits_for_a_thread_longer_than_the_queue_timeout_gets_503() {
    let dir = TempDir::new("limits");
    let Some((_server, port)) = slow_server(&dir, &["--queue-timeout=0.2", "--threads=1"]) else { return };
    let mut running = connect(port);
    running.send_get("/slow");
    let mut waiting = connect(port);
    wait_for_slow(&dir);
    waiting.send_get("/slow");
    assert_eq!(waiting.response().status, 503);
}

#[test]
fn a_wait_for_a_client_beyond_the_limit_takes_a_thread() {
    for (limit, status) in [("0", 503), ("2", 200)] {
        let flags = ["--body-mode=stream", "--threads=2", "--queue-timeout=0.2", "--limit-client-waits", limit];
        let server = serving(&flags);
        let mut slow: Vec<Client> = (0..2).map(|_| connect(server.port())).collect();
        for client in &mut slow {
            client.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
            // The application reads the body, and waits for the client.
            client.until("100 Continue\r\n\r\n");
        }
        assert_eq!(connect(server.port()).get("/").status, status, "{limit}");
        for mut client in slow {
            client.send("xy");
            assert_eq!(client.response().status, 200);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_backlog_is_that_of_the_listening_socket() {
    let server = serving(&["--backlog=7"]);
    let filter = format!("sport = :{}", server.port());
    let Some(output) = amboss_testkit::run("ss", &["-ltnH", &filter], b"") else { return };
    // The second and the third column are the lengths of the queue: now, and at most.
    let columns: Vec<String> = output.text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(columns.get(2).map(String::as_str), Some("7"), "{columns:?}");
}

#[test]
fn a_stop_cuts_off_what_runs_longer_than_the_graceful_timeout() {
    let dir = TempDir::new("limits");
    let Some((server, port)) = slow_server(&dir, &["--graceful-timeout=0.2"]) else { return };
    let mut running: Client = connect(port);
    running.send_get("/slow");
    wait_for_slow(&dir);
    let started = Instant::now();
    server.signal("TERM");
    let (status, _) = server.wait();
    assert!(status.success() && started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(running.try_response().is_err());
}

/// Starts a server whose path `/slow` runs a CGI script for a long time; `None` where there are no such scripts.
fn slow_server(dir: &TempDir, flags: &[&str]) -> Option<(Amboss, u16)> {
    if !cfg!(unix) {
        return None;
    }
    #[cfg(unix)]
    let started = dir.join_str("started");
    #[cfg(unix)]
    dir.write_program("cgi/slow", &format!("#!/bin/sh\n: > '{started}'\nexec sleep 20\n"));
    let mount = format!("/={}", dir.join_str("cgi"));
    let server = serving(&[&["--cgi", &mount], flags].concat());
    let port = server.port();
    Some((server, port))
}

fn wait_for_slow(dir: &TempDir) {
    amboss_testkit::wait_until("the script runs", || dir.join("started").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_body_that_is_too_long_for_memory_is_in_the_directory_for_bodies() {
    let dir = TempDir::new("limits");
    let directory = dir.join_str(".");
    let server = serving(&["--limit-body-memory=1K", "--body-directory", &directory]);
    let mut client = connect(server.port());
    client.send(format!("{POST}Content-Length: 2000000\r\n\r\n{}", "x".repeat(1_900_000)));
    let links = format!("/proc/{}/fd", server.child.id());
    let has_file = || {
        let links = std::fs::read_dir(&links).into_iter().flatten().flatten();
        let mut paths = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        // The file has no name: its link ends with " (deleted)".
        paths.any(|path| path.starts_with(dir.path()) && path.to_string_lossy().ends_with("(deleted)"))
    };
    amboss_testkit::wait_until("the body is in a file", has_file);
    client.send("x".repeat(100_000));
    assert_eq!(client.response().status, 200);
}
