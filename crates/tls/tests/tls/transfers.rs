//! Large bodies in both directions, slow readers, pipelining, upgrades, and how connections end.

use std::io::{Read, Write};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AppError, Body, BodyMode, Environ, StartResponse};

/// More than the buffers of two sockets hold.
const LARGE: usize = 24_000_000;

fn each(mut test: impl FnMut(&Running, rustls::ClientConfig)) {
    for version in BOTH {
        for setup in [Setup::base(), Setup::threaded()] {
            let server = setup.start(&context());
            test(&server, config(&[version]));
            assert_eq!(server.log.errors(), "");
        }
    }
}

#[test]
fn large_answers_arrive_through_slow_readers_who_delay_nobody() {
    let expected = pattern(LARGE);
    each(|server, config| {
        for path in ["large", "blocks", "file"] {
            let mut slow = Client::new(server.connect(), config.clone());
            slow.send(format!("GET /{path}/{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
            slow.head();
            // The rest waits for the reader; others are served, a server of one thread included.
            assert_eq!(server.client().get("/").text(), "hello");
            // Sips first, gulps later.
            let mut body = Vec::new();
            while body.len() < 20_000 {
                body.extend(slow.exactly(37));
            }
            assert_eq!(server.client().get("/").text(), "hello");
            body.extend(slow.exactly(LARGE - body.len()));
            assert!(body == expected, "{path}");
            assert_eq!(slow.get("/").text(), "hello", "{path}: and the connection is as good as new");
        }
    });
}

#[test]
fn a_reader_that_stops_is_cut_off_and_can_tell() {
    let setup = Setup::base().with(|settings| settings.timeouts.stalled = Duration::from_millis(300));
    let server = setup.start(&context());
    let mut client = server.client();
    client.send(format!("GET /large/{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.head();
    server.log.wait_for("the client reads the response too slowly");
    let (rest, end) = client.rest();
    assert!(rest.len() < LARGE && end == End::Cut, "{} bytes, {end:?}", rest.len());
}

#[test]
fn bodies_of_all_sizes_come_back() {
    each(|server, config| {
        let mut client = Client::new(server.connect(), config);
        for size in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000, 5_000_000] {
            let body = pattern(size);
            client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
            client.send(&body);
            assert!(client.response().body == body, "{size}");
        }
    });
}

#[test]
fn a_body_in_records_of_a_byte_each_is_read() {
    each(|server, config| {
        let mut client = Client::new(server.connect(), config);
        let body = pattern(3000);
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n");
        for byte in &body {
            client.send([*byte]);
        }
        assert!(client.response().body == body);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    each(|server, config| {
        let mut client = Client::new(server.connect(), config);
        let mut requests = Vec::new();
        for number in 0..300 {
            let body = pattern(number * 13);
            requests
                .extend(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
            requests.extend(body);
            requests.extend(b"GET /large/5000 HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut reading = client.stream.sock.try_clone().unwrap();
        client.stream.conn.set_buffer_limit(None);
        client.stream.conn.writer().write_all(&requests).unwrap();
        // Written by another thread, as the server stops reading while nobody takes its answers.
        let mut sealed = Vec::new();
        while client.stream.conn.wants_write() {
            client.stream.conn.write_tls(&mut sealed).unwrap();
        }
        let writer = std::thread::spawn(move || reading.write_all(&sealed).unwrap());
        for number in 0..300 {
            assert!(client.response().body == pattern(number * 13), "{number}");
            assert!(client.response().body == pattern(5000), "{number}");
        }
        writer.join().unwrap();
    });
}

#[test]
fn connections_end_as_they_were_meant_to() {
    for version in BOTH {
        let setup = Setup::threaded().with(|settings| settings.timeouts.idle = Duration::from_secs(1));
        let server = setup.start(&context());
        let client = || Client::new(server.connect(), config(&[version]));

        let mut asked = client();
        asked.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(asked.response().text(), "hello");
        assert_eq!(asked.rest(), (Vec::new(), End::Clean), "the last answer");

        let mut idle = client();
        assert_eq!(idle.get("/").text(), "hello");
        assert_eq!(idle.rest(), (Vec::new(), End::Clean), "no further request in time");

        // The body of an answer to HTTP/1.0 lasts until the connection ends: only its end tells whether all has come.
        let mut old = client();
        old.send("GET /cut HTTP/1.0\r\n\r\n");
        old.head();
        assert_eq!(old.rest().1, End::Cut, "the application failed in the middle");

        let mut polite = client();
        polite.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        polite.say_goodbye();
        assert_eq!((polite.response().text(), polite.response().text()), ("hello".into(), "hello".into()));
        assert_eq!(polite.rest(), (Vec::new(), End::Clean), "the client will ask no more, and is answered");

        let mut rude = client();
        rude.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        rude.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rude.response().text(), "hello", "what was asked before is answered");
    }
}

#[test]
fn a_body_that_is_cut_short_is_no_body() {
    let (sender, results) = mpsc::channel();
    let app =
        Arc::new(move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            let result = environ.input().read_to_end(&mut Vec::new());
            sender.send(result.is_ok()).unwrap();
            start_response.start("200 OK", &[])?;
            Ok(Body::empty())
        });
    let streams = Setup::threaded().with(|settings| settings.body_mode = BodyMode::Stream);
    let server = streams.start_app(&context(), app.clone());
    let collecting = Setup::threaded().start_app(&context(), app);
    for (head, body) in [
        ("Content-Length: 100", "ten bytes."),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n3\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
    ] {
        for polite in [true, false] {
            let end = |server: &Running| {
                let mut client = server.client();
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}"));
                if polite {
                    client.say_goodbye();
                } else {
                    client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
                }
                client
            };
            let _streamed = end(&server);
            assert!(!results.recv_timeout(DEADLINE).unwrap(), "{head}, with goodbye: {polite}");
            // A body that is collected does not reach the application; its client may still take an answer.
            let mut collected = end(&collecting);
            assert!(collected.head().starts_with("HTTP/1.1 400 "), "{head}, with goodbye: {polite}");
            assert!(results.try_recv().is_err(), "{head}, with goodbye: {polite}");
        }
    }
}

#[test]
fn upgraded_connections_stay_encrypted() {
    each(|server, config| {
        let mut client = Client::new(server.connect(), config);
        let ahead = pattern(5000);
        let head = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        client.send([&head[..], &ahead].concat());
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        assert!(client.exactly(ahead.len()) == ahead);
        for size in [1, 100, 20_000, 300_000] {
            let sent = pattern(size);
            client.send(&sent);
            assert!(client.exactly(size) == sent, "{size}");
        }
        client.say_goodbye();
        assert_eq!(client.rest(), (Vec::new(), End::Clean));
    });
}

#[test]
fn stopping_waits_for_answers_and_for_nobody_else() {
    for version in BOTH {
        let (go, gate) = mpsc::channel::<()>();
        let (begun, running) = mpsc::channel();
        let gate = std::sync::Mutex::new(gate);
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            if environ.path() == &b"/wait"[..] {
                begun.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            start_response.start("200 OK", &[])?;
            Ok(Body::from(pattern(1_000_000)))
        };
        let server = Setup::threaded().start_app(&context(), app);
        let _silent = server.connect();
        let mut half = server.connect();
        half.write_all(b"\x16\x03").unwrap();
        let mut idle = Client::new(server.connect(), config(&[version]));
        assert_eq!(idle.get("/").body.len(), 1_000_000);
        let mut busy = Client::new(server.connect(), config(&[version]));
        busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        running.recv_timeout(DEADLINE).unwrap();
        drop(half);
        server.handle.shutdown();
        assert_eq!(idle.rest(), (Vec::new(), End::Clean));
        go.send(()).unwrap();
        assert!(busy.response().body == pattern(1_000_000));
        assert_eq!(busy.rest(), (Vec::new(), End::Clean));
        server.stop();
    }
}
