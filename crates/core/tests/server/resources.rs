//! Exhausted resources: descriptors, threads, processes, and what the server leaves behind.

use std::thread;

use crate::helper::Helper;
use crate::support::*;

#[test]
fn a_full_file_table_is_survived_without_spinning() {
    for role in ["base", "threads"] {
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
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    everywhere_with(
        |settings| settings.limits.connections = 4,
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
    assert!(helper.count("task") <= threads + 1, "{} threads, {threads} before", helper.count("task"));
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
