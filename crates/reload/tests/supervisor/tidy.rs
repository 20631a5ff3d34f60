//! No orphan, no zombie, no leaked descriptor.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::*;

#[track_caller]
fn expect_nothing_left(site: &mut Apart) {
    let (pids, addr) = (site.log.pids(), site.addr);
    site.signal(Signal::KILL);
    assert_eq!(site.exit_code(), None);
    eventually("the children are gone", || pids.iter().all(|&pid| !is_alive(pid)));
    // The last thread of a process may outlive its first by a moment.
    eventually("the port is free", || TcpListener::bind(addr).is_ok());
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_a_free_port() {
    let code = Code::new("1");
    let mut site = Apart::start(&code, 2);
    site.log.expect(2, "ready 1");
    assert_eq!(site.get("/"), "1");
    expect_nothing_left(&mut site);
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_supervisor_takes_foreign_programs_with_it() {
    if !crate::foreign::has_python() {
        return;
    }
    let code = Code::new("foreign");
    let mut site = Apart::start(&code, 2);
    site.log.expect(2, "ready 1");
    assert_eq!(site.get("/"), "foreign");
    expect_nothing_left(&mut site);
}

#[test]
#[cfg(target_os = "linux")]
fn fifty_replacements_leave_nothing_behind() {
    let code = Code::new("1");
    let site = Apart::start(&code, 1);
    site.log.expect(1, "ready 1");
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    let before = (site.entries("fd"), site.entries("task"));
    for generation in 1..=50 {
        site.signal(Signal::HUP);
        site.log.expect(1, &format!("swapped {generation} {}", generation + 1));
        assert_eq!(client.get("/").unwrap(), "1");
    }
    let pids = site.log.pids();
    assert_eq!(pids.len(), 51);
    eventually("no process is left, not even a zombie", || {
        pids[..50].iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    eventually("no descriptor and no thread is left", || {
        let after = (site.entries("fd"), site.entries("task"));
        after.0 <= before.0 && after.1 <= before.1
    });
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_supervisor_does_nothing() {
    let code = Code::new("1");
    let site = Apart::start(&code, 2);
    site.log.expect(2, "ready 1");
    assert_eq!(site.get("/"), "1");
    // How often its threads were given the processor.
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", site.pid())).unwrap().flatten();
        let statuses = tasks.map(|task| std::fs::read_to_string(task.path().join("status")).unwrap_or_default());
        let count = |status: String| -> u64 {
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
        };
        statuses.map(count).sum()
    };
    // What was going on may take a moment to end; then a whole second passes without anything.
    eventually("a second passes in which it does nothing", || {
        let before = switches();
        std::thread::sleep(std::time::Duration::from_secs(1));
        switches() == before
    });
}
