//! Workers that ask to be replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amboss_reload::SupervisorOptions;

use crate::fixtures::worker;
use crate::support::*;

#[test]
fn a_worker_that_asks_to_be_replaced_is_replaced_without_losing_requests_or_connections() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    let mut idle = Client::connect(supervisor.addr);
    let first = idle.try_get("/pid").unwrap().text();
    let mut running = Client::connect(supervisor.addr);
    running.start_get("/sleep/400");
    code.save("2");
    assert_eq!(supervisor.get("/replace-me"), "1");
    wait_until("the connection moves to the successor", || idle.get("/").text() == "2");
    assert_ne!(idle.try_get("/pid").unwrap().text(), first);
    assert_eq!(running.response().text(), "1");
    wait_until("its connection moves as well", || running.get("/").text() == "2");
    wait_until("the first worker is gone", || !is_alive(first.parse().unwrap()));
    assert_eq!(supervisor.log.pids().len(), 2, "{:?}", supervisor.log.lines());
    assert_eq!(supervisor.log.count("died") + supervisor.log.count("failed"), 0, "{:?}", supervisor.log.lines());
}

#[test]
fn a_hundred_successors_under_load_lose_no_request() {
    let code = CodeFile::new("1");
    let mut options = SupervisorOptions::default();
    options.workers = 2;
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (supervisor, finished) = (&supervisor, &finished);
            scope.spawn(move || {
                let mut client = Client::connect(supervisor.addr);
                for turn in 1.. {
                    if finished.load(Ordering::SeqCst) {
                        return;
                    }
                    let path = if turn % 10 == number { "/replace-me" } else { "/" };
                    client.try_get(path).unwrap_or_else(|error| panic!("request {turn} of {number}: {error}"));
                    if number == 5 {
                        client = Client::connect(supervisor.addr);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for number in 1..=100 {
            wait_until("another worker was started", || supervisor.log.pids().len() > number);
        }
        finished.store(true, Ordering::SeqCst);
    });
    assert_eq!(supervisor.log.count("died") + supervisor.log.count("failed"), 0, "{:?}", supervisor.log.lines());
}

#[test]
fn the_old_worker_serves_while_its_successor_cannot_start() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    code.save("2 exit=1");
    assert_eq!(supervisor.get("/replace-me"), "1");
    let failure = supervisor.log.expect(2, "failed 1");
    assert!(failure.contains("serving=true"), "{failure}");
    supervisor.log.expect(1, "trying again in 100 ms");
    supervisor.log.expect(1, "trying again in 200 ms");
    assert_eq!(supervisor.get("/"), "1");
    code.save("3");
    supervisor.wait_for_version("3");
    assert_eq!(supervisor.log.count("died"), 0);
}

#[test]
fn a_worker_that_asks_to_be_replaced_and_does_not_stop_is_killed() {
    let code = CodeFile::new("1 ignore_messages ignore_sigterm");
    let mut options = SupervisorOptions::default();
    options.drain_timeout = Duration::from_millis(200);
    options.kill_timeout = Duration::from_millis(200);
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    code.save("2");
    assert_eq!(supervisor.get("/replace-me"), "1");
    supervisor.log.expect(1, "has not finished within 200 ms");
    let draining = supervisor.log.pids()[0];
    wait_until("the worker is killed", || !is_alive(draining));
    assert_eq!(supervisor.get("/"), "2");
}
