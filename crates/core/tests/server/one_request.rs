//! `handle_request`: one answer, within a deadline, and nothing of it left behind.

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
fn one_request_is_handled_and_its_answer_is_out() {
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        for poller in [PollerKind::Auto, PollerKind::Poll] {
            let mut settings = quiet();
            settings.runtime.poller = poller;
            let mut server = make_server(&[Address::new("127.0.0.1", 0)], fixture, concurrency, settings).unwrap();
            let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
            let idle = Client::connect(addr);
            let client = thread::spawn(move || {
                let mut client = Client::connect(addr);
                let answer = client.get("/environ");
                assert!(client.at_end() && !client.reset);
                answer
            });
            assert!(server.handle_request(DEADLINE).unwrap());
            // Everything is written: nothing of this process is needed any more.
            drop(server);
            let answer = client.join().unwrap();
            assert_eq!((answer.status, answer.field("Connection")), (200, Some("close")));
            drop(idle);
            // A process that another test starts has copies of all descriptors for a moment.
            eventually("nobody listens", || TcpStream::connect(addr).is_err());
            let again = [Address::new("127.0.0.1", addr.port())];
            eventually("the port is free", || make_server(&again, fixture, concurrency, quiet()).is_ok());
        }
    }
}

#[test]
fn large_streamed_and_late_answers_are_out_when_handle_request_returns() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(match environ.path().as_ref() {
            b"/large" => Body::from(vec![b'x'; 5_000_000]),
            _ => Body::iter((0..50).map(|_| vec![b'x'; 100_000])),
        })
    };
    for path in ["/large", "/blocks"] {
        let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, quiet()).unwrap();
        let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
        let client = thread::spawn(move || Client::connect(addr).get(path));
        assert!(server.handle_request(DEADLINE).unwrap());
        drop(server);
        let answer = client.join().unwrap();
        assert_eq!((answer.complete, answer.body.len()), (true, 5_000_000));
    }
}

#[test]
fn handle_request_gives_up_at_its_deadline() {
    let mut settings = quiet();
    settings.timeouts.linger = 100 * MS;
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", fixture, settings).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    // Neither idle connections nor half a head count as a request.
    let idle = Client::connect(addr);
    let mut half = Client::connect(addr);
    half.send("GET / HTTP/1.1\r\n");
    let began = Instant::now();
    assert!(!server.handle_request(100 * MS).unwrap());
    let took = began.elapsed();
    assert!(took >= 100 * MS && took < 1000 * MS, "{took:?}");
    // And it can be asked again.
    half.send("Host: a\r\n\r\n");
    assert!(server.handle_request(DEADLINE).unwrap());
    // The client has not closed its side: that is waited for, but not for long.
    assert!(began.elapsed() < 3000 * MS, "{:?}", began.elapsed());
    assert_eq!(half.response().text(), "hello");
    drop(idle);
}

/// The clock's instants end long before the longest duration.
#[test]
fn the_longest_durations_are_as_good_as_none() {
    let mut settings = quiet();
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
        // The application waits for the rest by now.
        assert_eq!(client.response().status, 100);
        client.send("x");
        client.response().text()
    });
    assert!(server.handle_request(std::time::Duration::MAX).unwrap());
    assert_eq!(client.join().unwrap(), "x");
}

#[test]
fn one_call_of_handle_request_answers_one_request() {
    let app = |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        start_response.start("200 OK", &[])?;
        Ok(Body::from(vec![b'x'; 5_000_000]))
    };
    let mut server = BaseWsgiServer::with_settings("127.0.0.1:0", app, quiet()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let readers: Vec<_> = clients.into_iter().map(|mut client| thread::spawn(move || client.response())).collect();
    for number in 1..=3 {
        assert!(server.handle_request(DEADLINE).unwrap());
        eventually("its client has it", || readers.iter().filter(|reader| reader.is_finished()).count() >= number);
        assert_eq!(readers.iter().filter(|reader| reader.is_finished()).count(), number);
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap().body.len(), 5_000_000);
    }
}

#[test]
fn handle_request_can_be_called_in_a_row() {
    let mut server = ThreadedWsgiServer::with_settings("127.0.0.1:0", fixture, quiet()).unwrap();
    let LocalAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!() };
    let client = thread::spawn(move || (0..5).map(|_| Client::connect(addr).get("/").status).collect::<Vec<_>>());
    for _ in 0..5 {
        assert!(server.handle_request(DEADLINE).unwrap());
    }
    assert_eq!(client.join().unwrap(), [200; 5]);
}
