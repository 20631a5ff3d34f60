//! Children that are copies of the supervisor's process.

use std::io::Read;

use amboss_reload::child::Program;
use amboss_reload::supervisor::Options;
use rustix::process::{kill_process, Pid, Signal};

use crate::support::*;

fn start(code: &Code, workers: usize) -> Apart {
    let site = Apart::start(code, workers);
    site.log.expect(workers, "ready 1");
    site
}

#[test]
fn they_serve_are_replaced_and_stop_as_others_do() {
    let code = Code::new("1 forked");
    let mut site = start(&code, 2);
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    let mut running = Client::connect(site.addr);
    running.runs("/sleep/300");
    code.save("2 forked");
    site.signal(Signal::HUP);
    assert_eq!(running.answer().unwrap(), "1");
    site.log.expect(1, "swapped 1 2");
    eventually("the connection went on", || client.get("/").unwrap() == "2");
    let pids = site.log.pids();
    eventually("no old one is left, not even as a zombie", || {
        pids[..2].iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    client.get("/replace-me").unwrap();
    eventually("a successor was started", || site.log.pids().len() == 5);
    client.runs("/sleep/200");
    site.signal(Signal::TERM);
    assert_eq!(client.answer().unwrap(), "2");
    assert_eq!(site.exit_code(), Some(0));
    assert!(site.log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn one_that_dies_is_replaced() {
    let code = Code::new("1 forked");
    let site = start(&code, 1);
    let first = site.get("/pid");
    let _ = Client::connect(site.addr).get("/exit/7");
    let death = site.log.expect(1, "died");
    assert!(death.contains(&first) && death.contains("exit status: 7"), "{death}");
    assert_ne!(site.get("/pid"), first);
}

#[test]
fn signals_have_their_usual_effect_on_them() {
    let code = Code::new("1 forked");
    let site = start(&code, 1);
    for (number, signal) in [(1, Signal::TERM), (2, Signal::QUIT), (3, Signal::HUP)] {
        // Otherwise it has failed and not died.
        site.log.expect(number, "ready 1");
        let pid: i32 = site.get("/pid").parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        site.log.expect(1, &format!("died {pid} signal: {} ", signal.as_raw()));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_supervisor_takes_them_with_it_whatever_they_hear() {
    let code = Code::new("1 forked deaf");
    let mut site = start(&code, 3);
    let (pids, addr) = (site.log.pids(), site.addr);
    site.signal(Signal::KILL);
    assert_eq!(site.exit_code(), None);
    eventually("the children are gone", || pids.iter().all(|&pid| !is_alive(pid)));
    eventually("the port is free", || std::net::TcpListener::bind(addr).is_ok());
}

/// What the descriptors of a process are: `socket:[…]` and the like.
#[cfg(target_os = "linux")]
fn sockets(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    // Standard input and output are whatever the tests were given.
    let entries = entries.filter(|entry| !["0", "1", "2"].iter().any(|standard| entry.file_name() == *standard));
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.starts_with("socket:")).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn they_keep_nothing_of_the_supervisor_and_of_each_other() {
    let code = Code::new("1 forked");
    let site = start(&code, 1);
    let first = sockets(site.log.pids()[0]).len();
    for generation in 1..=5 {
        site.signal(Signal::HUP);
        site.log.expect(1, &format!("swapped {generation} {}", generation + 1));
    }
    site.signal(Signal::TTIN);
    site.log.expect(2, "ready 6");
    let pids = site.log.pids();
    let (last, before) = (pids[6], pids[5]);
    eventually("each has as many as the first", || sockets(last).len() == first && sockets(before).len() == first);
    // Of what they have in common one is the port; the others are the pipe by which the supervisor hears signals.
    let common = sockets(last).into_iter().filter(|socket| sockets(before).contains(socket)).count();
    let of_the_supervisor = sockets(i32::try_from(site.pid()).unwrap());
    let with_it = sockets(last).into_iter().filter(|socket| of_the_supervisor.contains(socket)).count();
    assert_eq!((common, with_it), (3, 3));
}

#[test]
fn a_connection_that_is_closed_by_one_is_closed_for_the_client() {
    let code = Code::new("1 forked");
    let site = start(&code, 2);
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(site.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").unwrap(), "1");
    }
    // They all go through the supervisor, which forks meanwhile.
    for generation in 1..=5 {
        site.signal(Signal::HUP);
        site.log.expect(1, &format!("swapped {generation} {}", generation + 1));
        for client in &mut clients {
            assert_eq!(client.get("/").unwrap(), "1");
        }
    }
    site.signal(Signal::TTOU);
    for client in &mut clients {
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        client.get("/close").unwrap();
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "nobody else may keep it open");
    }
}

#[test]
fn a_fork_that_fails_is_tried_again_and_one_that_returns_twice_is_ended() {
    let site = Site::start(Program::forked(|_| Err(std::io::Error::other("no more processes"))), Options::default());
    let failure = site.log.expect(1, "failed 1");
    assert!(failure.contains("could not be started: no more processes"), "{failure}");
    site.log.expect(1, "trying again in 200 ms");
    drop(site);
    let site = Site::start(Program::forked(|_| panic!("in the fork")), Options::default());
    assert!(site.log.expect(1, "failed 1").contains("in the fork"));
    drop(site);
    let code = Code::new("1 forked returns");
    let site = Apart::start(&code, 1);
    site.log.expect(1, "ended before it was ready (exit status: 1)");
    // And here is still one supervisor.
    code.save("2 forked");
    site.log.expect(1, "ready 1");
    assert_eq!(site.get("/"), "2");
}
