//! Exhausted descriptors, threads and processes; what a server leaves behind, and what it uses when idle.

use std::io::Write;
use std::thread;

use crate::server_process::ServerProcess;
use crate::support::*;

#[test]
fn a_full_descriptor_table_causes_no_busy_loop() {
    for role in ["single", "threads", "forking", "forking poll"] {
        let server = ServerProcess::with_descriptor_limit(role, 64);
        let clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
        let before = server.cpu_time();
        wait_until("the server logs that it has too many open files", || server.stderr().contains("open files"));
        thread::sleep(300 * MS);
        assert!(server.cpu_time() - before < 100 * MS, "{:?} of CPU", server.cpu_time() - before);
        // Idle connections were closed to free descriptors; when the rest have gone, the server works as before.
        drop(clients);
        for _ in 0..5 {
            assert_eq!(server.connect().get("/").text(), "hello");
        }
        wait_until("all children are reaped", || server.children().is_empty());
    }
}

#[test]
fn a_full_descriptor_table_loses_no_request() {
    // Answered clients leave, or stay until the server closes them after they have been idle for a while.
    for (role, stays) in
        [("single", false), ("threads", false), ("threads", true), ("forking", false), ("forking poll", false)]
    {
        let server = ServerProcess::with_descriptor_limit(role, 40);
        let mut clients: Vec<Client> = (0..70).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("GET /sleep/5 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut answered = Vec::new();
        for mut client in clients {
            assert_eq!(client.response().text(), "hello", "{role}: {}", server.stderr());
            answered.extend(stays.then_some(client));
        }
    }
}

#[test]
fn a_request_gets_its_process_when_idle_connections_fill_the_descriptor_table() {
    const DESCRIPTORS: usize = 64;
    let server = ServerProcess::with_descriptor_limit("forking", DESCRIPTORS);
    // The process that started the tests may have passed on descriptors beyond the limit.
    let taken =
        || server.entries("fd").iter().filter(|fd| fd.parse::<usize>().is_ok_and(|fd| fd < DESCRIPTORS)).count();
    let mut clients = Vec::new();
    while taken() < DESCRIPTORS {
        let before = taken();
        clients.push(server.connect());
        wait_until("the connection is accepted", || taken() > before);
    }
    // The server closes idle connections when another one waits for a descriptor, not when the table is merely full.
    thread::sleep(50 * MS);
    assert_eq!((taken(), server.stderr().as_str()), (DESCRIPTORS, ""));
    let mut last = clients.pop().unwrap();
    for _ in 0..3 {
        assert_eq!(last.get("/").text(), "hello");
    }
    wait_until("all children are reaped", || server.children().is_empty());
}

#[test]
fn a_request_gets_503_when_no_process_can_be_started() {
    let Some(mut server) = ServerProcess::unprivileged("forking") else { return };
    assert_eq!(server.get("/").text(), "hello");
    let mut kept = server.connect();
    assert_eq!(kept.get("/").text(), "hello");
    server.allow_new_tasks(false);
    for client in [kept, server.connect(), server.connect()].iter_mut() {
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        for _ in 0..100 {
            client.stream.write_all(&[b'x'; 1000]).expect("the server reads the body before it needs a process");
        }
        let response = client.response();
        assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
        assert!(response.field("Retry-After").is_some());
        client.finish_sending();
        assert!(client.at_end() && !client.was_reset());
    }
    wait_until("the failure is logged", || server.stderr().contains("can't start a process for a request"));
    server.allow_new_tasks(true);
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "hello");
    }
    wait_until("all children are reaped", || server.children().is_empty());
    assert!(server.stop());
}

#[test]
fn a_threaded_server_keeps_serving_when_no_thread_can_be_started() {
    let Some(mut server) = ServerProcess::unprivileged("threads") else { return };
    assert_eq!(server.get("/").text(), "hello");
    server.allow_new_tasks(false);
    let mut slow: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /sleep/50 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // The request may be delayed, but it does not fail.
    assert_eq!(server.get("/").text(), "hello");
    for client in &mut slow {
        assert_eq!(client.response().text(), "hello");
    }
    wait_until("the failure is logged", || server.stderr().contains("can't start a thread for now"));
    assert_threads_return(&server);
    assert!(server.stop());
}

#[test]
fn a_server_that_started_without_threads_starts_them_when_it_can() {
    let Some(mut server) = ServerProcess::unprivileged("threads first") else { return };
    server.allow_new_tasks(false);
    for _ in 0..5 {
        assert_eq!(server.get("/sleep/5").text(), "hello");
    }
    wait_until("the failure is logged", || server.stderr().contains("can't start a thread for now"));
    assert_threads_return(&server);
    assert!(server.stop());
}

/// Lifts the limit, and asserts that eight requests run at once after a while.
fn assert_threads_return(server: &ServerProcess) {
    server.allow_new_tasks(true);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    wait_until("eight requests run at once", || {
        for client in &mut clients {
            client.send("GET /sleep/40 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let threads = server.entries("task").len();
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
        threads >= 8
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    for_each_server_with(
        |settings| {
            settings.limits.connections = 4;
            // With several loops, each could accept one more.
            settings.runtime.loops = 1;
        },
        test_app,
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
fn ten_thousand_connections_leak_no_descriptor_and_no_thread() {
    let server = ServerProcess::start("threads");
    let once = || assert_eq!(server.connect().get("/").text(), "hello");
    for _ in 0..100 {
        once();
    }
    let (descriptors, threads) = (server.entries("fd").len(), server.entries("task").len());
    for _ in 0..10_000 {
        once();
    }
    wait_until("there are as many descriptors as before", || server.entries("fd").len() <= descriptors);
    // A thread that was started during a slow call stays idle for a while before it exits.
    wait_until("there are as many threads as before", || server.entries("task").len() <= threads + 1);
}

#[test]
fn an_idle_server_uses_no_cpu() {
    for role in ["single", "threads", "forking"] {
        let server = ServerProcess::start(role);
        let mut kept: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for client in &mut kept {
            assert_eq!(client.get("/").text(), "hello");
        }
        // The monitor thread parks after a moment.
        thread::sleep(100 * MS);
        let before = server.cpu_time();
        thread::sleep(500 * MS);
        assert!(server.cpu_time() - before <= 10 * MS, "{role}: {:?}", server.cpu_time() - before);
    }
}
