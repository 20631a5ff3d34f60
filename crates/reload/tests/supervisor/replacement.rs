//! Workers are replaced without a lost connection, or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use amboss_reload::SupervisorOptions;

use crate::fixtures::worker;
use crate::support::*;

fn reloading() -> SupervisorOptions {
    let mut options = SupervisorOptions::default();
    options.retry = false;
    options
}

#[test]
fn a_worker_becomes_ready_and_serves() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    assert_eq!(supervisor.get("/"), "1");
    supervisor.handle.stop();
    assert_eq!(supervisor.exit_code(), 0);
}

#[test]
fn a_persistent_connection_moves_to_the_new_worker_with_what_was_read_from_it() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    let (mut idle, mut half) = (Client::connect(supervisor.addr), Client::connect(supervisor.addr));
    assert_eq!(idle.get("/").text(), "1");
    assert_eq!(half.get("/").text(), "1");
    half.send("GET /ha");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 1 2");
    wait_until("the old worker is gone", || !is_alive(supervisor.log.pids()[0]));
    half.send("lf HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(half.response().text(), "2");
    assert_eq!(half.response().text(), "2");
    assert_eq!(idle.get("/").text(), "2");
}

#[test]
fn a_worker_that_is_replaced_before_it_reported_ready_loses_no_connection() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::start(worker(code.path()), reloading());
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    supervisor.handle.replace(None);
    assert_eq!(client.get("/").text(), "1");
    supervisor.log.expect(1, "ready 2");
    assert_eq!(client.get("/").text(), "1");
}

#[test]
fn a_running_request_finishes_in_the_old_worker() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    let mut client = Client::connect(supervisor.addr);
    client.start_get("/sleep/400");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 1 2");
    supervisor.wait_for_version("2");
    assert_eq!(client.response().text(), "1");
    wait_until("its connection moves to the new worker", || client.get("/").text() == "2");
}

#[test]
fn hundreds_of_idle_connections_move_to_the_new_worker() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(supervisor.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "1");
    }
    code.save("2");
    supervisor.handle.replace(None);
    wait_until("the old worker is gone", || !is_alive(supervisor.log.pids()[0]));
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "2");
    }
    assert_eq!(supervisor.log.count("finished within"), 0);
}

#[test]
fn twenty_replacements_under_load_lose_no_request() {
    let code = CodeFile::new("0");
    let mut options = reloading();
    options.workers = 2;
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    let (finished, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (supervisor, finished, served) = (&supervisor, &finished, &served);
            scope.spawn(move || {
                let mut client = Client::connect(supervisor.addr);
                let mut requests = 0;
                while !finished.load(Ordering::SeqCst) {
                    requests += 1;
                    // Two clients send long requests. Some clients open new connections, most keep theirs.
                    let path = if number < 2 { "/sleep/200" } else { "/" };
                    client.try_get(path).unwrap_or_else(|error| panic!("request {requests} of {number}: {error}"));
                    served.fetch_add(1, Ordering::SeqCst);
                    if number >= 9 {
                        client = Client::connect(supervisor.addr);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for version in 1..=20 {
            code.save(&version.to_string());
            supervisor.handle.replace(None);
            supervisor.log.expect(1, &format!("replaced {version} {}", version + 1));
            let old = served.load(Ordering::SeqCst);
            wait_until("requests are served", || served.load(Ordering::SeqCst) > old + 20);
        }
        finished.store(true, Ordering::SeqCst);
    });
    supervisor.wait_for_version("20");
    assert_eq!(supervisor.log.count("died"), 0);
    assert_eq!(supervisor.log.count("failed"), 0);
}

#[test]
fn the_old_worker_serves_until_a_broken_replacement_is_fixed() {
    let code = CodeFile::new("1");
    let mut program = worker(code.path());
    program.capture_stderr = true;
    let supervisor = TestSupervisor::ready(program, reloading());
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    code.save("2 exit=1");
    supervisor.handle.replace(None);
    let failure = supervisor.log.expect(1, "failed 2");
    assert!(failure.contains("serving=true"), "{failure}");
    assert!(failure.contains("exit status: 1") && failure.contains("version 2 is broken"), "{failure}");
    assert_eq!(client.get("/").text(), "1");
    code.save("3");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 1 3");
    wait_until("the connection moves to the new worker", || client.get("/").text() == "3");
    assert_eq!(supervisor.log.pids().len(), 3);
}

#[test]
fn a_supervisor_whose_first_code_is_broken_waits_for_a_change() {
    let code = CodeFile::new("1 exit=1");
    let supervisor = TestSupervisor::start(worker(code.path()), reloading());
    let failure = supervisor.log.expect(1, "failed 1");
    assert!(failure.contains("serving=false"), "{failure}");
    supervisor.log.expect(1, "waiting for a change");
    // The socket listens, so a client that connects now gets its response once a worker serves.
    let mut early = Client::connect(supervisor.addr);
    early.send("GET / HTTP/1.1\r\n\r\n");
    code.save("2");
    supervisor.handle.replace(None);
    assert_eq!(early.response().text(), "2");
}

#[test]
fn a_fallback_serves_while_the_program_cannot_start() {
    let (code, page) = (CodeFile::new("1 exit=1"), CodeFile::new("page"));
    let supervisor = TestSupervisor::start(worker(code.path()), reloading());
    supervisor.log.expect(1, "failed 1");
    supervisor.handle.run_fallback(worker(page.path()), None);
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "page");
    supervisor.log.expect(1, "ready 2");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 2 3");
    wait_until("the connection moves to the new worker", || client.get("/").text() == "2");
}

#[test]
fn a_replacement_that_is_never_ready_is_killed() {
    let code = CodeFile::new("1");
    let mut options = reloading();
    options.start_timeout = Duration::from_secs(5);
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    code.save("2 hang ignore_sigterm");
    supervisor.handle.replace(None);
    let failure = supervisor.log.expect(1, "failed 2");
    assert!(failure.contains("was not ready within 5 s"), "{failure}");
    assert_eq!(supervisor.get("/"), "1");
    let hanging = supervisor.log.pids()[1];
    // The worker ignores SIGTERM.
    wait_until("the hanging worker is killed", || !is_alive(hanging));
}

#[test]
fn a_newer_replacement_abandons_one_that_is_starting() {
    let (code, hanging, newest) = (CodeFile::new("1"), CodeFile::new("2 hang"), CodeFile::new("3"));
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    supervisor.handle.replace(Some(worker(hanging.path())));
    supervisor.log.expect(1, "started 2");
    supervisor.handle.replace(Some(worker(newest.path())));
    supervisor.log.expect(1, "replaced 1 3");
    supervisor.wait_for_version("3");
    let hanging = supervisor.log.pids()[1];
    wait_until("the abandoned worker is gone", || !is_alive(hanging));
    assert_eq!(supervisor.log.count("failed"), 0);
}

#[test]
fn a_worker_that_does_not_drain_is_killed() {
    let code = CodeFile::new("1 ignore_messages ignore_sigterm");
    let mut options = reloading();
    options.drain_timeout = Duration::from_millis(200);
    options.kill_timeout = Duration::from_millis(200);
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    code.save("2");
    let begin = Instant::now();
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "has not finished within 200 ms");
    let draining = supervisor.log.pids()[0];
    wait_until("the worker is killed", || !is_alive(draining));
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert_eq!(supervisor.get("/"), "2");
    assert_eq!(supervisor.log.count("died"), 0);
}

#[test]
fn idle_connections_of_a_worker_that_dies_while_it_drains_are_not_lost() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    let mut idle = Client::connect(supervisor.addr);
    assert_eq!(idle.get("/").text(), "1");
    let mut running = Client::connect(supervisor.addr);
    running.start_get("/sleep/60000");
    code.save("2");
    supervisor.handle.replace(None);
    wait_until("the idle connection moves to the new worker", || idle.get("/").text() == "2");
    send_signal(supervisor.log.pids()[0], "KILL");
    assert!(running.try_response().is_err(), "the running request is lost with its worker");
    assert_eq!(idle.get("/").text(), "2");
    assert_eq!(supervisor.log.count("died"), 0);
}

#[test]
fn connections_are_held_while_there_is_no_worker() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), reloading());
    // The new worker becomes ready, and dies before the old one has handed its connection back.
    let mut slow = Client::connect(supervisor.addr);
    slow.start_get("/sleep/2500");
    code.save("2 then_exit=1");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "failures=1");
    code.save("3");
    assert_eq!(slow.response().text(), "1");
    assert_eq!(slow.get("/").text(), "3");
}
