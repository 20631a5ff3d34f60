//! Children are swapped without a lost connection, or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use amboss_reload::supervisor::Options;

use crate::roles::child;
use crate::support::*;

fn reloading() -> Options {
    let mut options = Options::default();
    options.retry = false;
    options
}

#[test]
fn a_child_says_that_it_is_ready_and_serves() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    assert_eq!(site.get("/"), "1");
    site.handle.stop();
    assert_eq!(site.outcome(), 0);
}

#[test]
fn a_kept_alive_connection_goes_to_the_new_code_with_what_was_read_from_it() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), reloading());
    let (mut idle, mut half) = (Client::connect(site.addr), Client::connect(site.addr));
    assert_eq!(idle.get("/").unwrap(), "1");
    assert_eq!(half.get("/").unwrap(), "1");
    half.send("GET /ha");
    code.save("2");
    site.handle.replace(None);
    site.log.expect(1, "swapped 1 2");
    eventually("the old child is gone", || !is_alive(site.log.pids()[0]));
    half.send("lf HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(half.answer().unwrap(), "2");
    assert_eq!(half.answer().unwrap(), "2");
    assert_eq!(idle.get("/").unwrap(), "2");
}

#[test]
fn a_child_that_is_replaced_before_it_was_heard_loses_nothing_either() {
    let code = Code::new("1");
    let site = Site::start(child(code.path()), reloading());
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    site.handle.replace(None);
    assert_eq!(client.get("/").unwrap(), "1");
    site.log.expect(1, "ready 2");
    assert_eq!(client.get("/").unwrap(), "1");
}

#[test]
fn a_running_request_finishes_on_the_old_code() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), reloading());
    let mut client = Client::connect(site.addr);
    client.runs("/sleep/400");
    code.save("2");
    site.handle.replace(None);
    site.log.expect(1, "swapped 1 2");
    site.answers("2");
    assert_eq!(client.answer().unwrap(), "1");
    eventually("its connection went on to the new", || client.get("/").unwrap() == "2");
}

#[test]
fn hundreds_of_idle_connections_go_over() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), reloading());
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(site.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").unwrap(), "1");
    }
    code.save("2");
    site.handle.replace(None);
    eventually("the old child is gone", || !is_alive(site.log.pids()[0]));
    for client in &mut clients {
        assert_eq!(client.get("/").unwrap(), "2");
    }
    assert_eq!(site.log.count("finished within"), 0);
}

#[test]
fn twenty_replacements_under_load_lose_nothing() {
    let code = Code::new("0");
    let mut options = reloading();
    options.workers = 2;
    let site = Site::ready(child(code.path()), options);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (site, over, served) = (&site, &over, &served);
            scope.spawn(move || {
                let mut client = Client::connect(site.addr);
                let mut requests = 0;
                while !over.load(Ordering::SeqCst) {
                    requests += 1;
                    // Some are always running, some begin anew, most are kept alive.
                    let path = if number < 2 { "/sleep/200" } else { "/" };
                    client.get(path).unwrap_or_else(|error| panic!("request {requests} of {number}: {error}"));
                    served.fetch_add(1, Ordering::SeqCst);
                    if number >= 9 {
                        client = Client::connect(site.addr);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for version in 1..=20 {
            code.save(&version.to_string());
            site.handle.replace(None);
            site.log.expect(1, &format!("swapped {version} {}", version + 1));
            let old = served.load(Ordering::SeqCst);
            eventually("requests are served", || served.load(Ordering::SeqCst) > old + 20);
        }
        over.store(true, Ordering::SeqCst);
    });
    site.answers("20");
    assert_eq!(site.log.count("died"), 0);
    assert_eq!(site.log.count("failed"), 0);
}

#[test]
fn a_broken_replacement_leaves_the_old_serving_until_it_is_mended() {
    let code = Code::new("1");
    let mut program = child(code.path());
    program.capture = true;
    let site = Site::ready(program, reloading());
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    code.save("2 exit=1");
    site.handle.replace(None);
    let failure = site.log.expect(1, "failed 2");
    assert!(failure.contains("serving=true"), "{failure}");
    assert!(failure.contains("exit status: 1") && failure.contains("version 2 is broken"), "{failure}");
    assert_eq!(client.get("/").unwrap(), "1");
    code.save("3");
    site.handle.replace(None);
    site.log.expect(1, "swapped 1 3");
    eventually("the connection went on", || client.get("/").unwrap() == "3");
    assert_eq!(site.log.pids().len(), 3);
}

#[test]
fn code_that_is_broken_from_the_start_waits_for_a_change() {
    let code = Code::new("1 exit=1");
    let site = Site::start(child(code.path()), reloading());
    let failure = site.log.expect(1, "failed 1");
    assert!(failure.contains("serving=false"), "{failure}");
    site.log.expect(1, "waiting for a change");
    // The socket is there: who comes now is answered as soon as somebody can.
    let mut early = Client::connect(site.addr);
    early.send("GET / HTTP/1.1\r\n\r\n");
    code.save("2");
    site.handle.replace(None);
    assert_eq!(early.answer().unwrap(), "2");
}

#[test]
fn a_stand_in_answers_while_nothing_else_can() {
    let (code, page) = (Code::new("1 exit=1"), Code::new("page"));
    let site = Site::start(child(code.path()), reloading());
    site.log.expect(1, "failed 1");
    site.handle.stand_in(child(page.path()));
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "page");
    site.log.expect(1, "ready 2");
    code.save("2");
    site.handle.replace(None);
    site.log.expect(1, "swapped 2 3");
    eventually("the connection went on", || client.get("/").unwrap() == "2");
}

#[test]
fn a_replacement_that_is_never_ready_is_ended_at_its_deadline() {
    let code = Code::new("1");
    let mut options = reloading();
    options.start_deadline = Duration::from_secs(5);
    let site = Site::ready(child(code.path()), options);
    code.save("2 hang stubborn");
    site.handle.replace(None);
    let failure = site.log.expect(1, "failed 2");
    assert!(failure.contains("was not ready within 5 s"), "{failure}");
    assert_eq!(site.get("/"), "1");
    let hanging = site.log.pids()[1];
    // It ignores SIGTERM.
    eventually("the hanging child is killed", || !is_alive(hanging));
}

#[test]
fn a_newer_replacement_ends_one_that_is_starting() {
    let (code, hanging, newest) = (Code::new("1"), Code::new("2 hang"), Code::new("3"));
    let site = Site::ready(child(code.path()), reloading());
    site.handle.replace(Some(child(hanging.path())));
    site.log.expect(1, "started 2");
    site.handle.replace(Some(child(newest.path())));
    site.log.expect(1, "swapped 1 3");
    site.answers("3");
    let hanging = site.log.pids()[1];
    eventually("the one that was starting is gone", || !is_alive(hanging));
    assert_eq!(site.log.count("failed"), 0);
}

#[test]
fn a_child_that_does_not_drain_is_ended_at_its_deadline() {
    let code = Code::new("1 deaf stubborn");
    let mut options = reloading();
    options.drain_deadline = Duration::from_millis(200);
    options.kill_deadline = Duration::from_millis(200);
    let site = Site::ready(child(code.path()), options);
    code.save("2");
    let begin = Instant::now();
    site.handle.replace(None);
    site.log.expect(1, "has not finished within 200 ms");
    let deaf = site.log.pids()[0];
    eventually("it is killed", || !is_alive(deaf));
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert_eq!(site.get("/"), "2");
    assert_eq!(site.log.count("died"), 0);
}

#[test]
fn connections_of_a_child_that_dies_while_it_drains_are_not_lost() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), reloading());
    let mut idle = Client::connect(site.addr);
    assert_eq!(idle.get("/").unwrap(), "1");
    let mut running = Client::connect(site.addr);
    running.runs("/sleep/60000");
    code.save("2");
    site.handle.replace(None);
    eventually("the idle connection went on", || idle.get("/").unwrap() == "2");
    let draining = rustix::process::Pid::from_raw(site.log.pids()[0]).unwrap();
    rustix::process::kill_process(draining, rustix::process::Signal::KILL).unwrap();
    assert!(running.answer().is_err(), "what ran died with it");
    assert_eq!(idle.get("/").unwrap(), "2");
    assert_eq!(site.log.count("died"), 0);
}

#[test]
fn connections_wait_for_the_next_child_when_there_is_none() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), reloading());
    // The new one takes over, and dies before the old has handed anything back.
    let mut slow = Client::connect(site.addr);
    slow.runs("/sleep/2500");
    code.save("2 then_exit=1");
    site.handle.replace(None);
    site.log.expect(1, "row=1");
    code.save("3");
    assert_eq!(slow.answer().unwrap(), "1");
    assert_eq!(slow.get("/").unwrap(), "3");
}
