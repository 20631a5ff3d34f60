//! Workers that are copies of the supervisor's process.

use amboss_reload::{Program, SupervisorOptions};
use rustix::process::Signal;

use crate::support::*;

fn start(code: &CodeFile, workers: usize) -> SupervisorProcess {
    let supervisor = SupervisorProcess::start(code, workers);
    supervisor.log.expect(workers, "ready 1");
    supervisor
}

#[test]
fn forked_workers_serve_and_are_replaced_and_stop_like_other_workers() {
    let code = CodeFile::new("1 forked");
    let mut supervisor = start(&code, 2);
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    let mut running = Client::connect(supervisor.addr);
    running.start_get("/sleep/300");
    code.save("2 forked");
    supervisor.signal(Signal::HUP);
    assert_eq!(running.response().text(), "1");
    supervisor.log.expect(1, "replaced 1 2");
    wait_until("the connection moves to the new worker", || client.get("/").text() == "2");
    let pids = supervisor.log.pids();
    wait_until("no old worker is left, not even as a zombie", || {
        pids[..2].iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    client.try_get("/replace-me").unwrap();
    wait_until("a successor was started", || supervisor.log.pids().len() == 5);
    client.start_get("/sleep/200");
    supervisor.signal(Signal::TERM);
    assert_eq!(client.response().text(), "2");
    assert_eq!(supervisor.exit_code(), Some(0));
    assert!(supervisor.log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_forked_worker_that_dies_is_replaced() {
    let code = CodeFile::new("1 forked");
    let supervisor = start(&code, 1);
    let first = supervisor.get("/pid");
    let _ = Client::connect(supervisor.addr).try_get("/exit/7");
    let death = supervisor.log.expect(1, "died");
    assert!(death.contains(&first) && death.contains("exit status: 7"), "{death}");
    assert_ne!(supervisor.get("/pid"), first);
}

#[test]
fn signals_have_their_default_effect_on_forked_workers() {
    let code = CodeFile::new("1 forked");
    let supervisor = start(&code, 1);
    for (ready, name, signal) in [(1, "TERM", Signal::TERM), (2, "QUIT", Signal::QUIT), (3, "HUP", Signal::HUP)] {
        // The end of a worker that is not ready yet would count as a failed start, not as a death.
        supervisor.log.expect(ready, "ready 1");
        let pid: u32 = supervisor.get("/pid").parse().unwrap();
        send_signal(pid, name);
        supervisor.log.expect(1, &format!("died {pid} signal: {} ", signal.as_raw()));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn forked_workers_end_with_a_killed_supervisor_even_if_they_ignore_messages() {
    let code = CodeFile::new("1 forked ignore_messages");
    let mut supervisor = start(&code, 3);
    let (pids, addr) = (supervisor.log.pids(), supervisor.addr);
    supervisor.signal(Signal::KILL);
    assert_eq!(supervisor.exit_code(), None);
    wait_until("the workers are gone", || pids.iter().all(|&pid| !is_alive(pid)));
    wait_until("the port is free", || std::net::TcpListener::bind(addr).is_ok());
}

/// The sockets among the descriptors of a process, as `socket:[…]`.
#[cfg(target_os = "linux")]
fn sockets(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    // The standard descriptors are inherited from the test runner.
    let entries = entries.filter(|entry| !["0", "1", "2"].iter().any(|standard| entry.file_name() == *standard));
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.starts_with("socket:")).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn forked_workers_keep_no_sockets_of_the_supervisor_or_each_other() {
    let code = CodeFile::new("1 forked");
    let supervisor = start(&code, 1);
    let first = sockets(supervisor.log.pids()[0]).len();
    for generation in 1..=5 {
        supervisor.signal(Signal::HUP);
        supervisor.log.expect(1, &format!("replaced {generation} {}", generation + 1));
    }
    supervisor.signal(Signal::TTIN);
    supervisor.log.expect(2, "ready 6");
    let pids = supervisor.log.pids();
    let (last, before) = (pids[6], pids[5]);
    wait_until("each has as many sockets as the first", || {
        sockets(last).len() == first && sockets(before).len() == first
    });
    // The common sockets are the listening socket and the two ends of the supervisor's signal pipe.
    let common = sockets(last).into_iter().filter(|socket| sockets(before).contains(socket)).count();
    let of_the_supervisor = sockets(supervisor.pid());
    let with_it = sockets(last).into_iter().filter(|socket| of_the_supervisor.contains(socket)).count();
    assert_eq!((common, with_it), (3, 3));
}

#[test]
fn a_connection_that_one_worker_closes_is_closed_for_the_client() {
    let code = CodeFile::new("1 forked");
    let supervisor = start(&code, 2);
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(supervisor.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "1");
    }
    // All connections pass through the supervisor while it forks.
    for generation in 1..=5 {
        supervisor.signal(Signal::HUP);
        supervisor.log.expect(1, &format!("replaced {generation} {}", generation + 1));
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "1");
        }
    }
    supervisor.signal(Signal::TTOU);
    for client in &mut clients {
        client.try_get("/close").unwrap();
        assert!(client.at_end() && client.end() == Some(End::Orderly), "no other process may keep it open");
    }
}

#[test]
fn a_failed_fork_is_retried_and_a_child_that_returns_from_the_fork_function_is_ended() {
    let supervisor = TestSupervisor::start(
        Program::forked(|_| Err(std::io::Error::other("no more processes"))),
        SupervisorOptions::default(),
    );
    let failure = supervisor.log.expect(1, "failed 1");
    assert!(failure.contains("could not be started: no more processes"), "{failure}");
    supervisor.log.expect(1, "trying again in 200 ms");
    drop(supervisor);
    let supervisor = TestSupervisor::start(Program::forked(|_| panic!("in the fork")), SupervisorOptions::default());
    assert!(supervisor.log.expect(1, "failed 1").contains("in the fork"));
    drop(supervisor);
    let code = CodeFile::new("1 forked returns");
    let supervisor = SupervisorProcess::start(&code, 1);
    supervisor.log.expect(1, "ended before it was ready (exit status: 1)");
    // There is still a single supervisor.
    code.save("2 forked");
    supervisor.log.expect(1, "ready 1");
    assert_eq!(supervisor.get("/"), "2");
}
