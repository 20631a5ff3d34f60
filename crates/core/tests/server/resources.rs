//! Exhausted resources: descriptors, threads, processes, and what the server leaves behind.

use std::io::Write;
use std::thread;

use crate::helper::Helper;
use crate::support::*;

#[test]
fn a_full_file_table_is_survived_without_spinning() {
    for role in ["base", "threads", "forking", "forking poll"] {
        let helper = Helper::limited(role, 64);
        let clients: Vec<Client> = (0..100).map(|_| Client::connect(helper.addr)).collect();
        let before = helper.cpu();
        eventually("the server says so", || helper.stderr().contains("open files"));
        thread::sleep(300 * MS);
        assert!(helper.cpu() - before < 100 * MS, "{:?} of CPU", helper.cpu() - before);
        // Idle connections made room; when the rest go, all is as before.
        drop(clients);
        for _ in 0..5 {
            assert_eq!(Client::connect(helper.addr).get("/").text(), "hello");
        }
        eventually("no zombie", || helper.children().is_empty());
    }
}

#[test]
fn a_full_file_table_costs_nobody_a_request_that_was_sent() {
    // Those that are answered go, or stay open and make room once they have been idle for a while.
    for (role, stays) in
        [("base", false), ("threads", false), ("threads", true), ("forking", false), ("forking poll", false)]
    {
        let helper = Helper::limited(role, 40);
        let mut clients: Vec<Client> = (0..70).map(|_| Client::connect(helper.addr)).collect();
        for client in &mut clients {
            client.send("GET /sleep/5 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut answered = Vec::new();
        for mut client in clients {
            assert_eq!(client.response().text(), "hello", "{role}: {}", helper.stderr());
            answered.extend(stays.then_some(client));
        }
    }
}

#[test]
fn a_request_has_its_process_though_idle_connections_fill_the_file_table() {
    const DESCRIPTORS: usize = 64;
    let helper = Helper::limited("forking", DESCRIPTORS);
    // Whoever started the tests may have left descriptors from beyond the limit open.
    let taken = || helper.entries("fd").filter(|fd| fd.parse::<usize>().is_ok_and(|fd| fd < DESCRIPTORS)).count();
    let mut clients = Vec::new();
    while taken() < DESCRIPTORS {
        let before = taken();
        clients.push(Client::connect(helper.addr));
        eventually("it is accepted", || taken() > before);
    }
    // A full table alone costs nobody a connection; somebody has to wait for the room.
    thread::sleep(50 * MS);
    assert_eq!((taken(), helper.stderr().as_str()), (DESCRIPTORS, ""));
    let mut last = clients.pop().unwrap();
    for _ in 0..3 {
        assert_eq!(last.get("/").text(), "hello");
    }
    eventually("no zombie", || helper.children().is_empty());
}

#[test]
fn a_request_that_can_t_have_a_process_is_answered_with_503_and_the_server_lives() {
    let Some(mut helper) = Helper::bounded("forking") else { return };
    assert_eq!(helper.get("/").text(), "hello");
    let mut kept = Client::connect(helper.addr);
    assert_eq!(kept.get("/").text(), "hello");
    helper.may_start(false);
    for client in [kept, Client::connect(helper.addr), Client::connect(helper.addr)].iter_mut() {
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        for _ in 0..100 {
            client.stream.write_all(&[b'x'; 1000]).expect("the body is read before a process is needed");
        }
        let answer = client.response();
        assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
        assert!(answer.field("Retry-After").is_some());
        client.finish_sending();
        assert!(client.at_end() && !client.reset);
    }
    eventually("the log says so", || helper.stderr().contains("can't start a process for a request"));
    helper.may_start(true);
    for _ in 0..3 {
        assert_eq!(helper.get("/").text(), "hello");
    }
    eventually("no zombie", || helper.children().is_empty());
    assert!(helper.stop());
}

#[test]
fn a_threaded_server_serves_on_while_it_can_t_have_more_threads() {
    let Some(mut helper) = Helper::bounded("threads") else { return };
    assert_eq!(helper.get("/").text(), "hello");
    helper.may_start(false);
    let mut slow: Vec<Client> = (0..6).map(|_| Client::connect(helper.addr)).collect();
    for client in &mut slow {
        client.send("GET /sleep/50 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // Delayed at most.
    assert_eq!(helper.get("/").text(), "hello");
    for client in &mut slow {
        assert_eq!(client.response().text(), "hello");
    }
    eventually("the log says so", || helper.stderr().contains("can't start a thread for now"));
    has_its_threads_again(&helper);
    assert!(helper.stop());
}

#[test]
fn a_threaded_server_that_began_without_threads_has_them_when_there_are_some() {
    let Some(mut helper) = Helper::bounded("threads first") else { return };
    helper.may_start(false);
    for _ in 0..5 {
        assert_eq!(helper.get("/sleep/5").text(), "hello");
    }
    eventually("the log says so", || helper.stderr().contains("can't start a thread for now"));
    has_its_threads_again(&helper);
    assert!(helper.stop());
}

/// The limit is lifted, and after a while as many requests run at once as before.
fn has_its_threads_again(helper: &Helper) {
    helper.may_start(true);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(helper.addr)).collect();
    eventually("eight run at once", || {
        for client in &mut clients {
            client.send("GET /sleep/40 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let threads = helper.count("task");
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
        threads >= 8
    });
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    everywhere_with(
        |settings| {
            settings.limits.connections = 4;
            // Several loops may take one more each.
            settings.runtime.loops = 1;
        },
        fixture,
        |server| {
            let mut first: Vec<Client> = (0..4).map(|_| server.connect()).collect();
            for client in &mut first {
                assert_eq!(client.get("/").text(), "hello");
            }
            let mut waiting: Vec<Client> = (0..4).map(|_| server.connect()).collect();
            for client in &mut waiting {
                client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            }
            assert!(waiting[0].is_silent_for(50 * MS));
            drop(first);
            for client in &mut waiting {
                assert_eq!(client.response().text(), "hello");
            }
        },
    );
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let helper = Helper::start("threads");
    let once = || assert_eq!(Client::connect(helper.addr).get("/").text(), "hello");
    for _ in 0..100 {
        once();
    }
    let (descriptors, threads) = (helper.count("fd"), helper.count("task"));
    for _ in 0..10_000 {
        once();
    }
    eventually("as many descriptors as before", || helper.count("fd") <= descriptors);
    // One that was hired beside a call that took long stands by for a while.
    eventually("as many threads as before", || helper.count("task") <= threads + 1);
}

#[test]
fn an_idle_server_uses_no_cpu() {
    for role in ["base", "threads", "forking"] {
        let helper = Helper::start(role);
        let mut kept: Vec<Client> = (0..20).map(|_| Client::connect(helper.addr)).collect();
        for client in &mut kept {
            assert_eq!(client.get("/").text(), "hello");
        }
        // The watcher parks after a moment.
        thread::sleep(100 * MS);
        let before = helper.cpu();
        thread::sleep(500 * MS);
        assert!(helper.cpu() - before <= 10 * MS, "{role}: {:?}", helper.cpu() - before);
    }
}
