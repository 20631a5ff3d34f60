//! No orphan, no zombie, no leaked descriptor.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::*;

#[track_caller]
fn expect_nothing_left(supervisor: &mut SupervisorProcess) {
    let (pids, addr) = (supervisor.log.pids(), supervisor.addr);
    supervisor.signal(Signal::KILL);
    assert_eq!(supervisor.exit_code(), None);
    wait_until("the workers are gone", || pids.iter().all(|&pid| !is_alive(pid)));
    // The last thread of a process may outlive its first for a moment.
    wait_until("the port is free", || TcpListener::bind(addr).is_ok());
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_a_free_port() {
    let code = CodeFile::new("1");
    let mut supervisor = SupervisorProcess::start(&code, 2);
    supervisor.log.expect(2, "ready 1");
    assert_eq!(supervisor.get("/"), "1");
    expect_nothing_left(&mut supervisor);
}

#[test]
#[cfg(target_os = "linux")]
fn plain_programs_end_with_a_killed_supervisor() {
    if !is_installed("python3") {
        return;
    }
    let code = CodeFile::new("plain");
    let mut supervisor = SupervisorProcess::start(&code, 2);
    supervisor.log.expect(2, "ready 1");
    assert_eq!(supervisor.get("/"), "plain");
    expect_nothing_left(&mut supervisor);
}

#[test]
#[cfg(target_os = "linux")]
fn fifty_replacements_leave_no_process_descriptor_or_thread() {
    let code = CodeFile::new("1");
    let supervisor = SupervisorProcess::start(&code, 1);
    supervisor.log.expect(1, "ready 1");
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    let before = (supervisor.entries("fd"), supervisor.entries("task"));
    for generation in 1..=50 {
        supervisor.signal(Signal::HUP);
        supervisor.log.expect(1, &format!("replaced {generation} {}", generation + 1));
        assert_eq!(client.get("/").text(), "1");
    }
    let pids = supervisor.log.pids();
    assert_eq!(pids.len(), 51);
    wait_until("no process is left, not even a zombie", || {
        pids[..50].iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    wait_until("no descriptor and no thread is left", || {
        let after = (supervisor.entries("fd"), supervisor.entries("task"));
        after.0 <= before.0 && after.1 <= before.1
    });
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_supervisor_uses_no_cpu_time() {
    let code = CodeFile::new("1");
    let supervisor = SupervisorProcess::start(&code, 2);
    supervisor.log.expect(2, "ready 1");
    assert_eq!(supervisor.get("/"), "1");
    // The number of context switches of the supervisor's threads.
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", supervisor.pid())).unwrap().flatten();
        let statuses = tasks.map(|task| std::fs::read_to_string(task.path().join("status")).unwrap_or_default());
        let count = |status: String| -> u64 {
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
        };
        statuses.map(count).sum()
    };
    // Earlier work may take a moment to end; then a whole second passes without a context switch.
    wait_until("a second passes without a context switch", || {
        let before = switches();
        std::thread::sleep(std::time::Duration::from_secs(1));
        switches() == before
    });
}
