//! Clients that flood the server, reset or half-close their connections, or send more than they should.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;

use crate::support::*;

// Floods

#[test]
fn fast_readers_of_endless_responses_do_not_starve_others() {
    for_each_server(stress_app, |server| {
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
        server.assert_responsive(10);
        stop.store(true, SeqCst);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_flood_of_requests_or_garbage_does_not_starve_others() {
    for_each_server(test_app, |server| {
        for flood in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "garbage\r\n",
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
            server.assert_responsive(10);
            stop.store(true, SeqCst);
            sending.join().unwrap();
            receiving.join().unwrap();
        }
    });
}

// Resets and half-closed connections

#[test]
fn a_reset_at_any_stage_affects_no_other_client() {
    for_each_server(stress_app, |server| {
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
            ("garbage\r\n\r\n", 0),
            ("garbage\r\n\r\n", 20),
        ] {
            for _ in 0..3 {
                let mut client = server.connect();
                client.send(sent);
                if read > 0 {
                    let mut piece = vec![0; read];
                    client.stream.read_exact(&mut piece).unwrap();
                    // Closing a socket with unread input resets the connection.
                    client.is_silent_for(5 * MS);
                }
            }
            assert_eq!(server.get("/").text(), "hello", "after {sent:?}");
        }
        assert!(!server.log.errors().contains("panic"), "{}", server.log.errors());
    });
}

#[test]
fn a_half_closed_connection_gets_its_response() {
    for_each_server(stress_app, |server| {
        for path in ["/", "/sleep/20", "/slowstream", "/large"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.finish_sending();
            let response = client.response();
            assert!(response.status == 200 && response.complete, "{path}");
        }
    });
}

/// Some clients send a line end behind the body, which is not a request. RFC 9112 §9.6: the server must not reset the
/// connection then.
#[test]
fn surplus_bytes_behind_the_last_body_cause_no_reset() {
    for_each_server(test_app, |server| {
        for _ in 0..20 {
            let mut client = server.connect();
            client.send("POST /echo HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody");
            client.until("\r\n\r\nbody");
            client.send("\r\n");
            client.send("\r\n");
            assert!(client.at_end() && !client.was_reset());
            client.finish_sending();
        }
    });
}

/// The same without a body. A reset would lose the part of the response that is still on its way.
#[test]
fn surplus_bytes_behind_the_last_request_do_not_truncate_its_response() {
    for_each_server(stress_app, |server| {
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
                assert!(!client.was_reset(), "{path} {head}");
                assert!(path == "/" || rest.len() >= 20_000_000, "{head}: only {} bytes", rest.len());
            }
        }
    });
}

/// FIN and response in one segment: bytes that the client sends afterwards cannot turn the end into a reset, and the
/// client wakes up once.
#[cfg(target_os = "linux")]
#[test]
fn the_fin_arrives_with_the_last_response() {
    for_each_server(test_app, |server| {
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

/// A client that asks for the close and then keeps its side open must not delay the server.
#[test]
fn a_client_that_never_closes_does_not_delay_a_stop() {
    for setup in [Setup::single(), Setup::threaded()] {
        // Longer than the test may take, so that a wait for the client fails it.
        let server = setup.with(|settings| settings.timeouts.linger = 2 * DEADLINE).start(test_app);
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
