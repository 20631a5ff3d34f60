//! Children that ask to be replaced.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amboss_reload::supervisor::Options;

use crate::roles::child;
use crate::support::*;

#[test]
fn who_asks_is_replaced_and_what_it_runs_and_keeps_goes_on() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    let mut idle = Client::connect(site.addr);
    let first = idle.get("/pid").unwrap();
    let mut running = Client::connect(site.addr);
    running.runs("/sleep/400");
    code.save("2");
    assert_eq!(site.get("/replace-me"), "1");
    eventually("the connection went on", || idle.get("/").unwrap() == "2");
    assert_ne!(idle.get("/pid").unwrap(), first);
    assert_eq!(running.answer().unwrap(), "1");
    eventually("its connection went on, too", || running.get("/").unwrap() == "2");
    eventually("the first is gone", || !is_alive(first.parse().unwrap()));
    assert_eq!(site.log.pids().len(), 2, "{:?}", site.log.lines());
    assert_eq!(site.log.count("died") + site.log.count("failed"), 0, "{:?}", site.log.lines());
}

#[test]
fn a_hundred_successors_under_load_lose_nothing() {
    let code = Code::new("1");
    let mut options = Options::default();
    options.workers = 2;
    let site = Site::ready(child(code.path()), options);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (site, over) = (&site, &over);
            scope.spawn(move || {
                let mut client = Client::connect(site.addr);
                for turn in 1.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let path = if turn % 10 == number { "/replace-me" } else { "/" };
                    client.get(path).unwrap_or_else(|error| panic!("request {turn} of {number}: {error}"));
                    if number == 5 {
                        client = Client::connect(site.addr);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        for number in 1..=100 {
            eventually("another one was started", || site.log.pids().len() > number);
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(site.log.count("died") + site.log.count("failed"), 0, "{:?}", site.log.lines());
}

#[test]
fn the_old_one_serves_while_its_successor_can_not_start() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    code.save("2 exit=1");
    assert_eq!(site.get("/replace-me"), "1");
    let failure = site.log.expect(2, "failed 1");
    assert!(failure.contains("serving=true"), "{failure}");
    site.log.expect(1, "trying again in 100 ms");
    site.log.expect(1, "trying again in 200 ms");
    assert_eq!(site.get("/"), "1");
    code.save("3");
    site.answers("3");
    assert_eq!(site.log.count("died"), 0);
}

#[test]
fn who_asks_and_does_not_leave_is_ended() {
    let code = Code::new("1 deaf stubborn");
    let mut options = Options::default();
    options.drain_deadline = Duration::from_millis(200);
    options.kill_deadline = Duration::from_millis(200);
    let site = Site::ready(child(code.path()), options);
    code.save("2");
    assert_eq!(site.get("/replace-me"), "1");
    site.log.expect(1, "has not finished within 200 ms");
    let deaf = site.log.pids()[0];
    eventually("it is killed", || !is_alive(deaf));
    assert_eq!(site.get("/"), "2");
}
