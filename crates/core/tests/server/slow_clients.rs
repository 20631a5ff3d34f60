//! Clients that send or read slowly, or not at all: they are disconnected in time and delay no other client.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{Environ, Settings, StartResponse};

// Slow heads and readers

#[test]
fn a_partial_head_gets_408_after_its_timeout() {
    for_each_server_with(
        |settings| settings.timeouts.head = 100 * MS,
        test_app,
        |server| {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHo");
            let response = client.response();
            assert_eq!((response.status, response.field("Connection")), (408, Some("close")));
            client.finish_sending();
            assert!(client.at_end());
            // Single bytes do not extend the timeout.
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
fn a_small_body_that_arrives_slowly_occupies_no_thread() {
    for setup in [Setup::single(), Setup::threaded().with(|settings| settings.runtime.threads = 1)] {
        let server = setup.start(stress_app);
        let mut slow: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for client in &mut slow {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
        }
        server.assert_responsive(10);
        for client in &mut slow {
            client.send_bytewise(b"cd");
        }
        server.assert_responsive(10);
        for client in &mut slow {
            client.send("efGET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.response().text(), "abcdef");
            assert_eq!(client.response().text(), "hello", "the next request begins right behind the body");
        }
    }
}

#[test]
fn a_stalled_body_gets_408_and_a_truncated_one_400() {
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab";
    for_each_server_with(
        |settings| settings.timeouts.stalled = 150 * MS,
        stress_app,
        |server| {
            let mut stalled = server.connect();
            stalled.send(request);
            let response = stalled.response();
            assert_eq!((response.status, response.field("Connection")), (408, Some("close")));
            server.log.wait_for("the body of a request came too slowly");
        },
    );
    for_each_server(stress_app, |server| {
        let mut ended = server.connect();
        ended.send(request);
        ended.finish_sending();
        assert_eq!(ended.response().status, 400);
        assert!(!server.log.errors().contains("error on"), "the application was called");
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_response() {
    for_each_server_with(
        |settings| settings.timeouts.idle = 500 * MS,
        test_app,
        |server| {
            assert!(server.connect().at_end(), "before the first request");
            let mut client = server.connect();
            client.get("/");
            assert!(client.at_end(), "between requests");
            assert!(!client.was_reset());
            assert_eq!(server.log.errors(), "");
        },
    );
}

#[test]
fn input_that_arrived_while_the_loop_was_busy_is_not_late() {
    // With a single thread, or one that never passes on the event loop, other connections are not read while the
    // application runs.
    let keeps_the_loop = |settings: &mut Settings| {
        settings.runtime.loops = 1;
        settings.runtime.may_hand_over = Some(Arc::new(|_| false));
    };
    for setup in [Setup::single(), Setup::threaded().with(keeps_the_loop)] {
        let entered = Arc::new(AtomicBool::new(false));
        let seen = entered.clone();
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            seen.fetch_or(environ.path().starts_with(b"/sleep"), SeqCst);
            stress_app(environ, start_response)
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
        wait_until("the request runs", || entered.load(SeqCst));
        for (client, _, rest) in &mut others {
            client.send(*rest);
        }
        assert_eq!(busy.response().text(), "hello");
        // The idle timeout of the connections that waited starts anew.
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
fn a_client_that_stops_reading_is_disconnected_after_its_timeout() {
    for_each_server_with(
        |settings| settings.timeouts.stalled = 200 * MS,
        stress_app,
        |server| {
            for path in ["/large", "/endless"] {
                let errors = server.log.errors.lock().unwrap().len();
                let mut client = server.connect();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                client.exactly(100);
                server.assert_responsive(3);
                let logged = || server.log.access.lock().unwrap().iter().any(|(line, ..)| line.contains(path));
                wait_until("the client is disconnected", || {
                    logged() || server.log.errors.lock().unwrap().len() > errors
                });
            }
        },
    );
}

#[test]
fn a_body_below_the_minimum_rate_gets_408() {
    let change = |settings: &mut Settings| {
        settings.timeouts.grace = 200 * MS;
        settings.timeouts.minimum_rate = 1000;
    };
    for_each_server_with(change, test_app, |server| {
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
fn two_hundred_partial_heads_do_not_delay_others() {
    let _guard = lock_many_connections();
    for_each_server(test_app, |server| {
        let mut half: Vec<Client> = (0..200).map(|_| server.connect()).collect();
        for client in &mut half {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le");
        }
        server.assert_responsive(20);
        for client in &mut half {
            client.send("ngth: 4\r\n\r\nbody");
        }
        for client in &mut half {
            assert_eq!(client.response().text(), "body");
        }
    });
}

// Slow bodies

/// Sends a byte of each body, pauses, and repeats that until `over`.
fn drip(clients: &mut [Client], chunked: bool, pause: Duration, over: &AtomicBool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !over.load(SeqCst) && Instant::now() < until {
        for client in &mut *clients {
            client.send(if chunked { "1\r\nx\r\n" } else { "x" });
        }
        thread::sleep(pause);
    }
}

/// Sends heads of requests with bodies: half of the clients announce a length, half send chunks.
fn begin_drip(server: &TestServer, path: &str, count: usize) -> (Vec<Client>, Vec<Client>) {
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
fn clients_that_drip_their_bodies_occupy_no_thread() {
    let _guard = lock_many_connections();
    for setup in [Setup::single(), Setup::threaded().with(|settings| settings.runtime.threads = 2)] {
        let server = setup.start(test_app);
        let (mut lengths, mut chunks) = begin_drip(&server, "/echo", 200);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| drip(&mut lengths, false, 20 * MS, &over));
            scope.spawn(|| drip(&mut chunks, true, 20 * MS, &over));
            server.assert_responsive(50);
            over.store(true, SeqCst);
        });
    }
}

#[test]
fn streamed_bodies_occupy_no_thread_while_they_wait_for_input() {
    let change = |settings: &mut Settings| {
        stream_bodies(settings);
        settings.runtime.threads = 2;
    };
    // With many clients some thread always wants to continue: requests that have waited longer go first.
    for (loops, count, pause) in [(1, 10, 20 * MS), (2, 10, 20 * MS), (1, 40, 5 * MS), (2, 40, 5 * MS)] {
        let server = Setup::threaded().with(change).with(|settings| settings.runtime.loops = loops).start(test_app);
        let (mut lengths, mut chunks) = begin_drip(&server, "/echo", count);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| drip(&mut lengths, false, pause, &over));
            scope.spawn(|| drip(&mut chunks, true, pause, &over));
            server.assert_responsive(50);
            over.store(true, SeqCst);
        });
        for client in &mut chunks {
            client.send("0\r\n\r\n");
            let response = client.response();
            assert_eq!(response.status, 200);
            assert!(!response.body.is_empty() && response.body.iter().all(|&byte| byte == b'x'));
        }
    }
}

/// A burst of such requests begins faster than threads can be started that run the event loop while others wait.
#[test]
fn a_burst_of_stalled_streamed_bodies_occupies_no_thread() {
    let _guard = lock_many_connections();
    for (loops, threads) in [(1, 2), (2, 2), (2, 4)] {
        let setup = Setup::threaded().with(stream_bodies).with(|settings| {
            settings.runtime.loops = loops;
            settings.runtime.threads = threads;
        });
        let server = setup.start(test_app);
        let mut clients = begin_drip(&server, "/echo", 200);
        clients.0.iter_mut().for_each(|client| client.send("x"));
        clients.1.iter_mut().for_each(|client| client.send("1\r\nx\r\n"));
        server.assert_responsive(10);
    }
}
