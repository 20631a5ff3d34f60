//! `handle_request`: one request within a timeout, with its response sent and no state left behind.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::support::*;
use amboss_core::{
    make_server, Address, BaseWsgiServer, Body, Concurrency, Environ, LocalAddr, PollerKind, StartResponse,
    ThreadedWsgiServer,
};

#[test]
fn handle_request_returns_when_the_response_is_sent() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        for poller in [PollerKind::Auto, PollerKind::Poll] {
            let mut settings = settings_without_log();
            settings.runtime.poller = poller;
            let mut server = make_server(&[Address::new("127.0.0.1", 0)], test_app, concurrency, settings).unwrap();
            let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
            let idle = Client::connect(addr);
            let client = thread::spawn(move || {
                let mut client = Client::connect(addr);
                let response = client.get("/environ");
                assert!(client.at_end() && !client.was_reset());
                response
            });
            assert!(server.handle_request(DEADLINE).unwrap());
            // The response is sent: the client needs nothing more from this process.
            drop(server);
            let response = client.join().unwrap();
            assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
            drop(idle);
            // A process that another test starts holds copies of all descriptors until it calls exec.
            wait_until("connections are refused", || TcpStream::connect(addr).is_err());
            let again = [Address::new("127.0.0.1", addr.port())];
            wait_until("the port is free", || {
                make_server(&again, test_app, concurrency, settings_without_log()).is_ok()
            });
        }
    }
}

#[test]
fn large_and_streamed_responses_are_sent_when_handle_request_returns() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/large" => Body::from(vec![b'x'; 5_000_000]),
            _ => Body::iter((0..50).map(|_| vec![b'x'; 100_000])),
        })
    };
    for path in ["/large", "/blocks"] {
        let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, settings_without_log()).unwrap();
        let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
        let client = thread::spawn(move || Client::connect(addr).get(path));
        assert!(server.handle_request(DEADLINE).unwrap());
        drop(server);
        let response = client.join().unwrap();
        assert_eq!((response.complete, response.body.len()), (true, 5_000_000));
    }
}

#[test]
fn handle_request_returns_at_its_timeout() {
    let mut settings = settings_without_log();
    settings.timeouts.linger = 100 * MS;
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", test_app, settings).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    // Neither idle connections nor half a head count as a request.
    let idle = Client::connect(addr);
    let mut half = Client::connect(addr);
    half.send("GET / HTTP/1.1\r\n");
    let began = Instant::now();
    assert!(!server.handle_request(100 * MS).unwrap());
    let took = began.elapsed();
    assert!(took >= 100 * MS && took < 1000 * MS, "{took:?}");
    // It can be called again.
    half.send("Host: a\r\n\r\n");
    assert!(server.handle_request(DEADLINE).unwrap());
    // The server waits for the client to close its side, but not for long.
    assert!(began.elapsed() < 3000 * MS, "{:?}", began.elapsed());
    assert_eq!(half.response().text(), "hello");
    drop(idle);
}

/// `Instant` cannot represent now plus the longest duration.
#[test]
fn the_longest_durations_mean_no_timeout() {
    let mut settings = settings_without_log();
    settings.timeouts.stalled = std::time::Duration::MAX;
    settings.timeouts.idle = std::time::Duration::MAX;
    settings.timeouts.head = std::time::Duration::MAX;
    settings.timeouts.grace = std::time::Duration::MAX;
    settings.timeouts.shutdown = std::time::Duration::MAX;
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        start_response.start("200 OK", &[])?;
        Ok(Body::from(body))
    };
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, settings).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let client = thread::spawn(move || {
        let mut client = Client::connect(addr);
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\n",
        );
        // The application waits for the rest of the body now.
        assert_eq!(client.response().status, 100);
        client.send("x");
        client.response().text()
    });
    assert!(server.handle_request(std::time::Duration::MAX).unwrap());
    assert_eq!(client.join().unwrap(), "x");
}

#[test]
fn one_call_of_handle_request_handles_one_request() {
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(Body::from(vec![b'x'; 5_000_000]))
    };
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, settings_without_log()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let readers: Vec<_> = clients.into_iter().map(|mut client| thread::spawn(move || client.response())).collect();
    for number in 1..=3 {
        assert!(server.handle_request(DEADLINE).unwrap());
        wait_until("the client has the response", || {
            readers.iter().filter(|reader| reader.is_finished()).count() >= number
        });
        assert_eq!(readers.iter().filter(|reader| reader.is_finished()).count(), number);
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap().body.len(), 5_000_000);
    }
}

#[test]
fn handle_request_can_be_called_repeatedly() {
    let mut server = ThreadedWsgiServer::with_settings("127.0.0.1:0", test_app, settings_without_log()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let client = thread::spawn(move || (0..5).map(|_| Client::connect(addr).get("/").status).collect::<Vec<_>>());
    for _ in 0..5 {
        assert!(server.handle_request(DEADLINE).unwrap());
    }
    assert_eq!(client.join().unwrap(), [200; 5]);
}
