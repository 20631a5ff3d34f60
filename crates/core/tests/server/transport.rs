//! Servers with a layer between sockets and HTTP: a toy layer stands for TLS.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use amboss_core::{on_upgrade, Body, Environ, PlainHttpPolicy, StartResponse};

fn start_masked(setup: Setup, misplaced: Option<PlainHttpPolicy>) -> TestServer {
    setup.with(|settings| settings.transport = Some(Arc::new(MaskingLayer { misplaced }))).start(test_app)
}

#[test]
fn a_layer_carries_requests_and_adds_to_the_environ() {
    for setup in [Setup::single(), Setup::threaded()] {
        let server = start_masked(setup, None);
        let mut client = connect_masked(server.addr());
        let environ = client.get("/environ").text();
        assert!(environ.contains("wsgi.url_scheme=https\n"), "{environ}");
        assert!(environ.contains("SSL_PROTOCOL=MASK\n"), "{environ}");
        let large = vec![b'x'; 300_000];
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len()));
        client.send(&large);
        assert_eq!(client.response().body, large);
        assert_eq!(client.get("/").text(), "hello");
    }
}

#[test]
fn bytes_buffered_in_the_layer_are_served_when_the_socket_is_silent() {
    for setup in [Setup::single(), Setup::threaded()] {
        let server = start_masked(setup, None);
        let mut client = connect_masked(server.addr());
        // Bodies that end in the middle of what the layer has buffered, some read by the application and some not.
        let one = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 150\r\n\r\n".to_owned() + &"b".repeat(150);
        let two = one.replace("/echo", "/");
        client.send([one.as_str(), &two, &one, &two, &one].concat());
        for index in 0..5 {
            assert_eq!(client.response().body.len(), if index % 2 == 0 { 150 } else { 5 }, "response {index}");
        }
    }
}

#[test]
fn silent_clients_and_partial_handshakes_are_disconnected() {
    let server = start_masked(
        Setup::threaded().with(|settings| {
            settings.timeouts.idle = Duration::from_millis(800);
            settings.timeouts.handshake = Duration::from_millis(300);
        }),
        None,
    );
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send(&HANDSHAKE[..2]);
    assert_eq!(connect_masked(server.addr()).get("/").text(), "hello");
    assert!(silent.at_end());
    assert!(half.at_end());
    server.log.wait_for("the TLS handshake was not completed in time");
}

#[test]
fn a_failed_handshake_is_logged_once_and_a_silent_client_does_not_delay_a_stop() {
    let server = start_masked(Setup::threaded(), None);
    let mut invalid = server.connect();
    invalid.send("let me in");
    assert!(invalid.at_end());
    server.log.wait_for("not a handshake");
    assert_eq!(server.log.errors().lines().count(), 1, "{}", server.log.errors());
    let _silent = server.connect();
    assert!(server.stop() < Duration::from_secs(5));
}

#[test]
fn a_connected_client_is_served_by_a_server_that_hands_over() {
    let server = start_masked(Setup::threaded(), None);
    let address = server.addr();
    let mut late = server.connect();
    // A response to a later connection shows that the earlier one has been accepted.
    assert_eq!(connect_masked(address).get("/").status, 200);
    server.handle.hand_over(|_| unreachable!("another server cannot continue a connection in a layer"));
    wait_until("the server has stopped listening", || TcpStream::connect(address).is_err());
    late.send_bytewise(HANDSHAKE);
    assert_eq!(Client::on(UnmaskingStream(late.stream)).get("/").status, 200);
}

#[test]
fn plain_http_is_redirected_or_refused_as_configured() {
    let server = start_masked(Setup::threaded(), Some(PlainHttpPolicy::Redirect));
    let response = server.get("/a%20b//?c=d");
    assert_eq!(response.status, 308);
    assert_eq!(response.field("Location"), Some("https://localhost/a%20b//?c=d"));
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.field("Location")),
        (400, None),
        "without Host there is no target for a redirect"
    );
    let server = start_masked(Setup::threaded(), Some(PlainHttpPolicy::Refuse));
    let response = server.get("/");
    assert_eq!(response.status, 400);
    assert!(response.text().contains("https://"), "{}", response.text());
}

/// RFC 8446 §6.1: the side that ends a connection sends a closing message; without it, the peer has to suspect
/// truncation.
#[test]
fn idle_and_upgraded_connections_end_with_the_closing_message_of_the_layer() {
    for setup in [Setup::single(), Setup::threaded()] {
        let server = start_masked(setup.with(|settings| settings.timeouts.idle = Duration::from_millis(500)), None);
        let mut client = connect_masked(server.addr());
        assert_eq!(client.get("/").text(), "hello");
        assert_eq!(client.rest(), CLOSING_MESSAGE, "at the idle timeout");
    }
    let server = start_masked(Setup::threaded(), None);
    let mut client = connect_masked(server.addr());
    assert_eq!(client.get("/").text(), "hello");
    server.stop();
    assert_eq!(client.rest(), CLOSING_MESSAGE, "when the server stops");

    let setup = Setup::threaded().with(|settings| settings.transport = Some(Arc::new(MaskingLayer::default())));
    let server = setup.start(|environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        let fails = environ.path() == &b"/panic"[..];
        on_upgrade(environ, move |mut connection| {
            connection.write_all(b"hello").unwrap();
            assert!(!fails, "intended panic");
        });
        start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
        Ok(Body::empty())
    });
    for (path, expected) in [("/", &b"hellogoodbye"[..]), ("/panic", b"hello")] {
        let mut client = connect_masked(server.addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"));
        assert_eq!(client.response().status, 101);
        assert_eq!(client.rest(), expected, "{path}");
    }
}

#[test]
fn a_panic_in_a_transport_ends_only_its_connection() {
    for place in ["wrap", "handshake", "read", "write", "shutdown", "close"] {
        for setup in [Setup::single(), Setup::threaded()] {
            let faulty = ProbeLayer::new(move |called| assert_ne!(called, place, "intended panic"));
            let server = setup.with(|settings| settings.transport = Some(Arc::new(faulty))).start(test_app);
            for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "garbage\r\n\r\n"] {
                let mut client = server.connect();
                client.send(request);
                client.rest();
            }
            // A connection that its client closes.
            let mut client = server.connect();
            client.finish_sending();
            client.rest();
            server.log.wait_for("intended panic");
            assert!(!server.is_finished(), "{place}");
            server.stop();
        }
    }
}

#[test]
fn batched_responses_are_written_after_the_batch_time() {
    const CLIENTS: usize = 40;
    // Forty calls take four times as long as the batch time.
    const CALL: Duration = Duration::from_millis(10);
    const BATCH: Duration = Duration::from_millis(100);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (calls, writes) = (seen.clone(), seen.clone());
    let probe = ProbeLayer::new(move |place| writes.lock().unwrap().push(place));
    let setup = Setup::threaded().with(|settings| {
        settings.transport = Some(Arc::new(probe));
        settings.runtime.batch_delay = BATCH;
        settings.runtime.loops = 1;
        // No thread takes over the loop, so the calls run one after the other.
        settings.runtime.may_hand_over = Some(Arc::new(|_| false));
    });
    let gate = Semaphore::default();
    let opened = gate.clone();
    let server = setup.start(move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        match &*environ.path() {
            b"/gate" => {
                calls.lock().unwrap().push("gate");
                opened.acquire();
            }
            b"/slow" => {
                calls.lock().unwrap().push("call");
                std::thread::sleep(CALL);
            }
            _ => {}
        }
        test_app(environ, start_response)
    });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "hello");
    }
    // All other requests have arrived when the server polls next.
    let mut first = server.connect();
    first.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request runs", || seen.lock().unwrap().contains(&"gate"));
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    seen.lock().unwrap().clear();
    gate.release();
    for client in &mut clients {
        assert_eq!(client.response().text(), "hello");
    }
    let seen = seen.lock().unwrap();
    let turns: Vec<_> = seen.iter().filter(|place| ["call", "write"].contains(place)).collect();
    let runs = turns.windows(2).filter(|pair| pair[0] != pair[1] && *pair[1] == "write").count();
    assert!((2..CLIENTS / 2).contains(&runs), "written {runs} times: {turns:?}");
}

#[cfg(unix)]
#[test]
fn a_forking_server_closes_a_layered_connection_after_the_response() {
    let mut server = crate::server_process::ServerProcess::start("masked");
    for _ in 0..3 {
        let mut client = connect_masked(server.addr);
        let response = client.get("/");
        assert_eq!((response.text().as_str(), response.field("Connection")), ("hello", Some("close")));
        assert!(client.at_end());
    }
    assert!(server.stop());
}
