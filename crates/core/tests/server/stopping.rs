//! Stopping: no arrived request is lost, no deadline overstayed.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::robust::{robust_app, stays_responsive};
use crate::support::*;
use amboss_core::{Concurrency, Environ, StartResponse};

#[test]
fn stopping_takes_no_time_when_clients_are_idle_or_have_not_begun() {
    everywhere(fixture, |server| {
        let mut kept = server.connect();
        kept.get("/");
        let idle = server.connect();
        stays_responsive(server, 1);
        server.handle.shutdown();
        let began = Instant::now();
        eventually("stopped", || server.is_finished());
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(kept.at_end());
        drop(idle);
    });
}

#[test]
fn running_requests_finish_and_the_server_stops_right_after_them() {
    for setup in [Setup::base, Setup::threaded] {
        for path in ["/slowstream", "/sleep/100", "/large"] {
            let entered = Arc::new(AtomicUsize::new(0));
            let count = entered.clone();
            let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                count.fetch_add(1, SeqCst);
                robust_app(environ, start_response)
            };
            let server = setup().start(app);
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            if path == "/sleep/100" {
                eventually("it runs", || entered.load(SeqCst) > 0);
            } else {
                // The answer has begun, and promises to keep the connection.
                client.stream.peek(&mut [0]).unwrap();
            }
            server.handle.shutdown();
            let answer = client.response();
            assert!(answer.status == 200 && answer.complete, "{path}");
            let took = server.stop();
            assert!(took < Duration::from_secs(2), "{path}: {took:?} after the last answer");
        }
    }
}

#[test]
fn stopping_keeps_its_deadline_whoever_is_connected() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        if environ.path() == &b"/input"[..] {
            std::io::copy(environ.input(), &mut std::io::sink())?;
        }
        robust_app(environ, start_response)
    };
    for request in [
        "GET /sleep/3000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHo",
        "POST /input HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
    ] {
        for clients in [1, 3] {
            let server = Setup::threaded().with(|settings| settings.timeouts.shutdown = 300 * MS).start(app);
            let mut connected: Vec<Client> = (0..clients).map(|_| server.connect()).collect();
            for client in &mut connected {
                client.send(request);
            }
            stays_responsive(&server, 2);
            let log = server.log.clone();
            let took = server.stop();
            assert!(took < Duration::from_millis(2000), "{took:?} with {clients} of {request:?}");
            if request.contains("/sleep") {
                let cut = if clients == 1 { "cut 1 connection whose" } else { "cut 3 connections whose" };
                assert!(log.errors().contains(cut), "{}", log.errors());
            }
        }
    }
}

/// Clients that keep asking, on kept connections and on new ones, while the server stops.
fn stop_under_load(concurrency: Concurrency) {
    let server = Setup::new(concurrency).start(robust_app);
    let answered = Arc::new(AtomicUsize::new(0));
    let addr = server.addr();
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let answered = answered.clone();
            // Not in the thread, which may come late, when nobody listens any more.
            let mut client = Client::connect(addr);
            thread::spawn(move || {
                let path = if number % 4 == 0 { "/sleep/3" } else { "/" };
                loop {
                    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                    // Either nothing at all, or a whole answer.
                    let mut first = [0];
                    match client.stream.peek(&mut first) {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                    let answer = client.response();
                    assert!(answer.status == 200 && answer.complete, "{answer:?}");
                    answered.fetch_add(1, SeqCst);
                    if answer.field("Connection") == Some("close") {
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("the load runs", || answered.load(SeqCst) > 200);
    let took = server.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn stopping_under_load_cuts_no_answer() {
    for _ in 0..5 {
        stop_under_load(Concurrency::Single);
        stop_under_load(Concurrency::Threads);
    }
}

#[test]
fn requests_that_have_arrived_when_the_server_stops_are_answered() {
    for setup in [Setup::base, Setup::threaded] {
        for _ in 0..5 {
            let entered = Gate::default();
            let leave = Gate::default();
            let app = {
                let (entered, leave) = (entered.clone(), leave.clone());
                move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                    if environ.path() == &b"/busy"[..] {
                        entered.open();
                        leave.pass();
                    }
                    fixture(environ, start_response)
                }
            };
            let server = setup().start(app);
            let mut kept: Vec<Client> = (0..10).map(|_| server.connect()).collect();
            for client in &mut kept {
                client.get("/");
            }
            let mut busy = server.connect();
            busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
            entered.pass();
            // Some of them have not even been accepted.
            kept.extend((0..10).map(|_| server.connect()));
            for client in &mut kept {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            server.handle.shutdown();
            leave.open();
            assert_eq!(busy.response().text(), "hello");
            for client in &mut kept {
                assert_eq!(client.response().text(), "hello");
            }
        }
    }
}

/// Whoever has sent a part of a request is told that nothing comes of it.
#[test]
fn what_has_arrived_in_part_when_the_time_is_over_gets_503() {
    for setup in [Setup::base(), Setup::threaded()] {
        let setup = setup.with(|settings| settings.timeouts.shutdown = 300 * MS);
        let server = setup.start(fixture);
        let begun = ["GET / HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"];
        let mut clients: Vec<Client> = begun
            .into_iter()
            .map(|part| {
                let mut client = server.connect();
                // It has been read by the time of the answer.
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.response().status, 200);
                client.send(part);
                client
            })
            .collect();
        std::thread::sleep(100 * MS);
        server.stop();
        for client in &mut clients {
            let answer = client.response();
            assert_eq!((answer.status, answer.field("Connection")), (503, Some("close")));
        }
    }
}

/// Its first request is on its way.
#[test]
fn who_has_just_connected_is_answered_once_when_the_server_stops() {
    everywhere(fixture, |server| {
        let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        server.handle.shutdown();
        let address = server.addr();
        eventually("nobody listens any more", || std::net::TcpStream::connect(address).is_err());
        for client in &mut clients {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
        }
        eventually("the end", || server.is_finished());
    });
}

/// Also when the one thread heard of the stop only after the call that was running.
#[test]
fn the_time_that_running_requests_have_begins_when_the_stop_is_asked_for() {
    let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let server = Setup::base().with(|settings| settings.timeouts.shutdown = 1000 * MS).start(gated(&gate, &calls));
    let mut half = server.connect();
    half.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbo");
    let mut running = server.connect();
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it runs", || calls.load(SeqCst) == 1);
    server.handle.shutdown();
    assert!(half.is_silent_for(1500 * MS));
    gate.open();
    let since = Instant::now();
    assert_eq!(running.response().text(), "hello");
    assert_eq!(half.response().status, 503);
    eventually("the end", || server.is_finished());
    assert!(since.elapsed() < 900 * MS, "{:?}", since.elapsed());
}

/// A process that leaves new connections to others, since its one thread is busy, lets them in when it stops.
#[test]
fn who_waits_to_be_accepted_by_a_busy_process_is_answered_when_it_stops() {
    for _ in 0..5 {
        let (gate, calls) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let setup =
            Setup::threaded().with(|settings| (settings.runtime.threads, settings.runtime.multiprocess) = (1, true));
        let server = setup.start(gated(&gate, &calls));
        // Busy on a connection that it has answered before.
        let mut running = server.connect();
        assert_eq!(running.get("/").text(), "hello");
        running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("it runs", || calls.load(SeqCst) == 1);
        assert!(running.is_silent_for(50 * MS));
        let mut waiting = server.connect();
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        server.handle.shutdown();
        assert!(waiting.is_silent_for(20 * MS), "reset");
        gate.open();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(waiting.response().text(), "hello");
    }
}
