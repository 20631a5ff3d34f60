//! The effect of each signal on a supervisor in a separate process.

use std::collections::HashSet;

use rustix::process::Signal;

use crate::support::*;

/// Waits until there are `count` workers, and checks that each of them responds.
#[track_caller]
fn expect_workers(supervisor: &SupervisorProcess, count: usize) -> HashSet<u32> {
    let alive = || -> HashSet<u32> { supervisor.log.pids().into_iter().filter(|&pid| is_alive(pid)).collect() };
    wait_until("the number of workers is right", || alive().len() == count);
    let pids = alive();
    let mut responded = HashSet::new();
    let mut stopped = Vec::new();
    while responded.len() < count {
        // Workers that have responded are stopped, so another one has to respond.
        let pid: u32 = supervisor.get("/pid").parse().unwrap();
        assert!(pids.contains(&pid) && responded.insert(pid), "{pid} of {pids:?}");
        stopped.push(PausedProcess::new(pid));
    }
    pids
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let code = CodeFile::new("1");
    let supervisor = SupervisorProcess::start(&code, 1);
    expect_workers(&supervisor, 1);
    supervisor.signal(Signal::TTIN);
    supervisor.log.expect(1, "log Workers: 2");
    expect_workers(&supervisor, 2);
    supervisor.signal(Signal::TTOU);
    supervisor.log.expect(1, "log Workers: 1");
    expect_workers(&supervisor, 1);
    supervisor.signal(Signal::TTOU);
    supervisor.log.expect(2, "log Workers: 1");
    expect_workers(&supervisor, 1);
}

#[test]
fn hup_replaces_all_workers() {
    let code = CodeFile::new("1");
    let supervisor = SupervisorProcess::start(&code, 2);
    supervisor.log.expect(2, "ready 1");
    let old = expect_workers(&supervisor, 2);
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    code.save("2");
    supervisor.signal(Signal::HUP);
    supervisor.log.expect(1, "replaced 1 2");
    wait_until("the connection moves to the new worker", || client.get("/").text() == "2");
    assert!(old.is_disjoint(&expect_workers(&supervisor, 2)));
}

#[test]
fn usr1_makes_the_workers_reopen_their_logs() {
    let code = CodeFile::new("1");
    let supervisor = SupervisorProcess::start(&code, 1);
    assert_eq!(supervisor.get("/reopened"), "0");
    supervisor.signal(Signal::USR1);
    wait_until("the worker has reopened its logs", || supervisor.get("/reopened") == "1");
}

#[test]
fn term_and_int_stop_gracefully() {
    for signal in [Signal::TERM, Signal::INT] {
        let code = CodeFile::new("1");
        let mut supervisor = SupervisorProcess::start(&code, 2);
        supervisor.log.expect(2, "ready 1");
        let mut client = Client::connect(supervisor.addr);
        client.start_get("/sleep/300");
        supervisor.signal(signal);
        assert_eq!(client.response().text(), "1");
        assert_eq!(supervisor.exit_code(), Some(0));
        assert!(supervisor.log.pids().into_iter().all(|pid| !is_alive(pid)));
    }
}

#[test]
fn a_second_int_stops_at_once() {
    let code = CodeFile::new("1");
    let mut supervisor = SupervisorProcess::start(&code, 1);
    supervisor.log.expect(1, "ready 1");
    Client::connect(supervisor.addr).start_get("/sleep/60000");
    let first = std::time::Instant::now();
    supervisor.signal(Signal::INT);
    supervisor.log.expect(1, "press CTRL+C again");
    // Two interrupts within 300 ms count as one.
    supervisor.signal(Signal::INT);
    let counts_as_one = first.elapsed() < std::time::Duration::from_millis(250);
    std::thread::sleep(std::time::Duration::from_millis(400));
    // On a busy machine, the second interrupt may come more than 300 ms after the first, and then it ends the supervisor.
    assert!(!counts_as_one || !supervisor.has_ended());
    if !supervisor.has_ended() {
        supervisor.signal(Signal::INT);
    }
    assert_eq!(supervisor.exit_code(), Some(130));
    assert!(supervisor.log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn signals_have_their_default_effect_after_the_supervisor_has_ended() {
    let code = CodeFile::new("1 linger");
    let mut supervisor = SupervisorProcess::start(&code, 1);
    assert_eq!(supervisor.get("/"), "1");
    supervisor.signal(Signal::TERM);
    supervisor.log.expect(1, "exit code 0");
    assert!(!supervisor.has_ended());
    supervisor.signal(Signal::TERM);
    assert_eq!(supervisor.exit_code(), None, "a signal ended it");
}

#[test]
fn quit_stops_at_once() {
    let code = CodeFile::new("1");
    let mut supervisor = SupervisorProcess::start(&code, 1);
    supervisor.log.expect(1, "ready 1");
    Client::connect(supervisor.addr).start_get("/sleep/60000");
    supervisor.signal(Signal::QUIT);
    assert_eq!(supervisor.exit_code(), Some(131));
    assert!(supervisor.log.pids().into_iter().all(|pid| !is_alive(pid)));
}
