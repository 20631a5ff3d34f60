//! What tells the three servers apart: one request at a time, threads, processes.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use crate::transport::Telling;
use amboss_core::{AppError, Body, Environ, PollerKind, StartResponse};

/// `/sleep/N` takes N ms, `/stream/N` as long for each of three blocks. Keeps the greatest number that ran at once.
#[derive(Clone, Default)]
struct Sleeper {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Sleeper {
    fn sleep(&self, time: Duration) {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        thread::sleep(time);
        self.running.fetch_sub(1, SeqCst);
    }
}

impl amboss_core::Application for Sleeper {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.text("PATH_INFO").into_owned();
        start_response.start("200 OK", &[])?;
        if let Some(time) = path.strip_prefix("/sleep/") {
            self.sleep(MS * time.parse()?);
        }
        if let Some(time) = path.strip_prefix("/stream/") {
            let (this, time) = (self.clone(), MS * time.parse()?);
            return Ok(Body::iter((0..3).map(move |_| {
                this.sleep(time);
                b"hello".to_vec()
            })));
        }
        Ok(Body::from("hello"))
    }
}

// Threads' stacks

/// Uses about so many KiB of stack.
#[inline(never)]
fn use_stack(kilobytes: usize) -> u8 {
    let frame = std::hint::black_box([1u8; 1024]);
    frame[kilobytes % 1024] + if kilobytes > 1 { use_stack(kilobytes - 1) & 1 } else { 0 }
}

#[test]
fn threads_have_the_stack_that_the_settings_say() {
    const MIB: usize = 1 << 20;
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[])?;
        // More than std's 2 MiB: an overflow would end this process.
        std::hint::black_box(use_stack(8 * 1024));
        thread::sleep(5 * MS);
        Ok(Body::from("hello"))
    };
    let server = Setup::threaded().with(|settings| settings.runtime.thread_stack_size = Some(64 * MIB)).start(app);
    // The leader, and threads that are started beside it.
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
    }
}

#[test]
fn a_stack_that_can_t_be_had_means_fewer_threads_and_is_said_once() {
    let settings = |settings: &mut amboss_core::Settings| settings.runtime.thread_stack_size = Some(usize::MAX / 4);
    let server = Setup::threaded().with(settings).start(Sleeper::default());
    server.log.wait_for("can't start a thread for now");
    // Each takes longer than the server waits before it asks the system again.
    for _ in 0..3 {
        assert_eq!(server.get("/sleep/600").text(), "hello");
    }
    let said = server.log.errors();
    assert_eq!(said.matches("can't start a thread").count(), 1, "{said}");
}

// One request at a time

#[test]
fn base_serves_while_idle_connections_are_open() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let server = Setup::base().with(|settings| settings.runtime.poller = poller).start(fixture);
        let _idle = server.connect();
        let mut kept = server.connect();
        kept.get("/");
        let mut half = server.connect();
        half.send("GET / HT");
        assert_eq!(server.get("/").text(), "hello");
        half.send("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(half.response().text(), "hello");
    }
}

#[test]
fn base_runs_one_request_at_a_time_in_the_thread_that_serves() {
    let sleeper = Sleeper::default();
    let server = Setup::base().start(sleeper.clone());
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /sleep/10 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "hello");
    }
    assert_eq!(sleeper.most.load(SeqCst), 1);
}

// Threads

#[test]
fn slow_requests_delay_nobody_in_a_threaded_server() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        for path in ["/sleep/1500", "/stream/700"] {
            let server = Setup::threaded().with(|settings| settings.runtime.poller = poller).start(Sleeper::default());
            let mut slow: Vec<Client> = (0..8).map(|_| server.connect()).collect();
            let began = Instant::now();
            for client in &mut slow {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            let mut fast = server.connect();
            for _ in 0..50 {
                assert_eq!(fast.get("/").text(), "hello");
            }
            assert!(began.elapsed() < 1200 * MS, "{:?}", began.elapsed());
            for client in &mut slow {
                assert!(client.response().text().starts_with("hello"));
            }
            // All at once, not one after the other.
            assert!(began.elapsed() < 6000 * MS, "{:?}", began.elapsed());
        }
    }
}

#[test]
fn never_more_requests_run_than_there_may_be_threads_and_the_others_wait_their_turn() {
    for (threads, count) in [(1, 6), (3, 12)] {
        for path in ["/sleep/20", "/stream/8"] {
            let sleeper = Sleeper::default();
            let server = Setup::threaded().with(|settings| settings.runtime.threads = threads).start(sleeper.clone());
            let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
            for client in &mut clients {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            for client in &mut clients {
                assert!(client.response().text().starts_with("hello"));
            }
            let most = sleeper.most.load(SeqCst);
            assert!(most <= threads, "{most} ran at once with {threads} threads: {path}");
            assert_eq!(server.get("/").text(), "hello");
        }
    }
}

#[test]
fn all_that_wait_go_on_when_one_of_two_threads_comes_back() {
    let gates = [Gate::default(), Gate::default()];
    let entered = Arc::new(AtomicUsize::new(0));
    let app = {
        let (gates, entered) = (gates.clone(), entered.clone());
        move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            let path = environ.text("PATH_INFO").into_owned();
            if let Some(gate) = path.strip_prefix("/gate/") {
                entered.fetch_add(1, SeqCst);
                gates[gate.parse::<usize>()?].pass();
            }
            start_response.start("200 OK", &[])?;
            Ok(Body::from("hello"))
        }
    };
    let server =
        Setup::threaded().with(|settings| (settings.runtime.threads, settings.runtime.loops) = (2, 1)).start(app);
    let mut slow = [server.connect(), server.connect()];
    for (number, client) in slow.iter_mut().enumerate() {
        client.send(format!("GET /gate/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        eventually("a request runs", || entered.load(SeqCst) == number + 1);
    }
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients[4].is_silent_for(20 * MS), "two run, and more may not");
    gates[0].open();
    for client in slow[..1].iter_mut().chain(&mut clients) {
        assert_eq!(client.response().text(), "hello");
    }
    gates[1].open();
    assert_eq!(slow[1].response().text(), "hello");
}

#[test]
fn pipelined_requests_behind_a_slow_one_are_answered_in_order() {
    let server = Setup::threaded().start(Sleeper::default());
    let mut client = server.connect();
    let one = "GET /sleep/15 HTTP/1.1\r\nHost: a\r\n\r\nGET /stream/5 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..5 {
        client.send(one.repeat(2));
        for _ in 0..2 {
            assert_eq!(client.response().text(), "hello");
            assert_eq!(client.response().text(), "hellohellohello");
            assert_eq!(client.response().text(), "hello");
        }
    }
}

#[test]
fn the_environ_tells_how_the_server_runs() {
    let truths = |text: String| ["wsgi.multithread=true\n", "wsgi.multiprocess=true\n"].map(|line| text.contains(line));
    assert_eq!(truths(Setup::base().start(fixture).get("/environ").text()), [false, false]);
    assert_eq!(truths(Setup::threaded().start(fixture).get("/environ").text()), [true, false]);
    let alone = Setup::threaded().with(|settings| settings.runtime.threads = 1);
    assert_eq!(truths(alone.start(fixture).get("/environ").text()), [false, false], "never two at once");
    let beside_others = Setup::base().with(|settings| settings.runtime.multiprocess = true);
    assert_eq!(truths(beside_others.start(fixture).get("/environ").text()), [false, true]);
    #[cfg(unix)]
    assert_eq!(truths(crate::helper::Helper::start("forking").get("/environ").text()), [false, true]);
}

#[test]
fn a_slow_call_keeps_the_lead_until_the_runtime_lets_go_of_its_lock() {
    // A runtime whose lock is held for as long as the gate is shut.
    let gate = Gate::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let sleeper = Sleeper::default();
    let server = Setup::threaded()
        .with(|settings| {
            let (gate, asked) = (gate.clone(), asked.clone());
            settings.runtime.may_hand_over = Some(Arc::new(move |running| {
                assert!(running > Duration::ZERO);
                if asked.fetch_add(1, SeqCst) == 0 {
                    gate.pass();
                    return false;
                }
                true
            }));
        })
        .start(sleeper.clone());
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it was asked", || asked.load(SeqCst) == 1);
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(other.is_silent_for(MS * 50), "nobody else leads yet");
    gate.open();
    // The lead changes hands now, well before the slow call is back.
    assert_eq!(other.response().text(), "hello");
    assert!(asked.load(SeqCst) >= 3, "a no, and a yes twice");
    assert!(slow.is_silent_for(MS));
    assert_eq!(slow.response().text(), "hello");
}

#[test]
fn a_panic_before_a_hand_over_changes_nothing() {
    let server = Setup::threaded()
        .with(|settings| settings.runtime.may_hand_over = Some(Arc::new(|_| panic!("before a hand-over"))))
        .start(Sleeper::default());
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(other.response().text(), "hello");
    assert!(slow.is_silent_for(MS));
    assert_eq!(slow.response().text(), "hello");
}

#[test]
fn beside_other_processes_a_server_takes_the_next_connection_when_it_has_answered_the_last() {
    const CONNECTIONS: usize = 24;
    for (setup, alone) in [(Setup::base(), true), (Setup::base(), false), (Setup::threaded(), false)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, noted, gate) = (taken.clone(), seen.clone(), Gate::default());
        let telling = Telling::new(move |place| {
            counted.fetch_add(usize::from(place == "wrap"), SeqCst);
        });
        let held = Arc::new(AtomicUsize::new(0));
        let (opened, holding) = (gate.clone(), held.clone());
        let server = setup
            .with(|settings| {
                settings.transport = Some(Arc::new(telling));
                settings.runtime.multiprocess = !alone;
                settings.runtime.loops = 1;
                settings.runtime.may_hand_over = Some(Arc::new(|_| false));
            })
            .start(move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                match &*environ.path() {
                    b"/gate" => {
                        holding.fetch_add(1, SeqCst);
                        opened.pass();
                    }
                    _ => noted.lock().unwrap().push(taken.load(SeqCst) - 1),
                }
                fixture(environ, start_response)
            });
        // While this one is being answered, the others come.
        let mut first = server.connect();
        first.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it is being answered", || held.load(SeqCst) == 1);
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
        let expected: Vec<usize> = if alone { vec![CONNECTIONS; CONNECTIONS] } else { (1..=CONNECTIONS).collect() };
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

#[test]
fn beside_other_processes_connections_that_say_nothing_are_let_in_as_well() {
    let _turn = HUNDREDS.lock();
    let server = Setup::threaded().with(|settings| settings.runtime.multiprocess = true).start(fixture);
    let silent: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.get("/").text(), "hello");
    for mut client in silent {
        assert_eq!(client.get("/").text(), "hello");
    }
    // And the stop finds nobody in between.
    let mut last = server.connect();
    last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.handle.shutdown();
    assert_eq!(last.response().text(), "hello");
}
