//! Slow, broken and hostile clients.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{AppError, Body, Environ, PollerKind, StartResponse};

/// `/endless` streams for as long as somebody reads, `/sleep/N` takes N ms, `/large` is 20 MB, the rest as `fixture`.
pub fn robust_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if let Some(time) = path.strip_prefix("/sleep/") {
        thread::sleep(MS * time.parse()?);
    }
    match path.as_str() {
        "/endless" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter(std::iter::repeat_with(|| vec![b'x'; 1000])))
        }
        "/large" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::from(vec![b'x'; 20_000_000]))
        }
        "/slowstream" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter((0..10).map(|number| {
                thread::sleep(20 * MS);
                format!("{number}").into_bytes()
            })))
        }
        _ => fixture(environ, start_response),
    }
}

/// Requests succeed, and quickly.
#[track_caller]
pub fn stays_responsive(server: &Running, times: usize) {
    for _ in 0..times {
        let began = Instant::now();
        assert_eq!(server.get("/").text(), "hello");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

// Slow clients

#[test]
fn half_a_head_is_answered_with_408_after_its_time() {
    everywhere_with(
        |settings| settings.timeouts.head = 100 * MS,
        fixture,
        |server| {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHo");
            let answer = client.response();
            assert_eq!((answer.status, answer.field("Connection")), (408, Some("close")));
            client.finish_sending();
            assert!(client.at_end());
            // Drops of it don't buy more time.
            let mut client = server.connect();
            let began = Instant::now();
            while began.elapsed() < DEADLINE && client.is_silent_for(5 * MS) {
                client.send("x");
            }
            assert_eq!(client.response().status, 408);
            assert!(began.elapsed() < Duration::from_secs(3));
        },
    );
}

#[test]
fn a_small_body_that_comes_slowly_holds_no_thread_and_nobody_up() {
    for setup in [Setup::base(), Setup::threaded().with(|settings| settings.runtime.threads = 1)] {
        let server = setup.start(robust_app);
        let mut slow: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for client in &mut slow {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
        }
        stays_responsive(&server, 10);
        for client in &mut slow {
            client.send_bytewise(b"cd");
        }
        stays_responsive(&server, 10);
        for client in &mut slow {
            client.send("efGET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.response().text(), "abcdef");
            assert_eq!(client.response().text(), "hello", "what follows the body is the next request");
        }
    }
}

#[test]
fn a_body_that_stalls_is_answered_with_408_and_one_that_ends_early_with_400() {
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab";
    everywhere_with(
        |settings| settings.timeouts.stalled = 150 * MS,
        robust_app,
        |server| {
            let mut stalled = server.connect();
            stalled.send(request);
            let answer = stalled.response();
            assert_eq!((answer.status, answer.field("Connection")), (408, Some("close")));
            server.log.wait_for("the body of a request came too slowly");
        },
    );
    everywhere(robust_app, |server| {
        let mut ended = server.connect();
        ended.send(request);
        ended.finish_sending();
        assert_eq!(ended.response().status, 400);
        assert!(!server.log.errors().contains("error on"), "the application was called");
    });
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    everywhere_with(
        |settings| settings.timeouts.idle = 500 * MS,
        fixture,
        |server| {
            assert!(server.connect().at_end(), "before the first request");
            let mut client = server.connect();
            client.get("/");
            assert!(client.at_end(), "between requests");
            assert!(!client.reset);
            assert_eq!(server.log.errors(), "");
        },
    );
}

#[test]
fn what_came_while_the_loop_was_away_came_in_time() {
    // One thread, or one that keeps the lead: nobody looks at the others while the application takes its time.
    let keeps_the_lead = |settings: &mut amboss_core::Settings| {
        settings.runtime.loops = 1;
        settings.runtime.may_hand_over = Some(Arc::new(|_| false));
    };
    for setup in [Setup::base(), Setup::threaded().with(keeps_the_lead)] {
        let entered = Arc::new(AtomicBool::new(false));
        let seen = entered.clone();
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            seen.fetch_or(environ.path().starts_with(b"/sleep"), SeqCst);
            robust_app(environ, start_response)
        };
        let setup = setup.with(|settings| {
            (settings.timeouts.idle, settings.timeouts.head, settings.timeouts.stalled) =
                (800 * MS, 800 * MS, 800 * MS);
        });
        let server = setup.start(app);
        let [mut busy, idle, kept, head, body] = [(); 5].map(|()| server.connect());
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut others = [
            (idle, "", get),
            (kept, get, get),
            (head, "GET / HTTP/1.1\r\nHo", "st: a\r\n\r\n"),
            (body, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo", "dy"),
        ];
        for (client, first, _) in &mut others {
            client.send(*first);
        }
        assert_eq!(others[1].0.response().text(), "hello");
        busy.send("GET /sleep/1700 HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || entered.load(SeqCst));
        for (client, _, rest) in &mut others {
            client.send(*rest);
        }
        assert_eq!(busy.response().text(), "hello");
        // Whoever waited has all the time again.
        let answered = Instant::now();
        for (client, first, _) in &mut others {
            assert_eq!(client.response().text(), "hello", "after {first:?}");
        }
        assert!(busy.is_silent_for(100 * MS));
        assert_eq!(busy.get("/").text(), "hello");
        for (client, first, _) in &mut others {
            assert!(client.at_end(), "after {first:?}");
            assert!(answered.elapsed() > 600 * MS, "{:?} after {first:?}", answered.elapsed());
        }
    }
}

#[test]
fn a_reader_that_stops_reading_is_cut_after_its_time() {
    everywhere_with(
        |settings| settings.timeouts.stalled = 200 * MS,
        robust_app,
        |server| {
            for path in ["/large", "/endless"] {
                let errors = server.log.errors.lock().unwrap().len();
                let mut client = server.connect();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                client.exactly(100);
                stays_responsive(server, 3);
                let logged = || server.log.access.lock().unwrap().iter().any(|(line, ..)| line.contains(path));
                eventually("the reader is cut", || logged() || server.log.errors.lock().unwrap().len() > errors);
            }
        },
    );
}

#[test]
fn a_body_below_the_minimum_rate_is_cut() {
    let change = |settings: &mut amboss_core::Settings| {
        settings.timeouts.grace = 200 * MS;
        settings.timeouts.minimum_rate = 1000;
    };
    everywhere_with(change, fixture, |server| {
        let mut client = server.connect();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        let began = Instant::now();
        while began.elapsed() < DEADLINE && client.is_silent_for(10 * MS) {
            client.send("x");
        }
        assert_eq!(client.response().status, 408);
    });
}

#[test]
fn two_hundred_half_sent_heads_delay_nobody() {
    let _turn = HUNDREDS.lock();
    everywhere(fixture, |server| {
        let mut half: Vec<Client> = (0..200).map(|_| server.connect()).collect();
        for client in &mut half {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le");
        }
        stays_responsive(server, 20);
        for client in &mut half {
            client.send("ngth: 4\r\n\r\nbody");
        }
        for client in &mut half {
            assert_eq!(client.response().text(), "body");
        }
    });
}

#[test]
fn a_client_that_takes_an_endless_answer_as_fast_as_it_comes_starves_nobody() {
    everywhere(robust_app, |server| {
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut client = server.connect();
                let stop = stop.clone();
                thread::spawn(move || {
                    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
                    let mut piece = vec![0; 1 << 20];
                    while !stop.load(SeqCst) && client.stream.read(&mut piece).is_ok_and(|count| count > 0) {}
                })
            })
            .collect();
        stays_responsive(server, 10);
        stop.store(true, SeqCst);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_client_that_sends_requests_or_rubbish_without_end_starves_nobody() {
    everywhere(fixture, |server| {
        for flood in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "rubbish\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n",
        ] {
            let stop = Arc::new(AtomicBool::new(false));
            let client = server.connect();
            let (mut sender, mut receiver) = (client.stream.try_clone().unwrap(), client.stream);
            let stopped = stop.clone();
            let sending = thread::spawn(move || {
                let piece = flood.repeat(2000);
                while !stopped.load(SeqCst) && sender.write_all(piece.as_bytes()).is_ok() {}
                let _ = sender.shutdown(std::net::Shutdown::Both);
            });
            let receiving = thread::spawn(move || {
                let mut piece = vec![0; 1 << 20];
                while receiver.read(&mut piece).is_ok_and(|count| count > 0) {}
            });
            stays_responsive(server, 10);
            stop.store(true, SeqCst);
            sending.join().unwrap();
            receiving.join().unwrap();
        }
    });
}

// Broken clients

#[test]
fn resets_at_every_stage_hurt_nobody() {
    everywhere(robust_app, |server| {
        for (sent, read) in [
            ("", 0),
            ("GET / HT", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 20),
            ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /slowstream HTTP/1.1\r\nHost: a\r\n\r\n", 100),
            ("GET /sleep/10 HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 0),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc", 0),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", 25),
            ("rubbish\r\n\r\n", 0),
            ("rubbish\r\n\r\n", 20),
        ] {
            for _ in 0..3 {
                let mut client = server.connect();
                client.send(sent);
                if read > 0 {
                    let mut piece = vec![0; read];
                    client.stream.read_exact(&mut piece).unwrap();
                    // What is unread when a socket closes makes it a reset.
                    client.is_silent_for(5 * MS);
                }
            }
            assert_eq!(server.get("/").text(), "hello", "after {sent:?}");
        }
        assert!(!server.log.errors().contains("panic"), "{}", server.log.errors());
    });
}

#[test]
fn a_client_that_closes_its_sending_side_still_gets_its_answer() {
    everywhere(robust_app, |server| {
        for path in ["/", "/sleep/20", "/slowstream", "/large"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.finish_sending();
            let answer = client.response();
            assert!(answer.status == 200 && answer.complete, "{path}");
        }
    });
}

/// Some clients send a line end behind the body, which is no request. RFC 9112 §9.6: the server must not reset them.
#[test]
fn surplus_behind_the_body_of_a_last_request_resets_no_client() {
    everywhere(fixture, |server| {
        for _ in 0..20 {
            let mut client = server.connect();
            client.send("POST /echo HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody");
            client.until("\r\n\r\nbody");
            client.send("\r\n");
            client.send("\r\n");
            assert!(client.at_end() && !client.reset);
            client.finish_sending();
        }
    });
}

/// The same without a body. What is on its way would be lost with the reset.
#[test]
fn surplus_behind_a_last_request_without_a_body_costs_nothing_of_its_answer() {
    everywhere(robust_app, |server| {
        for (path, head) in [
            ("/", "HTTP/1.0\r\n\r\n"),
            ("/", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            ("/large", "HTTP/1.0\r\n\r\n"),
            ("/large", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            ("/large", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        ] {
            for _ in 0..5 {
                let mut client = server.connect();
                client.send(format!("GET {path} {head}"));
                client.until("HTTP/1.1 200 OK\r\n");
                client.send("\r\n");
                client.send("\r\n");
                let rest = client.rest();
                assert!(!client.reset, "{path} {head}");
                assert!(path == "/" || rest.len() >= 20_000_000, "{head}: only {} bytes", rest.len());
            }
        }
    });
}

/// In one segment: nothing that the client sends afterwards can cost it the end, and nobody is woken twice.
#[cfg(target_os = "linux")]
#[test]
fn the_end_of_a_connection_comes_with_its_last_answer() {
    everywhere(fixture, |server| {
        for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
            for _ in 0..50 {
                let mut client = server.connect();
                client.send(request);
                client.until("\r\n\r\nhello");
                client.stream.set_nonblocking(true).unwrap();
                assert_eq!(client.stream.read(&mut [0]).ok(), Some(0), "{request:?}");
            }
        }
    });
}

/// Clients that ask for the close and then stay cost the others nothing: not a process, nor the server's end.
#[test]
fn a_client_that_does_not_close_after_its_last_request_holds_nothing_up() {
    for setup in [Setup::base(), Setup::threaded()] {
        // As long as the test may take, so that whoever waits for it is seen.
        let server = setup.with(|settings| settings.timeouts.linger = 2 * DEADLINE).start(fixture);
        let stay = || {
            let mut client = server.connect();
            client.send("GET / HTTP/1.0\r\n\r\n");
            client.rest();
            client
        };
        let clients: Vec<Client> = (0..20).map(|_| stay()).collect();
        assert!(server.stop() < DEADLINE);
        drop(clients);
    }
}

// Slow bodies

/// Sends a byte of each body now and then, until it is told to stop.
fn drip(clients: &mut [Client], chunked: bool, pause: Duration, over: &AtomicBool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !over.load(SeqCst) && Instant::now() < until {
        for client in &mut *clients {
            client.send(if chunked { "1\r\nx\r\n" } else { "x" });
        }
        thread::sleep(pause);
    }
}

/// Both ways of framing, for clients with an even and an odd number.
fn begin_drip(server: &Running, path: &str, count: usize) -> (Vec<Client>, Vec<Client>) {
    let mut both = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut client = server.connect();
        let framing = if number % 2 == 0 { "Content-Length: 100000" } else { "Transfer-Encoding: chunked" };
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        if number % 2 == 0 {
            both.0.push(client)
        } else {
            both.1.push(client)
        }
    }
    both
}

#[test]
fn clients_that_drip_their_bodies_hold_no_thread() {
    let _guard = HUNDREDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for setup in [Setup::base(), Setup::threaded().with(|settings| settings.runtime.threads = 2)] {
        let server = setup.start(fixture);
        let (mut lengths, mut chunks) = begin_drip(&server, "/echo", 200);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| drip(&mut lengths, false, 20 * MS, &over));
            scope.spawn(|| drip(&mut chunks, true, 20 * MS, &over));
            stays_responsive(&server, 50);
            over.store(true, SeqCst);
        });
    }
}

#[test]
fn streamed_bodies_take_no_place_while_their_clients_are_waited_for() {
    let change = |settings: &mut amboss_core::Settings| {
        streamed(settings);
        settings.runtime.threads = 2;
    };
    // With many clients some thread always comes back for a place: requests that have waited for longer go first.
    for (loops, count, pause) in [(1, 10, 20 * MS), (2, 10, 20 * MS), (1, 40, 5 * MS), (2, 40, 5 * MS)] {
        let server = Setup::threaded().with(change).with(|settings| settings.runtime.loops = loops).start(fixture);
        let (mut lengths, mut chunks) = begin_drip(&server, "/echo", count);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| drip(&mut lengths, false, pause, &over));
            scope.spawn(|| drip(&mut chunks, true, pause, &over));
            stays_responsive(&server, 50);
            over.store(true, SeqCst);
        });
        for client in &mut chunks {
            client.send("0\r\n\r\n");
            let answer = client.response();
            assert_eq!(answer.status, 200);
            assert!(!answer.body.is_empty() && answer.body.iter().all(|&byte| byte == b'x'));
        }
    }
}

/// A burst of them begins faster than threads can be had that lead in the place of those that wait.
#[test]
fn a_burst_of_streamed_bodies_that_never_go_on_takes_no_place() {
    let _guard = HUNDREDS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for (loops, threads) in [(1, 2), (2, 2), (2, 4)] {
        let setup = Setup::threaded().with(streamed).with(|settings| {
            settings.runtime.loops = loops;
            settings.runtime.threads = threads;
        });
        let server = setup.start(fixture);
        let mut clients = begin_drip(&server, "/echo", 200);
        clients.0.iter_mut().for_each(|client| client.send("x"));
        clients.1.iter_mut().for_each(|client| client.send("1\r\nx\r\n"));
        stays_responsive(&server, 10);
    }
}

// Requests that wait for a thread

/// `/gate` waits for the gate; everything counts its calls.
fn counting(
    gate: &Gate,
    calls: &Arc<AtomicUsize>,
) -> impl Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> {
    let (gate, calls) = (gate.clone(), calls.clone());
    move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        calls.fetch_add(1, SeqCst);
        if environ.path() == &b"/gate"[..] {
            gate.pass();
        }
        fixture(environ, start_response)
    }
}

/// A server with one thread, whose only place is taken once `occupy` has been called.
fn one_thread(change: impl FnOnce(&mut amboss_core::Settings)) -> (Running, Gate, Arc<AtomicUsize>) {
    let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let setup = Setup::threaded().with(|settings| settings.runtime.threads = 1).with(change);
    (setup.start(counting(&gate, &calls)), gate, calls)
}

fn occupy(server: &Running, calls: &AtomicUsize) -> Client {
    let mut running = server.connect();
    let before = calls.load(SeqCst);
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || calls.load(SeqCst) > before);
    running
}

#[test]
fn a_request_that_waits_too_long_for_a_thread_gets_503() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (server, gate, calls) = one_thread(|settings| {
            settings.timeouts.queued = 200 * MS;
            settings.runtime.poller = poller;
        });
        let mut running = occupy(&server, &calls);
        let mut waiting = server.connect();
        waiting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        let answer = waiting.response();
        assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
        assert!(answer.field("Retry-After").is_some());
        waiting.finish_sending();
        assert!(waiting.at_end() && !waiting.reset);
        gate.open();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 2, "the application was called for a request that had been refused");
    }
}

#[test]
fn a_request_that_waits_too_long_for_the_only_place_gets_503() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let setup = Setup::base().with(|settings| {
            settings.timeouts.queued = 1000 * MS;
            settings.runtime.poller = poller;
        });
        let server = setup.start(gated(&gate, &calls));
        let mut long = occupy(&server, &calls);
        let mut behind = server.connect();
        behind.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(behind.is_silent_for(150 * MS));
        let mut waiting = server.connect();
        waiting.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        gate.open();
        assert_eq!(long.response().text(), "hello");
        eventually("the next runs", || calls.load(SeqCst) == 2);
        assert!(waiting.is_silent_for(1200 * MS));
        gate.open();
        assert_eq!(behind.response().text(), "hello");
        let answer = waiting.response();
        assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
        assert!(answer.field("Retry-After").is_some());
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 2, "the application was called for a request that had been refused");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn where_one_request_runs_at_a_time_waiting_begins_with_the_last_byte() {
    let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let server = Setup::base().with(|settings| settings.timeouts.queued = 200 * MS).start(gated(&gate, &calls));
    let mut long = occupy(&server, &calls);
    let mut waiting = server.connect();
    waiting.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(waiting.is_silent_for(400 * MS));
    gate.open();
    assert_eq!(long.response().text(), "hello");
    assert_eq!(waiting.response().status, 503);
    assert_eq!(server.get("/").text(), "hello");
    assert_eq!(calls.load(SeqCst), 1, "the application was called for a request that had been refused");
}

#[cfg(target_os = "linux")]
#[test]
fn where_one_request_runs_at_a_time_those_of_clients_that_have_gone_do_not() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let server = Setup::base().with(|settings| settings.runtime.poller = poller).start(gated(&gate, &calls));
        let mut gone = [server.connect(), server.connect()];
        for client in &mut gone {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            // With an answer in it that nobody reads, closing the connection resets it.
            assert_eq!(client.stream.peek(&mut [0]).unwrap(), 1);
        }
        let [mut gone, mut early] = gone;
        let mut long = occupy(&server, &calls);
        early.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        drop(early);
        let [mut behind, mut half_closed] = [server.connect(), server.connect()];
        behind.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(behind.is_silent_for(150 * MS));
        gone.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.finish_sending();
        gate.open();
        assert_eq!(long.response().text(), "hello");
        eventually("the next runs", || calls.load(SeqCst) == 2);
        drop(gone);
        gate.open();
        gate.open();
        assert_eq!(behind.response().text(), "hello");
        assert_eq!(half_closed.response().text(), "hello");
        assert_eq!(server.get("/").text(), "hello");
        assert_eq!(calls.load(SeqCst), 3, "the application was called for a client that had gone");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_request_whose_client_has_gone_does_not_reach_the_application() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let (server, gate, calls) = one_thread(|settings| settings.runtime.poller = poller);
        let mut gone = server.connect();
        gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // With an answer in it that nobody reads, closing the connection resets it.
        assert_eq!(gone.stream.peek(&mut [0]).unwrap(), 1);
        let mut running = occupy(&server, &calls);
        let mut half_closed = server.connect();
        half_closed.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        half_closed.finish_sending();
        gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut last = server.connect();
        last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(last.is_silent_for(50 * MS));
        drop(gone);
        assert!(half_closed.is_silent_for(50 * MS));
        gate.open();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(half_closed.response().text(), "hello");
        assert_eq!(last.response().text(), "hello");
        assert_eq!(calls.load(SeqCst), 4, "the application was called for nobody");
    }
}

#[test]
fn what_waits_when_the_server_is_stopped_is_answered_or_refused() {
    let (server, gate, calls) = one_thread(|settings| settings.timeouts.shutdown = 300 * MS);
    let mut running = occupy(&server, &calls);
    let mut waiting = server.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(waiting.is_silent_for(30 * MS));
    server.handle.shutdown();
    assert_eq!(waiting.response().status, 503, "after the deadline for running requests");
    gate.open();
    running.rest();
}

#[test]
fn a_slow_drop_of_what_is_kept_with_a_connection_delays_no_other() {
    struct Slow(Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.pass();
        }
    }
    let gate = Gate::default();
    let app = {
        let gate = gate.clone();
        move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            if environ.path() == &b"/slow"[..] {
                environ.connection_extensions().insert(Slow(gate.clone()));
            }
            fixture(environ, start_response)
        }
    };
    let server = Setup::threaded().with(|settings| settings.runtime.loops = 1).start(app);
    let mut other = server.connect();
    assert_eq!(other.get("/").text(), "hello");
    assert_eq!(server.get("/slow").text(), "hello");
    for _ in 0..20 {
        assert_eq!(other.get("/").text(), "hello");
    }
    gate.open();
}
