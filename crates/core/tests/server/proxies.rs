//! Trusted and untrusted proxies: forwarded fields, and headers of the PROXY protocol in whole and in pieces.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::*;
use amboss_core::{make_server_on, Address, Concurrency, Listeners, NoLog, ProxyOrigin, ProxyProtocol, Settings};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const GET: &[u8] = b"GET /environ HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";

/// A header of version 2 for the client `[2001:db8::1]:1234`, with an extension of `extension` bytes.
fn v2(extension: usize) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x21".to_vec();
    bytes.extend(u16::try_from(36 + 3 + extension).unwrap().to_be_bytes());
    bytes.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend("2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend([1234u16.to_be_bytes(), 443u16.to_be_bytes()].concat());
    bytes.push(0x04);
    bytes.extend(u16::try_from(extension).unwrap().to_be_bytes());
    bytes.extend(vec![0; extension]);
    bytes
}

fn speaks(protocol: ProxyProtocol) -> impl Fn(&mut Settings) {
    move |settings| settings.proxies.protocol = protocol
}

/// Asserts that the environ has these lines.
#[track_caller]
fn assert_environ(environ: &str, lines: &[&str]) {
    for line in lines {
        assert!(environ.contains(&format!("{line}\n")), "{line} is missing in:\n{environ}");
    }
}

/// Sends the fields to `/environ`, and returns the environ.
fn environ_with(server: &TestServer, fields: &str) -> String {
    server.connect().with_fields(&format!("Connection: close\r\n{fields}")).get("/environ").text()
}

const FORGED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                      X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nForwarded: for=6.6.6.6;proto=https\r\n\
                      X-Real-IP: 6.6.6.6\r\n";

#[test]
fn a_trusted_proxy_sets_the_client_and_the_scheme_and_nothing_else() {
    for_each_server(test_app, |server| {
        let environ = environ_with(server, FORGED);
        assert_environ(
            &environ,
            &["REMOTE_ADDR=6.6.6.6", "REMOTE_PORT=0", "wsgi.url_scheme=https", "HTTP_HOST=localhost"],
        );
        assert_environ(&environ, &["SERVER_NAME=127.0.0.1", "SCRIPT_NAME="]);
        assert_environ(&environ, &[&format!("SERVER_PORT={}", server.addr().port())]);
        wait_until("the request is logged", || !server.log.peers.lock().unwrap().is_empty());
        assert_eq!(server.log.peers.lock().unwrap()[0], ("6.6.6.6".to_owned(), "127.0.0.1".to_owned()));
    });
}

#[test]
fn every_field_is_believed_if_it_is_asked_for() {
    let server = Setup::threaded()
        .with(|settings| settings.proxies.hops = "for=2,host=1,port=1,prefix=1".parse().unwrap())
        .start(test_app);
    let environ = environ_with(&server, &FORGED.replace(": 6.6.6.6\r", ": 7.7.7.7, 8.8.8.8\r"));
    assert_environ(&environ, &["REMOTE_ADDR=7.7.7.7", "wsgi.url_scheme=https", "HTTP_HOST=evil:1", "SERVER_NAME=evil"]);
    assert_environ(&environ, &["SERVER_PORT=1", "SCRIPT_NAME=/evil"]);
}

#[test]
fn forwarded_is_read_instead_of_the_other_fields_if_it_is_asked_for() {
    let server = Setup::threaded().with(|settings| settings.proxies.forwarded = true).start(test_app);
    let environ = environ_with(&server, "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=\"[2001:db8::1]:80\"\r\n");
    assert_environ(&environ, &["REMOTE_ADDR=2001:db8::1", "REMOTE_PORT=80", "wsgi.url_scheme=http"]);
    let environ = environ_with(&server, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n");
    assert_environ(&environ, &["REMOTE_ADDR=127.0.0.1", "wsgi.url_scheme=http"]);
}

#[test]
fn nothing_of_an_untrusted_peer_is_believed() {
    let untrusting = |settings: &mut Settings| {
        settings.proxies.trusted = "10.0.0.0/8,unix:".parse().unwrap();
        settings.proxies.hops = "for=1,proto=1,host=1,port=1,prefix=1".parse().unwrap();
    };
    for_each_server_with(untrusting, test_app, |server| {
        let mut client = server.connect().with_fields(FORGED);
        for _ in 0..2 {
            let environ = client.get("/environ").text();
            assert_environ(
                &environ,
                &["REMOTE_ADDR=127.0.0.1", "wsgi.url_scheme=http", "HTTP_HOST=localhost", "SCRIPT_NAME="],
            );
        }
        wait_until("the requests are logged", || server.log.peers.lock().unwrap().len() == 2);
        assert_eq!(server.log.peers.lock().unwrap()[1], ("127.0.0.1".to_owned(), "127.0.0.1".to_owned()));
    });
}

/// The values of one request must not be seen by the next one of the connection.
#[test]
fn requests_on_one_connection_have_their_own_clients() {
    let server = Setup::threaded().start(test_app);
    let mut client = server.connect();
    for address in ["1.1.1.1", "2.2.2.2", "127.0.0.1"] {
        let field = if address == "127.0.0.1" { String::new() } else { format!("X-Forwarded-For: {address}\r\n") };
        client.send(format!("GET /environ HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        assert_environ(&client.response().text(), &[&format!("REMOTE_ADDR={address}")]);
    }
}

/// Runs a request behind each kind of header, whole with the request and cut anywhere.
#[test]
fn a_proxy_header_sets_the_client_however_it_is_cut() {
    for_each_server_with(speaks(ProxyProtocol::Required), test_app, |server| {
        let long = v2(1500);
        for (header, client, port) in
            [(V1, "192.0.2.7", "56324"), (&v2(0)[..], "2001:db8::1", "1234"), (&long, "2001:db8::1", "1234")]
        {
            let whole = [header, GET].concat();
            for cut in [0, 1, 3, 11, 12, 16, 30, header.len() - 1, header.len(), header.len() + 3] {
                let mut connection = server.connect();
                connection.stream.set_nodelay(true).unwrap();
                connection.send(&whole[..cut]);
                if cut > 0 {
                    assert!(connection.is_silent_for(5 * MS));
                }
                connection.send(&whole[cut..]);
                let environ = connection.response().text();
                // X-Forwarded-For comes from the client, which is not trusted.
                assert_environ(&environ, &[&format!("REMOTE_ADDR={client}"), &format!("REMOTE_PORT={port}")]);
            }
        }
        let mut bytewise = server.connect();
        bytewise.send_bytewise(&[V1, GET].concat());
        assert_environ(&bytewise.response().text(), &["REMOTE_ADDR=192.0.2.7", "SERVER_NAME=127.0.0.1"]);
        let peers = server.log.peers.lock().unwrap().clone();
        assert!(peers.contains(&("192.0.2.7".to_owned(), "127.0.0.1".to_owned())), "{peers:?}");
    });
}

#[test]
fn a_proxy_header_is_for_the_whole_connection() {
    let server = Setup::threaded().with(speaks(ProxyProtocol::Optional)).start(test_app);
    let mut client = server.connect();
    client.send([V1, b"GET /environ HTTP/1.1\r\nHost: a\r\n\r\nGET /environ HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    for _ in 0..2 {
        assert_environ(&client.response().text(), &["REMOTE_ADDR=192.0.2.7"]);
    }
    assert_environ(&client.get("/environ").text(), &["REMOTE_ADDR=192.0.2.7"]);
    client.send(V1);
    assert_eq!(client.response().status, 400, "a second header is not a request");
}

#[test]
fn forwarded_fields_behind_a_proxy_header_are_believed_from_trusted_addresses() {
    let server = Setup::threaded().with(speaks(ProxyProtocol::Required)).start(test_app);
    for (header, address) in [
        (&b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n"[..], "6.6.6.6"),
        // A client without an address may be anyone; the proxy itself is trusted.
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0", "6.6.6.6"),
    ] {
        let mut client = server.connect();
        client.send([header, GET].concat());
        assert_environ(&client.response().text(), &[&format!("REMOTE_ADDR={address}")]);
    }
}

#[test]
fn a_connection_without_a_valid_header_is_closed_without_a_response() {
    for_each_server_with(speaks(ProxyProtocol::Required), test_app, |server| {
        let too_long = v2(3000);
        for (bytes, reason) in [
            (GET, "does not begin with a PROXY header"),
            (b"PROPFIND / HTTP/1.1\r\n", "does not begin with a PROXY header"),
            (b"\x16\x03\x01\x02\x00", "does not begin with a PROXY header"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "is malformed"),
            (&too_long[..20], "longer than the limit"),
        ] {
            let mut client = server.connect();
            client.send(bytes);
            assert!(client.rest().is_empty(), "{}", bytes.escape_ascii());
            server.log.wait_for(reason);
            server.log.errors.lock().unwrap().clear();
        }
        // Health checks connect and close.
        let mut silent = server.connect();
        silent.finish_sending();
        assert!(silent.rest().is_empty());
        assert_eq!(server.log.errors(), "");
    });
}

#[test]
fn an_untrusted_peer_can_not_send_a_header() {
    let untrusting = |protocol| {
        move |settings: &mut Settings| {
            settings.proxies.trusted = "10.0.0.0/8".parse().unwrap();
            settings.proxies.protocol = protocol;
        }
    };
    for_each_server_with(untrusting(ProxyProtocol::Required), test_app, |server| {
        let mut client = server.connect();
        let _ = client.try_send([V1, GET].concat());
        assert!(client.rest().is_empty());
        server.log.wait_for("connection with 127.0.0.1: closed because only trusted proxies may connect");
    });
    for_each_server_with(untrusting(ProxyProtocol::Optional), test_app, |server| {
        let mut client = server.connect();
        client.send([V1, GET].concat());
        assert_eq!(client.response().status, 400);
        assert_environ(&environ_with(server, FORGED), &["REMOTE_ADDR=127.0.0.1"]);
    });
}

#[test]
fn without_the_protocol_a_header_is_a_malformed_request() {
    let server = Setup::threaded().start(test_app);
    let mut client = server.connect();
    client.send([V1, GET].concat());
    assert_eq!(client.response().status, 400);
}

#[test]
fn an_optional_header_may_be_left_out() {
    for_each_server_with(speaks(ProxyProtocol::Optional), test_app, |server| {
        let mut client = server.connect();
        client.send(GET);
        assert_environ(&client.response().text(), &["REMOTE_ADDR=6.6.6.6"]);
        // The first bytes of the method could be those of a header.
        for cut in [1, 3] {
            let mut client = server.connect();
            client.send(&b"PROPFIND"[..cut]);
            assert!(client.is_silent_for(20 * MS));
            client.send([&b"PROPFIND"[cut..], b" /environ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat());
            assert_environ(&client.response().text(), &["REQUEST_METHOD=PROPFIND", "REMOTE_ADDR=127.0.0.1"]);
        }
        let mut client = server.connect();
        client.send([V1, GET].concat());
        assert_environ(&client.response().text(), &["REMOTE_ADDR=192.0.2.7"]);
    });
}

#[test]
fn slow_headers_are_disconnected_and_do_not_delay_other_clients() {
    let impatient = |settings: &mut Settings| {
        settings.proxies.protocol = ProxyProtocol::Required;
        settings.timeouts.handshake = Duration::from_millis(400);
        settings.timeouts.idle = Duration::from_millis(900);
    };
    for_each_server_with(impatient, test_app, |server| {
        let begun = Instant::now();
        let (mut silent, mut slow) = (server.connect(), server.connect());
        slow.send(&V1[..10]);
        let mut other = server.connect();
        other.send([V1, GET].concat());
        assert_eq!(other.response().status, 200);
        assert!(begun.elapsed() < Duration::from_millis(300));
        while begun.elapsed() < Duration::from_millis(1500)
            && slow.try_send(b"5").is_ok()
            && slow.is_silent_for(50 * MS)
        {}
        assert!(slow.rest().is_empty());
        assert!(begun.elapsed() < Duration::from_millis(900), "each byte has extended the deadline");
        server.log.wait_for("closed because the PROXY header was not complete in time");
        assert!(silent.at_end());
    });
}

/// The toy layer stands for TLS; `amboss-tls` has its own tests.
#[test]
fn a_header_precedes_the_handshake_of_a_layer() {
    for protocol in [ProxyProtocol::Required, ProxyProtocol::Optional] {
        let server = Setup::threaded()
            .with(speaks(protocol))
            .with(|settings| settings.transport = Some(Arc::new(MaskingLayer { misplaced: None })))
            .start(test_app);
        for cut in [0, 4, V1.len(), V1.len() + 2] {
            let mut client = server.connect();
            let bytes = [V1, HANDSHAKE].concat();
            client.send(&bytes[..cut]);
            assert!(cut == 0 || client.is_silent_for(20 * MS));
            client.send(&bytes[cut..]);
            let environ = Client::on(UnmaskingStream(client.stream)).get("/environ").text();
            assert_environ(&environ, &["REMOTE_ADDR=192.0.2.7", "wsgi.url_scheme=https"]);
        }
    }
    let server = Setup::threaded()
        .with(speaks(ProxyProtocol::Optional))
        .with(|settings| settings.transport = Some(Arc::new(MaskingLayer { misplaced: None })))
        .start(test_app);
    assert_environ(&connect_masked(server.addr()).get("/environ").text(), &["REMOTE_ADDR=127.0.0.1"]);
}

/// Another process learns from the first one what the header says, whether it was read completely or not.
#[test]
fn the_client_of_a_connection_moves_to_another_server() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        let listeners = Listeners::bind(&[Address::new("127.0.0.1", 0)], &Settings::default()).unwrap();
        let address = listeners.local_addrs()[0].to_string();
        let start = || {
            let mut settings = Settings::default();
            settings.log = Arc::new(NoLog);
            settings.proxies.protocol = ProxyProtocol::Required;
            let mut server = make_server_on(listeners.clone(), test_app, concurrency, settings).unwrap();
            let (handle, receiver) = (server.shutdown_handle(), server.receiver());
            (handle, receiver, std::thread::spawn(move || server.serve_forever()))
        };
        let (old, _, old_thread) = start();
        let [mut idle, mut half, mut fresh] = [(); 3].map(|()| Client::connect(&address));
        idle.send([V1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(idle.response().text(), "hello");
        half.send(&V1[..20]);
        let mut last = Client::connect(&address);
        last.send([V1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(last.response().text(), "hello", "the connections before it have been accepted");

        let (new, receiver, new_thread) = start();
        let moved = Arc::new(Mutex::new(Vec::new()));
        let origins = moved.clone();
        old.hand_over(move |connection| {
            origins.lock().unwrap().push(connection.origin);
            receiver.adopt(connection).unwrap();
        });
        wait_until("the old server has stopped", || old_thread.is_finished());
        old_thread.join().unwrap().unwrap();
        let known = |origin: &&ProxyOrigin| **origin == ProxyOrigin::Client("192.0.2.7:56324".parse().unwrap());
        assert_eq!(moved.lock().unwrap().iter().filter(known).count(), 2, "{moved:?}");
        assert_eq!(
            moved.lock().unwrap().iter().filter(|origin| **origin == ProxyOrigin::Unread).count(),
            2,
            "{moved:?}"
        );
        half.send([&V1[20..], GET].concat());
        fresh.send([V1, GET].concat());
        idle.send(GET);
        for client in [&mut idle, &mut half, &mut fresh] {
            assert_environ(&client.response().text(), &["REMOTE_ADDR=192.0.2.7"]);
        }
        new.shutdown();
        wait_until("the new server has stopped", || new_thread.is_finished());
        new_thread.join().unwrap().unwrap();
    }
}

#[cfg(unix)]
#[test]
fn unix_sockets_are_trusted_and_may_have_a_header() {
    let dir = TempDir::new("proxies");
    let path = dir.join_str("app.sock");
    let connect = || Client::on(std::os::unix::net::UnixStream::connect(&path).unwrap());
    let server =
        Setup::threaded().on(&[&format!("unix://{path}")]).with(speaks(ProxyProtocol::Optional)).start(test_app);
    let mut client = connect();
    client.send(GET);
    assert_environ(&client.response().text(), &["REMOTE_ADDR=6.6.6.6"]);
    let mut client = connect();
    client.send_bytewise(V1);
    client.send(GET);
    assert_environ(&client.response().text(), &["REMOTE_ADDR=192.0.2.7"]);
    drop(server);
    let server = Setup::threaded()
        .on(&[&format!("unix://{path}")])
        .with(|settings| settings.proxies.trusted = "127.0.0.1".parse().unwrap())
        .start(test_app);
    let mut client = connect();
    client.send(GET);
    assert_environ(&client.response().text(), &["REMOTE_ADDR=<local>", "wsgi.url_scheme=http"]);
    drop(server);
}
