//! What each signal does to a supervisor in a process of its own.

use std::collections::HashSet;

use rustix::process::Signal;

use crate::support::*;

/// Waits until there are so many children, and sees each of them answer.
#[track_caller]
fn expect_workers(site: &Apart, count: usize) -> HashSet<i32> {
    let alive = || -> HashSet<i32> { site.log.pids().into_iter().filter(|&pid| is_alive(pid)).collect() };
    eventually("the number of children is right", || alive().len() == count);
    let pids = alive();
    let mut answered = HashSet::new();
    let mut standing = Vec::new();
    while answered.len() < count {
        // While those stand still that have answered, another one has to.
        let pid: i32 = site.get("/pid").parse().unwrap();
        assert!(pids.contains(&pid) && answered.insert(pid), "{pid} of {pids:?}");
        standing.push(Stopped::new(pid));
    }
    pids
}

#[test]
fn ttin_and_ttou_change_the_number_of_children() {
    let code = Code::new("1");
    let site = Apart::start(&code, 1);
    expect_workers(&site, 1);
    site.signal(Signal::TTIN);
    site.log.expect(1, "say Workers: 2");
    expect_workers(&site, 2);
    site.signal(Signal::TTOU);
    site.log.expect(1, "say Workers: 1");
    expect_workers(&site, 1);
    site.signal(Signal::TTOU);
    site.log.expect(2, "say Workers: 1");
    expect_workers(&site, 1);
}

#[test]
fn hup_replaces_all_children() {
    let code = Code::new("1");
    let site = Apart::start(&code, 2);
    site.log.expect(2, "ready 1");
    let old = expect_workers(&site, 2);
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    code.save("2");
    site.signal(Signal::HUP);
    site.log.expect(1, "swapped 1 2");
    eventually("the connection went on", || client.get("/").unwrap() == "2");
    assert!(old.is_disjoint(&expect_workers(&site, 2)));
}

#[test]
fn usr1_reaches_the_children() {
    let code = Code::new("1");
    let site = Apart::start(&code, 1);
    assert_eq!(site.get("/reopened"), "0");
    site.signal(Signal::USR1);
    eventually("the child has reopened its logs", || site.get("/reopened") == "1");
}

#[test]
fn term_and_int_stop_gracefully() {
    for signal in [Signal::TERM, Signal::INT] {
        let code = Code::new("1");
        let mut site = Apart::start(&code, 2);
        site.log.expect(2, "ready 1");
        let mut client = Client::connect(site.addr);
        client.runs("/sleep/300");
        site.signal(signal);
        assert_eq!(client.answer().unwrap(), "1");
        assert_eq!(site.exit_code(), Some(0));
        assert!(site.log.pids().into_iter().all(|pid| !is_alive(pid)));
    }
}

#[test]
fn a_second_int_stops_at_once() {
    let code = Code::new("1");
    let mut site = Apart::start(&code, 1);
    site.log.expect(1, "ready 1");
    Client::connect(site.addr).runs("/sleep/60000");
    let first = std::time::Instant::now();
    site.signal(Signal::INT);
    site.log.expect(1, "press CTRL+C again");
    // Two within 300 ms count as one: a terminal and what runs in it may both send it.
    site.signal(Signal::INT);
    let is_one = first.elapsed() < std::time::Duration::from_millis(250);
    std::thread::sleep(std::time::Duration::from_millis(400));
    // On a machine that is busy the second may have come too late to be the same.
    assert!(!is_one || !site.has_ended());
    if !site.has_ended() {
        site.signal(Signal::INT);
    }
    assert_eq!(site.exit_code(), Some(130));
    assert!(site.log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn afterwards_signals_have_their_usual_effect() {
    let code = Code::new("1 linger");
    let mut site = Apart::start(&code, 1);
    assert_eq!(site.get("/"), "1");
    site.signal(Signal::TERM);
    site.log.expect(1, "outcome 0");
    assert!(!site.has_ended());
    site.signal(Signal::TERM);
    assert_eq!(site.exit_code(), None, "a signal ended it");
}

#[test]
fn quit_stops_at_once() {
    let code = Code::new("1");
    let mut site = Apart::start(&code, 1);
    site.log.expect(1, "ready 1");
    Client::connect(site.addr).runs("/sleep/60000");
    site.signal(Signal::QUIT);
    assert_eq!(site.exit_code(), Some(131));
    assert!(site.log.pids().into_iter().all(|pid| !is_alive(pid)));
}
