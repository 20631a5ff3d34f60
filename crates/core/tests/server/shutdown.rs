//! Stopping: no request that has arrived is lost, and the deadline is met.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{Concurrency, Environ, StartResponse};

#[test]
fn a_server_stops_at_once_when_all_clients_are_idle() {
    for_each_server(test_app, |server| {
        let mut kept = server.connect();
        kept.get("/");
        let idle = server.connect();
        server.assert_responsive(1);
        server.handle.shutdown();
        let began = Instant::now();
        wait_until("the server has stopped", || server.is_finished());
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(kept.at_end());
        drop(idle);
    });
}

#[test]
fn running_requests_finish_and_the_server_stops_right_after_them() {
    for setup in [Setup::single, Setup::threaded] {
        for path in ["/slowstream", "/sleep/100", "/large"] {
            let entered = Arc::new(AtomicUsize::new(0));
            let count = entered.clone();
            let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                count.fetch_add(1, SeqCst);
                stress_app(environ, start_response)
            };
            let server = setup().start(app);
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            if path == "/sleep/100" {
                wait_until("the request runs", || entered.load(SeqCst) > 0);
            } else {
                // The response has begun, and its head says that the connection is kept.
                client.stream.peek(&mut [0]).unwrap();
            }
            server.handle.shutdown();
            let response = client.response();
            assert!(response.status == 200 && response.complete, "{path}");
            let took = server.stop();
            assert!(took < Duration::from_secs(2), "{path}: {took:?} after the last response");
        }
    }
}

#[test]
fn stopping_meets_its_deadline_with_every_kind_of_client() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        if environ.path() == &b"/input"[..] {
            std::io::copy(environ.input(), &mut std::io::sink())?;
        }
        stress_app(environ, start_response)
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
            server.assert_responsive(2);
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

/// Stops a server while clients send requests without a pause, on kept connections.
fn stop_under_load(concurrency: Concurrency) {
    let server = Setup::new(concurrency).start(stress_app);
    let answered = Arc::new(AtomicUsize::new(0));
    let addr = server.addr();
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let answered = answered.clone();
            // Connect before the thread starts: it may start after the server has stopped listening.
            let mut client = Client::connect(addr);
            thread::spawn(move || {
                let path = if number % 4 == 0 { "/sleep/3" } else { "/" };
                loop {
                    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                    // Either the connection ends without a byte, or the response is whole.
                    let mut first = [0];
                    match client.stream.peek(&mut first) {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                    let response = client.response();
                    assert!(response.status == 200 && response.complete, "{response:?}");
                    answered.fetch_add(1, SeqCst);
                    if response.field("Connection") == Some("close") {
                        return;
                    }
                }
            })
        })
        .collect();
    wait_until("the load runs", || answered.load(SeqCst) > 200);
    let took = server.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn stopping_under_load_cuts_no_response() {
    for _ in 0..5 {
        stop_under_load(Concurrency::Single);
        stop_under_load(Concurrency::Threads);
    }
}

#[test]
fn requests_that_have_arrived_when_the_server_stops_are_answered() {
    for setup in [Setup::single, Setup::threaded] {
        for _ in 0..5 {
            let entered = Semaphore::default();
            let leave = Semaphore::default();
            let app = {
                let (entered, leave) = (entered.clone(), leave.clone());
                move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
                    if environ.path() == &b"/busy"[..] {
                        entered.release();
                        leave.acquire();
                    }
                    test_app(environ, start_response)
                }
            };
            let server = setup().start(app);
            let mut kept: Vec<Client> = (0..10).map(|_| server.connect()).collect();
            for client in &mut kept {
                client.get("/");
            }
            let mut busy = server.connect();
            busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
            entered.acquire();
            // Some of these have not even been accepted.
            kept.extend((0..10).map(|_| server.connect()));
            for client in &mut kept {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            server.handle.shutdown();
            leave.release();
            assert_eq!(busy.response().text(), "hello");
            for client in &mut kept {
                assert_eq!(client.response().text(), "hello");
            }
        }
    }
}

/// A client that has sent a part of a request learns that it is not answered.
#[test]
fn a_partial_request_gets_503_at_the_shutdown_deadline() {
    for setup in [Setup::single(), Setup::threaded()] {
        let setup = setup.with(|settings| settings.timeouts.shutdown = 300 * MS);
        let server = setup.start(test_app);
        let begun = ["GET / HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"];
        let mut clients: Vec<Client> = begun
            .into_iter()
            .map(|part| {
                let mut client = server.connect();
                // The response shows that the server has accepted the connection.
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.response().status, 200);
                client.send(part);
                client
            })
            .collect();
        std::thread::sleep(100 * MS);
        server.stop();
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
        }
    }
}

/// The first request of a new connection may be on its way.
#[test]
fn a_new_connection_gets_one_response_when_the_server_stops() {
    for_each_server(test_app, |server| {
        let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        server.handle.shutdown();
        let address = server.addr();
        wait_until("connections are refused", || std::net::TcpStream::connect(address).is_err());
        for client in &mut clients {
            let response = client.get("/");
            assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
        }
        wait_until("the server has stopped", || server.is_finished());
    });
}

/// The deadline counts from the call of `shutdown`, even if the only thread notices the stop after a long application
/// call.
#[test]
fn the_shutdown_deadline_counts_from_the_call_of_shutdown() {
    let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let server =
        Setup::single().with(|settings| settings.timeouts.shutdown = 1000 * MS).start(blocking_app(&gate, &calls));
    let mut half = server.connect();
    half.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbo");
    let mut running = server.connect();
    running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || calls.load(SeqCst) == 1);
    server.handle.shutdown();
    assert!(half.is_silent_for(1500 * MS));
    gate.release();
    let since = Instant::now();
    assert_eq!(running.response().text(), "hello");
    assert_eq!(half.response().status, 503);
    wait_until("the server has stopped", || server.is_finished());
    assert!(since.elapsed() < 900 * MS, "{:?}", since.elapsed());
}

/// A process whose only thread is busy leaves new connections to other processes. When it stops, it accepts the
/// connections that are still waiting.
#[test]
fn a_busy_process_accepts_and_answers_waiting_connections_when_it_stops() {
    for _ in 0..5 {
        let (gate, calls) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
        let setup =
            Setup::threaded().with(|settings| (settings.runtime.threads, settings.runtime.multiprocess) = (1, true));
        let server = setup.start(blocking_app(&gate, &calls));
        // Busy with the second request of a connection.
        let mut running = server.connect();
        assert_eq!(running.get("/").text(), "hello");
        running.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the request runs", || calls.load(SeqCst) == 1);
        assert!(running.is_silent_for(50 * MS));
        let mut waiting = server.connect();
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        server.handle.shutdown();
        assert!(waiting.is_silent_for(20 * MS), "the connection was closed");
        gate.release();
        assert_eq!(running.response().text(), "hello");
        assert_eq!(waiting.response().text(), "hello");
    }
}
