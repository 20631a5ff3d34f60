//! Large bodies in both directions, slow readers, pipelining, upgrades, and how connections end.

use std::io::{Read, Write};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use crate::support::*;
use amboss_core::{AppError, Body, BodyMode, Environ, StartResponse};

/// The size of a response that does not fit into the buffers of two sockets.
const LARGE: usize = 24_000_000;

fn for_each_server_and_version(mut test: impl FnMut(&TestServer, rustls::ClientConfig)) {
    for version in BOTH {
        for setup in [Setup::single_threaded(), Setup::threaded()] {
            let server = setup.start(&context());
            test(&server, config(&[version]));
            assert_eq!(server.log.errors(), "");
        }
    }
}

#[test]
fn large_responses_reach_slow_readers_without_delaying_others() {
    let expected = pattern(LARGE);
    for_each_server_and_version(|server, config| {
        for path in ["large", "blocks", "file"] {
            let mut slow = connect_tls(server.addr, config.clone());
            slow.send(format!("GET /{path}/{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
            slow.until("\r\n\r\n");
            // The rest of the response waits for the reader. Other clients are served in the meantime, even by the
            // server with a single thread.
            assert_eq!(server.client().get("/").text(), "hello");
            // Reads in small pieces first, in large ones later.
            let mut body = Vec::new();
            while body.len() < 20_000 {
                body.extend(slow.exactly(37));
            }
            assert_eq!(server.client().get("/").text(), "hello");
            body.extend(slow.exactly(LARGE - body.len()));
            assert!(body == expected, "{path}");
            assert_eq!(slow.get("/").text(), "hello", "{path}: the connection can be used again");
        }
    });
}

#[test]
fn a_client_that_stops_reading_is_disconnected_without_close_notify() {
    let setup = Setup::single_threaded().with(|settings| settings.timeouts.stalled = Duration::from_millis(300));
    let server = setup.start(&context());
    let mut client = server.client();
    client.send(format!("GET /large/{LARGE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.until("\r\n\r\n");
    server.log.wait_for("the client reads the response too slowly");
    let (rest, end) = rest_and_end(&mut client);
    assert!(rest.len() < LARGE && end != End::Orderly, "{} bytes, {end:?}", rest.len());
}

#[test]
fn bodies_of_all_sizes_are_echoed() {
    for_each_server_and_version(|server, config| {
        let mut client = connect_tls(server.addr, config);
        for size in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000, 5_000_000] {
            let body = pattern(size);
            client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
            client.send(&body);
            assert!(client.response().body == body, "{size}");
        }
    });
}

#[test]
fn a_body_in_records_of_one_byte_is_read() {
    for_each_server_and_version(|server, config| {
        let mut client = connect_tls(server.addr, config);
        let body = pattern(3000);
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n");
        for byte in &body {
            client.send([*byte]);
        }
        assert!(client.response().body == body);
    });
}

#[test]
fn pipelined_requests_are_served_in_order() {
    for_each_server_and_version(|server, config| {
        let mut client = connect_tls(server.addr, config);
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
        // A thread writes, because the server stops reading while the client does not read its responses.
        let mut encrypted = Vec::new();
        while client.stream.conn.wants_write() {
            client.stream.conn.write_tls(&mut encrypted).unwrap();
        }
        let writer = std::thread::spawn(move || reading.write_all(&encrypted).unwrap());
        for number in 0..300 {
            assert!(client.response().body == pattern(number * 13), "{number}");
            assert!(client.response().body == pattern(5000), "{number}");
        }
        writer.join().unwrap();
    });
}

#[test]
fn connections_close_cleanly_unless_a_response_is_cut_short() {
    for version in BOTH {
        let setup = Setup::threaded().with(|settings| settings.timeouts.idle = Duration::from_secs(1));
        let server = setup.start(&context());
        let client = || connect_tls(server.addr, config(&[version]));

        let mut closing = client();
        closing.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(closing.response().text(), "hello");
        assert_eq!(rest_and_end(&mut closing), (Vec::new(), End::Orderly), "after the last response");

        let mut idle = client();
        assert_eq!(idle.get("/").text(), "hello");
        assert_eq!(rest_and_end(&mut idle), (Vec::new(), End::Orderly), "after the idle timeout");

        // The body of a response to HTTP/1.0 ends with the connection: only close_notify says that it is complete.
        let mut old = client();
        old.send("GET /cut HTTP/1.0\r\n\r\n");
        old.until("\r\n\r\n");
        assert_ne!(rest_and_end(&mut old).1, End::Orderly, "the application failed in the middle of its response");

        let mut half_closed = client();
        half_closed.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        send_close_notify(&mut half_closed);
        assert_eq!((half_closed.response().text(), half_closed.response().text()), ("hello".into(), "hello".into()));
        assert_eq!(
            rest_and_end(&mut half_closed),
            (Vec::new(), End::Orderly),
            "requests before close_notify are served"
        );

        let mut abrupt = client();
        abrupt.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        abrupt.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(abrupt.response().text(), "hello", "requests before an abrupt end are served");
    }
}

#[test]
fn a_truncated_request_body_is_an_error() {
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
        for with_close_notify in [true, false] {
            let end = |server: &TestServer| {
                let mut client = server.client();
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}"));
                if with_close_notify {
                    send_close_notify(&mut client);
                } else {
                    client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
                }
                client
            };
            let _streamed = end(&server);
            assert!(!results.recv_timeout(DEADLINE).unwrap(), "{head}, close_notify: {with_close_notify}");
            // In the collecting mode, a truncated body does not reach the application; the client gets a response.
            let mut collected = end(&collecting);
            assert!(
                collected.until("\r\n\r\n").starts_with(b"HTTP/1.1 400 "),
                "{head}, close_notify: {with_close_notify}"
            );
            assert!(results.try_recv().is_err(), "{head}, close_notify: {with_close_notify}");
        }
    }
}

#[test]
fn upgraded_connections_stay_encrypted() {
    for_each_server_and_version(|server, config| {
        let mut client = connect_tls(server.addr, config);
        let ahead = pattern(5000);
        let head = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        client.send([&head[..], &ahead].concat());
        assert!(client.until("\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
        assert!(client.exactly(ahead.len()) == ahead);
        for size in [1, 100, 20_000, 300_000] {
            let sent = pattern(size);
            client.send(&sent);
            assert!(client.exactly(size) == sent, "{size}");
        }
        send_close_notify(&mut client);
        assert_eq!(rest_and_end(&mut client), (Vec::new(), End::Orderly));
    });
}

#[test]
fn shutdown_waits_for_responses_but_not_for_other_connections() {
    for version in BOTH {
        let (release, gate) = mpsc::channel::<()>();
        let (started, request_started) = mpsc::channel();
        let gate = std::sync::Mutex::new(gate);
        let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
            if environ.path() == &b"/wait"[..] {
                started.send(()).unwrap();
                gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            start_response.start("200 OK", &[])?;
            Ok(Body::from(pattern(1_000_000)))
        };
        let server = Setup::threaded().start_app(&context(), app);
        let _silent = server.connect();
        let mut half = server.connect();
        half.send(b"\x16\x03");
        let mut idle = connect_tls(server.addr, config(&[version]));
        assert_eq!(idle.get("/").body.len(), 1_000_000);
        let mut busy = connect_tls(server.addr, config(&[version]));
        busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        request_started.recv_timeout(DEADLINE).unwrap();
        drop(half);
        server.handle.shutdown();
        assert_eq!(rest_and_end(&mut idle), (Vec::new(), End::Orderly));
        release.send(()).unwrap();
        assert!(busy.response().body == pattern(1_000_000));
        assert_eq!(rest_and_end(&mut busy), (Vec::new(), End::Orderly));
        server.stop();
    }
}
