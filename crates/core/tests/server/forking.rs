//! A process for each request: kept connections, the limit on children, children that die, stopping.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server_process::ServerProcess;
use crate::support::*;
use amboss_core::{make_server, Address, Concurrency, ServeErrorKind};

/// The roles with both pollers.
const BOTH: [&str; 2] = ["forking", "forking poll"];

#[test]
fn each_request_has_a_process_and_connections_outlive_it() {
    BOTH.into_iter().for_each(connections_outlive_processes);
}

fn connections_outlive_processes(role: &str) {
    let mut server = ServerProcess::start(role);
    let mut client = server.connect();
    let mut pids: Vec<String> = (0..5).map(|_| client.get("/pid").text()).collect();
    pids.push(server.get("/pid").text());
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 6);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "body");
    assert_eq!(client.response().status, 200);
    wait_until("idle connections have no process and all children are reaped", || server.children().is_empty());
    assert!(server.stop());
}

#[test]
fn the_number_of_children_is_limited() {
    for role in BOTH {
        let server = ServerProcess::start(&format!("{role} processes=2"));
        let mut clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("GET /sleep/400 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut maximum = 0;
        wait_until("all requests are answered", || {
            maximum = maximum.max(server.children().len());
            clients.retain_mut(|client| client.is_silent_for(MS));
            clients.is_empty()
        });
        assert_eq!(maximum, 2, "{role}");
    }
}

#[test]
fn a_killed_or_crashed_child_affects_no_other_request() {
    let server = ServerProcess::start("forking");
    let mut victim = server.connect();
    victim.send("GET /sleep/10000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || server.children().len() == 1);
    let first = server.children()[0].0;
    let mut other = server.connect();
    other.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("both requests run", || server.children().len() == 2);
    assert!(std::process::Command::new("kill").arg("-9").arg(first.to_string()).status().unwrap().success());
    assert!(victim.at_end());
    assert!(server.connect().get("/abort_not").status == 200);
    let mut crashing = server.connect();
    crashing.send("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(crashing.at_end());
    assert_eq!(server.get("/panic").status, 500);
    assert_eq!(other.response().text(), "hello");
    wait_until("the log reports the killed child", || server.stderr().contains("was killed"));
    wait_until("all children are reaped", || server.children().is_empty());
}

#[test]
fn the_server_works_with_sigchld_ignored() {
    for role in BOTH {
        let mut server = ServerProcess::ignoring_sigchld(role);
        let mut client = server.connect();
        for _ in 0..5 {
            assert_eq!(client.get("/pid").status, 200, "{role}");
        }
        assert!(server.get("/pid").status == 200);
        assert!(!server.stderr().contains("killed"), "{}", server.stderr());
        let mut crashing = server.connect();
        crashing.send("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(crashing.at_end());
        wait_until("the log reports the killed child", || server.stderr().contains("was killed"));
        let mut long = server.connect();
        long.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the request runs", || server.children().len() == 1);
        assert!(server.stop(), "{role}");
        assert!(long.at_end());
    }
}

#[test]
fn an_application_that_exits_in_a_child_closes_its_connection() {
    let server = ServerProcess::start("forking");
    let mut client = server.connect();
    let began = Instant::now();
    client.send("GET /exit HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.at_end());
    assert!(began.elapsed() < Duration::from_secs(10), "the connection was kept until the idle timeout");
    assert_eq!(server.get("/pid").status, 200);
}

#[test]
fn an_application_in_a_child_can_stop_the_server() {
    for role in BOTH {
        let mut server = ServerProcess::start(role);
        let mut other = server.connect();
        other.send("GET /sleep/300 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the request runs", || server.children().len() == 1);
        assert_eq!(server.get("/shutdown").status, 200);
        assert_eq!(other.response().text(), "hello", "a running request is answered");
        assert!(server.wait(), "{role}");
    }
}

#[test]
fn a_failure_in_a_child_stops_the_server_when_errors_are_passed_through() {
    for role in BOTH {
        for (path, expected) in [("/fail", "error in a child"), ("/panic", "panic in a child")] {
            let mut server = ServerProcess::start(&format!("{role} passthrough"));
            assert_eq!(server.get("/pid").status, 200);
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(!server.wait(), "{role} {path}");
            wait_until("standard error has the text", || server.stderr().contains(expected));
        }
    }
}

#[test]
fn a_forking_server_stops_within_its_deadline_and_leaves_no_child() {
    BOTH.into_iter().for_each(stops_within_its_deadline);
}

fn stops_within_its_deadline(role: &str) {
    let mut server = ServerProcess::start(role);
    let mut short = server.connect();
    short.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut long = server.connect();
    long.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("both requests run", || server.children().len() == 2);
    let children = server.children();
    let began = Instant::now();
    assert!(server.stop());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(short.response().text(), "hello");
    assert!(long.at_end());
    for (pid, _) in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_running_child_does_not_keep_the_port() {
    let mut server = ServerProcess::start("forking");
    let mut slow = server.connect();
    slow.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || server.children().len() == 1);
    server.request_stop();
    wait_until("connections are refused", || TcpStream::connect(server.addr).is_err());
    assert!(slow.is_silent_for(MS), "the port was released only when the child had exited");
    assert_eq!(slow.response().text(), "hello");
    assert!(server.stop());
}

#[test]
fn forking_beside_threads_of_another_server_is_refused() {
    let _threaded = Setup::threaded().start(test_app);
    wait_until("the other server has threads", || {
        let address = [Address::new("127.0.0.1", 0)];
        let mut server = make_server(&address, test_app, Concurrency::Processes, settings_without_log()).unwrap();
        server.shutdown_handle().shutdown();
        match server.serve_forever() {
            Err(error) if matches!(error.kind(), ServeErrorKind::Settings(_)) => {
                assert!(error.to_string().contains("can't fork"), "{error}");
                true
            }
            _ => false,
        }
    });
}

/// A process that waited for its client to close the connection would take the place of other requests.
#[test]
fn clients_that_do_not_close_occupy_no_process() {
    for role in BOTH {
        let server = ServerProcess::start(&format!("{role} processes=2"));
        let began = Instant::now();
        let clients: Vec<Client> = ["POST /pid HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "GET /pid HTTP/1.0\r\n\r\n"]
            .into_iter()
            .cycle()
            .take(10)
            .map(|request| {
                let mut client = server.connect();
                client.send(request);
                client.rest();
                client
            })
            .collect();
        // Each client would get two seconds to close.
        assert!(began.elapsed() < Duration::from_secs(2), "{role}");
        wait_until("no process is left", || server.children().is_empty());
        drop(clients);
    }
}
