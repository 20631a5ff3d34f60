//! What stands between sockets and HTTP: a toy layer that takes a knock and masks every byte, as TLS would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use amboss_core::{
    on_upgrade, Body, Environ, Handshake, HandshakeInfo, Interest, PlainHttpPolicy, Socket, StartResponse, Transport,
    TransportLayer,
};

const KNOCK: &[u8] = b"knock";
const MASK: u8 = 0x5a;
const GOODBYE: &[u8] = b"goodbye";

/// Masks what follows the knock; `misplaced` is for clients that say `GET` instead.
#[derive(Default)]
pub struct Masking {
    misplaced: Option<PlainHttpPolicy>,
}

struct Masked {
    socket: Arc<Socket>,
    misplaced: Option<PlainHttpPolicy>,
    knocked: Vec<u8>,
    mask: u8,
    /// Unmasked, and not yet asked for.
    ahead: Vec<u8>,
}

impl TransportLayer for Masking {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        Box::new(Masked { socket, misplaced: self.misplaced, knocked: Vec::new(), mask: MASK, ahead: Vec::new() })
    }

    fn scheme(&self) -> &'static str {
        "https"
    }
}

impl Transport for Masked {
    fn handshake(&mut self) -> io::Result<Handshake> {
        while self.knocked.len() < KNOCK.len() {
            let mut byte = [0];
            match (&*self.socket).read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.knocked.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if self.knocked.is_empty() { Handshake::NotStarted } else { Handshake::Read });
                }
                Err(error) => return Err(error),
            }
            let mut session = HandshakeInfo::default();
            if self.knocked == b"GET" && self.misplaced.is_some() {
                (self.mask, self.ahead) = (0, std::mem::take(&mut self.knocked));
                session.plain_http = self.misplaced;
                return Ok(Handshake::Done(session));
            }
            let clear = self.misplaced.is_some() && b"GET".starts_with(&self.knocked);
            if !clear && !KNOCK.starts_with(&self.knocked) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "that is no way to knock"));
            }
        }
        let mut session = HandshakeInfo::default();
        session.scheme = "https";
        session.variables = vec![("SSL_PROTOCOL", b"MASK".to_vec())];
        Ok(Handshake::Done(session))
    }

    fn has_buffered(&self) -> bool {
        !self.ahead.is_empty()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            let mut record = [0; 4096];
            let count = (&*self.socket).read(&mut record)?;
            self.ahead = record[..count].iter().map(|byte| byte ^ self.mask).collect();
        }
        // Never all at once, so that something is left inside.
        let count = buffer.len().min(self.ahead.len()).min(100);
        buffer[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.socket).write(&bytes.iter().map(|byte| byte ^ self.mask).collect::<Vec<u8>>())
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        self.socket.clone().wait(interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    fn close(&mut self) {
        if self.knocked == KNOCK {
            let _ = self.write(GOODBYE);
        }
    }
}

/// The client's side of the mask.
pub struct Unmasked(TcpStream);

impl Read for Unmasked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= MASK);
        Ok(count)
    }
}

impl Write for Unmasked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes.iter().map(|byte| byte ^ MASK).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn masked(setup: Setup, misplaced: Option<PlainHttpPolicy>) -> Running {
    setup.with(|settings| settings.transport = Some(Arc::new(Masking { misplaced }))).start(fixture)
}

pub fn knock(address: SocketAddr) -> Client<Unmasked> {
    let mut client = Client::connect(address);
    client.send_bytewise(KNOCK);
    Client::on(Unmasked(client.stream))
}

#[test]
fn a_layer_carries_requests_and_the_environ_tells_of_it() {
    for setup in [Setup::base(), Setup::threaded()] {
        let server = masked(setup, None);
        let mut client = knock(server.addr());
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
fn what_lies_inside_the_layer_is_served_though_the_socket_is_silent() {
    for setup in [Setup::base(), Setup::threaded()] {
        let server = masked(setup, None);
        let mut client = knock(server.addr());
        // Bodies that end in the middle of what the layer holds, read by the application and left unread.
        let one = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 150\r\n\r\n".to_owned() + &"b".repeat(150);
        let two = one.replace("/echo", "/");
        client.send([one.as_str(), &two, &one, &two, &one].concat());
        for index in 0..5 {
            assert_eq!(client.response().body.len(), if index % 2 == 0 { 150 } else { 5 }, "answer {index}");
        }
    }
}

#[test]
fn silent_clients_and_half_handshakes_hold_nothing_for_long() {
    let server = masked(
        Setup::threaded().with(|settings| {
            settings.timeouts.idle = Duration::from_millis(800);
            settings.timeouts.handshake = Duration::from_millis(300);
        }),
        None,
    );
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send(&KNOCK[..2]);
    assert_eq!(knock(server.addr()).get("/").text(), "hello");
    assert!(silent.at_end());
    assert!(half.at_end());
    server.log.wait_for("the TLS handshake was not completed in time");
}

#[test]
fn a_failed_handshake_is_told_once_and_a_stop_waits_for_no_silent_client() {
    let server = masked(Setup::threaded(), None);
    let mut rude = server.connect();
    rude.send("let me in");
    assert!(rude.at_end());
    server.log.wait_for("that is no way to knock");
    assert_eq!(server.log.errors().lines().count(), 1, "{}", server.log.errors());
    let _silent = server.connect();
    assert!(server.stop() < DEADLINE / 4);
}

#[test]
fn a_client_that_has_connected_is_let_in_by_a_server_that_hands_over() {
    let server = masked(Setup::threaded(), None);
    let address = server.addr();
    let mut late = server.connect();
    // Who came first is accepted when one that came later is answered.
    assert_eq!(knock(address).get("/").status, 200);
    server.handle.hand_over(|_| unreachable!("nobody else could go on with it"));
    eventually("it has stopped listening", || TcpStream::connect(address).is_err());
    late.send_bytewise(KNOCK);
    assert_eq!(Client::on(Unmasked(late.stream)).get("/").status, 200);
}

#[test]
fn http_in_the_clear_is_redirected_or_refused_as_set() {
    let server = masked(Setup::threaded(), Some(PlainHttpPolicy::Redirect));
    let answer = server.get("/a%20b//?c=d");
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("Location"), Some("https://a/a%20b//?c=d"));
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.field("Location")), (400, None), "nobody knows where to");
    let server = masked(Setup::threaded(), Some(PlainHttpPolicy::Refuse));
    let answer = server.get("/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

/// RFC 8446 §6.1: who ends a connection says so, or the other side has to suspect that something is missing.
#[test]
fn idle_and_upgraded_connections_end_with_the_layers_goodbye() {
    for setup in [Setup::base(), Setup::threaded()] {
        let server = masked(setup.with(|settings| settings.timeouts.idle = Duration::from_millis(500)), None);
        let mut client = knock(server.addr());
        assert_eq!(client.get("/").text(), "hello");
        assert_eq!(client.rest(), GOODBYE, "after the deadline for another request");
    }
    let server = masked(Setup::threaded(), None);
    let mut client = knock(server.addr());
    assert_eq!(client.get("/").text(), "hello");
    server.stop();
    assert_eq!(client.rest(), GOODBYE, "when the server stops");

    let setup = Setup::threaded().with(|settings| settings.transport = Some(Arc::new(Masking::default())));
    let server = setup.start(|environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        let fails = environ.path() == &b"/panic"[..];
        on_upgrade(environ, move |mut connection| {
            connection.write_all(b"hello").unwrap();
            assert!(!fails, "as it should");
        });
        start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
        Ok(Body::empty())
    });
    for (path, expected) in [("/", &b"hellogoodbye"[..]), ("/panic", b"hello")] {
        let mut client = knock(server.addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"));
        assert_eq!(client.response().status, 101);
        assert_eq!(client.rest(), expected, "{path}");
    }
}

/// Passes everything on, and tells which of its functions is called.
#[derive(Clone)]
pub struct Telling(Arc<dyn Fn(&'static str) + Send + Sync>);

impl Telling {
    pub fn new(tell: impl Fn(&'static str) + Send + Sync + 'static) -> Telling {
        Telling(Arc::new(tell))
    }
}

struct TellingTransport(Telling, Arc<Socket>);

impl TellingTransport {
    fn tell(&self, place: &'static str) {
        self.0 .0(place);
    }
}

impl TransportLayer for Telling {
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport> {
        self.0("wrap");
        Box::new(TellingTransport(self.clone(), socket))
    }

    fn scheme(&self) -> &'static str {
        "http"
    }
}

impl Transport for TellingTransport {
    fn handshake(&mut self) -> io::Result<Handshake> {
        self.tell("handshake");
        Ok(Handshake::Done(HandshakeInfo::default()))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tell("read");
        (&*self.1).read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tell("write");
        (&*self.1).write(bytes)
    }

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        self.1.clone().wait(interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.tell("shutdown");
        self.1.shutdown(std::net::Shutdown::Write)
    }

    fn close(&mut self) {
        self.tell("close");
    }
}

#[test]
fn a_panic_in_a_transport_ends_its_connection_and_nothing_else() {
    for place in ["wrap", "handshake", "read", "write", "shutdown", "close"] {
        for setup in [Setup::base(), Setup::threaded()] {
            let faulty = Telling::new(move |called| assert_ne!(called, place, "as it should"));
            let server = setup.with(|settings| settings.transport = Some(Arc::new(faulty))).start(fixture);
            for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "rubbish\r\n\r\n"] {
                let mut client = server.connect();
                client.send(request);
                client.rest();
            }
            // Closed by its client.
            let mut client = server.connect();
            client.finish_sending();
            client.rest();
            server.log.wait_for("as it should");
            assert!(!server.is_finished(), "{place}");
            server.stop();
        }
    }
}

#[test]
fn answers_that_waited_long_enough_are_written_and_the_next_ones_are_gathered_again() {
    const CLIENTS: usize = 40;
    // Forty calls take four times as long as answers are to wait for each other.
    const CALL: Duration = Duration::from_millis(10);
    const BATCH: Duration = Duration::from_millis(100);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (calls, writes) = (seen.clone(), seen.clone());
    let telling = Telling::new(move |place| writes.lock().unwrap().push(place));
    let setup = Setup::threaded().with(|settings| {
        settings.transport = Some(Arc::new(telling));
        settings.runtime.batch_delay = BATCH;
        settings.runtime.loops = 1;
        // The calls run one after the other.
        settings.runtime.may_hand_over = Some(Arc::new(|_| false));
    });
    let gate = Gate::default();
    let opened = gate.clone();
    let server = setup.start(move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        match &*environ.path() {
            b"/gate" => {
                calls.lock().unwrap().push("gate");
                opened.pass();
            }
            b"/slow" => {
                calls.lock().unwrap().push("call");
                std::thread::sleep(CALL);
            }
            _ => {}
        }
        fixture(environ, start_response)
    });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "hello");
    }
    // They all wait when the server looks next.
    let mut first = server.connect();
    first.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is held up", || seen.lock().unwrap().contains(&"gate"));
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    seen.lock().unwrap().clear();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "hello");
    }
    let seen = seen.lock().unwrap();
    let turns: Vec<_> = seen.iter().filter(|place| ["call", "write"].contains(place)).collect();
    let runs = turns.windows(2).filter(|pair| pair[0] != pair[1] && *pair[1] == "write").count();
    assert!((2..CLIENTS / 2).contains(&runs), "{runs} times: {turns:?}");
}

#[cfg(unix)]
#[test]
fn a_forking_server_ends_a_layered_connection_with_its_answer() {
    let mut helper = crate::helper::Helper::start("masked");
    for _ in 0..3 {
        let mut client = knock(helper.addr);
        let answer = client.get("/");
        assert_eq!((answer.text().as_str(), answer.field("Connection")), ("hello", Some("close")));
        assert!(client.at_end());
    }
    assert!(helper.stop());
}
