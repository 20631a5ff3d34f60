//! A process for each request: keep-alive across processes, the limit of children, children that die, stopping.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::helper::Helper;
use crate::support::*;
use amboss_core::{make_server, Address, Concurrency, ServeErrorKind};

/// With both ways of waiting.
const BOTH: [&str; 2] = ["forking", "forking poll"];

#[test]
fn each_request_has_a_process_and_keep_alive_goes_across_them() {
    BOTH.into_iter().for_each(keep_alive_goes_across_processes);
}

fn keep_alive_goes_across_processes(role: &str) {
    let mut helper = Helper::start(role);
    let mut client = Client::connect(helper.addr);
    let mut pids: Vec<String> = (0..5).map(|_| client.get("/pid").text()).collect();
    pids.push(helper.get("/pid").text());
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 6);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "body");
    assert_eq!(client.response().status, 200);
    eventually("idle connections hold no process, and no zombie is left", || helper.children().is_empty());
    assert!(helper.stop());
}

#[test]
fn no_more_children_run_than_allowed() {
    for role in BOTH {
        let helper = Helper::start(&format!("{role} processes=2"));
        let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(helper.addr)).collect();
        for client in &mut clients {
            client.send("GET /sleep/400 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut most = 0;
        eventually("all are answered", || {
            most = most.max(helper.children().len());
            clients.retain_mut(|client| client.is_silent_for(MS));
            clients.is_empty()
        });
        assert_eq!(most, 2, "{role}");
    }
}

#[test]
fn a_child_that_is_killed_or_crashes_hurts_nobody() {
    let helper = Helper::start("forking");
    let mut victim = Client::connect(helper.addr);
    victim.send("GET /sleep/10000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || helper.children().len() == 1);
    let first = helper.children()[0].0;
    let mut other = Client::connect(helper.addr);
    other.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("both run", || helper.children().len() == 2);
    assert!(std::process::Command::new("kill").arg("-9").arg(first.to_string()).status().unwrap().success());
    assert!(victim.at_end());
    assert!(Client::connect(helper.addr).get("/abort_not").status == 200);
    let mut crashing = Client::connect(helper.addr);
    crashing.send("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(crashing.at_end());
    assert_eq!(helper.get("/panic").status, 500);
    assert_eq!(other.response().text(), "hello");
    eventually("the log says so", || helper.stderr().contains("was killed"));
    eventually("no zombie", || helper.children().is_empty());
}

#[test]
fn where_sigchld_is_ignored_connections_are_kept_and_the_server_stops() {
    for role in BOTH {
        let mut helper = Helper::ignoring_children(role);
        let mut client = Client::connect(helper.addr);
        for _ in 0..5 {
            assert_eq!(client.get("/pid").status, 200, "{role}");
        }
        assert!(helper.get("/pid").status == 200);
        assert!(!helper.stderr().contains("killed"), "{}", helper.stderr());
        let mut crashing = Client::connect(helper.addr);
        crashing.send("GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(crashing.at_end());
        eventually("the log says so", || helper.stderr().contains("was killed"));
        let mut long = Client::connect(helper.addr);
        long.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || helper.children().len() == 1);
        assert!(helper.stop(), "{role}");
        assert!(long.at_end());
    }
}

#[test]
fn a_child_whose_application_exits_takes_its_connection_along() {
    let helper = Helper::start("forking");
    let mut client = Client::connect(helper.addr);
    let began = Instant::now();
    client.send("GET /exit HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.at_end());
    assert!(began.elapsed() < Duration::from_secs(10), "it was kept until the deadline of idle connections");
    assert_eq!(helper.get("/pid").status, 200);
}

#[test]
fn an_application_in_a_child_can_stop_the_server() {
    for role in BOTH {
        let mut helper = Helper::start(role);
        let mut other = Client::connect(helper.addr);
        other.send("GET /sleep/300 HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || helper.children().len() == 1);
        assert_eq!(helper.get("/shutdown").status, 200);
        assert_eq!(other.response().text(), "hello", "what runs is answered");
        assert!(helper.ends(), "{role}");
    }
}

#[test]
fn a_failure_in_a_child_ends_the_server_when_errors_are_passed_through() {
    for role in BOTH {
        for (path, expected) in [("/fail", "error in a child"), ("/panic", "panic in a child")] {
            let mut helper = Helper::start(&format!("{role} passthrough"));
            assert_eq!(helper.get("/pid").status, 200);
            let mut client = Client::connect(helper.addr);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(!helper.ends(), "{role} {path}");
            eventually("the text is there", || helper.stderr().contains(expected));
        }
    }
}

#[test]
fn a_forking_server_stops_within_its_deadline_and_leaves_no_child() {
    BOTH.into_iter().for_each(stops_within_its_deadline);
}

fn stops_within_its_deadline(role: &str) {
    let mut helper = Helper::start(role);
    let mut short = Client::connect(helper.addr);
    short.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut long = Client::connect(helper.addr);
    long.send("GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("both run", || helper.children().len() == 2);
    let children = helper.children();
    let began = Instant::now();
    assert!(helper.stop());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(short.response().text(), "hello");
    assert!(long.at_end());
    for (pid, _) in children {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_running_child_does_not_keep_the_port() {
    let mut helper = Helper::start("forking");
    let mut slow = Client::connect(helper.addr);
    slow.send("GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || helper.children().len() == 1);
    helper.tell_to_stop();
    eventually("nobody listens", || TcpStream::connect(helper.addr).is_err());
    assert!(slow.is_silent_for(MS), "the port was free only when the child had ended");
    assert_eq!(slow.response().text(), "hello");
    assert!(helper.stop());
}

#[test]
fn forking_beside_threads_of_another_server_is_refused() {
    let _threaded = Setup::threaded().start(fixture);
    eventually("it has threads", || {
        let address = [Address::new("127.0.0.1", 0)];
        let mut server = make_server(&address, fixture, Concurrency::Processes, quiet()).unwrap();
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

/// A process that waits for its client's end would be in the way of others' requests.
#[test]
fn clients_that_do_not_close_hold_no_process() {
    for role in BOTH {
        let helper = Helper::start(&format!("{role} processes=2"));
        let began = Instant::now();
        let clients: Vec<Client> = ["POST /pid HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "GET /pid HTTP/1.0\r\n\r\n"]
            .into_iter()
            .cycle()
            .take(10)
            .map(|request| {
                let mut client = Client::connect(helper.addr);
                client.send(request);
                client.rest();
                client
            })
            .collect();
        // Two seconds are given to each to close.
        assert!(began.elapsed() < Duration::from_secs(2), "{role}");
        eventually("no process", || helper.children().is_empty());
        drop(clients);
    }
}
