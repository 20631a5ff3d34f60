//! How the three servers differ: one request at a time, threads, processes.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{AppError, Body, Environ, PollerKind, StartResponse};

/// `/sleep/N` takes N ms, `/stream/N` takes N ms for each of three blocks. Records the maximum of concurrent calls.
#[derive(Clone, Default)]
struct SleepingApp {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl SleepingApp {
    fn sleep(&self, time: Duration) {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        thread::sleep(time);
        self.running.fetch_sub(1, SeqCst);
    }
}

impl amboss_core::Application for SleepingApp {
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

// Stack sizes

/// Uses about this many KiB of stack.
#[inline(never)]
fn use_stack(kilobytes: usize) -> u8 {
    let frame = std::hint::black_box([1u8; 1024]);
    frame[kilobytes % 1024] + if kilobytes > 1 { use_stack(kilobytes - 1) & 1 } else { 0 }
}

#[test]
fn threads_have_the_configured_stack_size() {
    const MIB: usize = 1 << 20;
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[])?;
        // More than std's 2 MiB: an overflow would end this process.
        std::hint::black_box(use_stack(8 * 1024));
        thread::sleep(5 * MS);
        Ok(Body::from("hello"))
    };
    let server = Setup::threaded().with(|settings| settings.runtime.thread_stack_size = Some(64 * MIB)).start(app);
    // The clients reach both the thread that runs the event loop and the threads that are started in addition.
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
fn an_impossible_stack_size_means_fewer_threads_and_is_logged_once() {
    let settings = |settings: &mut amboss_core::Settings| settings.runtime.thread_stack_size = Some(usize::MAX / 4);
    let server = Setup::threaded().with(settings).start(SleepingApp::default());
    server.log.wait_for("can't start a thread for now");
    // Each request takes longer than the pause before the server tries again to start a thread.
    for _ in 0..3 {
        assert_eq!(server.get("/sleep/600").text(), "hello");
    }
    let errors = server.log.errors();
    assert_eq!(errors.matches("can't start a thread").count(), 1, "{errors}");
}

// One request at a time

#[test]
fn a_single_threaded_server_serves_while_idle_connections_are_open() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let server = Setup::single().with(|settings| settings.runtime.poller = poller).start(test_app);
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
fn a_single_threaded_server_runs_one_request_at_a_time() {
    let sleeper = SleepingApp::default();
    let server = Setup::single().start(sleeper.clone());
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
fn slow_requests_do_not_delay_others_in_a_threaded_server() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        for path in ["/sleep/1500", "/stream/700"] {
            let server =
                Setup::threaded().with(|settings| settings.runtime.poller = poller).start(SleepingApp::default());
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
            // The slow requests ran concurrently, not one after the other.
            assert!(began.elapsed() < 6000 * MS, "{:?}", began.elapsed());
        }
    }
}

#[test]
fn the_number_of_threads_limits_the_running_requests() {
    for (threads, count) in [(1, 6), (3, 12)] {
        for path in ["/sleep/20", "/stream/8"] {
            let sleeper = SleepingApp::default();
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
fn all_queued_requests_run_when_one_of_two_threads_returns() {
    let gates = [Semaphore::default(), Semaphore::default()];
    let entered = Arc::new(AtomicUsize::new(0));
    let app = {
        let (gates, entered) = (gates.clone(), entered.clone());
        move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            let path = environ.text("PATH_INFO").into_owned();
            if let Some(gate) = path.strip_prefix("/gate/") {
                entered.fetch_add(1, SeqCst);
                gates[gate.parse::<usize>()?].acquire();
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
        wait_until("the request runs", || entered.load(SeqCst) == number + 1);
    }
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients[4].is_silent_for(20 * MS), "two requests run, and no third one may");
    gates[0].release();
    for client in slow[..1].iter_mut().chain(&mut clients) {
        assert_eq!(client.response().text(), "hello");
    }
    gates[1].release();
    assert_eq!(slow[1].response().text(), "hello");
}

#[test]
fn pipelined_requests_behind_a_slow_one_are_answered_in_order() {
    let server = Setup::threaded().start(SleepingApp::default());
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
fn the_environ_says_how_the_server_runs() {
    let flags = |text: String| ["wsgi.multithread=true\n", "wsgi.multiprocess=true\n"].map(|line| text.contains(line));
    assert_eq!(flags(Setup::single().start(test_app).get("/environ").text()), [false, false]);
    assert_eq!(flags(Setup::threaded().start(test_app).get("/environ").text()), [true, false]);
    let one_thread = Setup::threaded().with(|settings| settings.runtime.threads = 1);
    assert_eq!(
        flags(one_thread.start(test_app).get("/environ").text()),
        [false, false],
        "two requests never run at once"
    );
    let multiprocess = Setup::single().with(|settings| settings.runtime.multiprocess = true);
    assert_eq!(flags(multiprocess.start(test_app).get("/environ").text()), [false, true]);
    #[cfg(unix)]
    assert_eq!(flags(crate::server_process::ServerProcess::start("forking").get("/environ").text()), [false, true]);
}

#[test]
fn a_slow_call_keeps_the_event_loop_until_the_runtime_releases_its_lock() {
    // A runtime that holds its lock until the semaphore is released.
    let gate = Semaphore::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let sleeper = SleepingApp::default();
    let server = Setup::threaded()
        .with(|settings| {
            let (gate, asked) = (gate.clone(), asked.clone());
            settings.runtime.may_hand_over = Some(Arc::new(move |running| {
                assert!(running > Duration::ZERO);
                if asked.fetch_add(1, SeqCst) == 0 {
                    gate.acquire();
                    return false;
                }
                true
            }));
        })
        .start(sleeper.clone());
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the hook was called", || asked.load(SeqCst) == 1);
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(other.is_silent_for(MS * 50), "no other thread runs the event loop yet");
    gate.release();
    // Another thread takes over the event loop now, well before the slow call returns.
    assert_eq!(other.response().text(), "hello");
    assert!(asked.load(SeqCst) >= 3, "one `false`, then `true` twice");
    assert!(slow.is_silent_for(MS));
    assert_eq!(slow.response().text(), "hello");
}

#[test]
fn a_panic_in_the_hand_over_hook_is_ignored() {
    let server = Setup::threaded()
        .with(|settings| settings.runtime.may_hand_over = Some(Arc::new(|_| panic!("panic in the hook"))))
        .start(SleepingApp::default());
    let (mut slow, mut other) = (server.connect(), server.connect());
    slow.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(other.response().text(), "hello");
    assert!(slow.is_silent_for(MS));
    assert_eq!(slow.response().text(), "hello");
}

#[test]
fn with_multiprocess_a_server_accepts_one_connection_at_a_time() {
    const CONNECTIONS: usize = 24;
    for (setup, only_process) in [(Setup::single(), true), (Setup::single(), false), (Setup::threaded(), false)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, recorded, gate) = (taken.clone(), seen.clone(), Semaphore::default());
        let probe = ProbeLayer::new(move |place| {
            counted.fetch_add(usize::from(place == "wrap"), SeqCst);
        });
        let held = Arc::new(AtomicUsize::new(0));
        let (opened, holding) = (gate.clone(), held.clone());
        let server = setup
            .with(|settings| {
                settings.transport = Some(Arc::new(probe));
                settings.runtime.multiprocess = !only_process;
                settings.runtime.loops = 1;
                settings.runtime.may_hand_over = Some(Arc::new(|_| false));
            })
            .start(move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                match &*environ.path() {
                    b"/gate" => {
                        holding.fetch_add(1, SeqCst);
                        opened.acquire();
                    }
                    _ => recorded.lock().unwrap().push(taken.load(SeqCst) - 1),
                }
                test_app(environ, start_response)
            });
        // The other clients connect while this request runs.
        let mut first = server.connect();
        first.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the first request runs", || held.load(SeqCst) == 1);
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        gate.release();
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
        let expected: Vec<usize> =
            if only_process { vec![CONNECTIONS; CONNECTIONS] } else { (1..=CONNECTIONS).collect() };
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

#[test]
fn with_multiprocess_silent_connections_are_accepted_too() {
    let _guard = lock_many_connections();
    let server = Setup::threaded().with(|settings| settings.runtime.multiprocess = true).start(test_app);
    let silent: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.get("/").text(), "hello");
    for mut client in silent {
        assert_eq!(client.get("/").text(), "hello");
    }
    // A stop loses no connection that is still to be accepted.
    let mut last = server.connect();
    last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.handle.shutdown();
    assert_eq!(last.response().text(), "hello");
}
