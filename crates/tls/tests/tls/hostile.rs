//! Records that no honest client sends, encrypted with the keys from a client's key log.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::support::*;
use ring::{aead, hkdf};
use rustls::{ClientConnection, KeyLog, StreamOwned};

/// A key log that keeps the secret of the client's records in TLS 1.3.
#[derive(Debug, Default)]
struct Secret(Mutex<Vec<u8>>);

impl KeyLog for Secret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}

/// Encrypts records with any content, as TLS_AES_256_GCM_SHA384 does (RFC 8446 §5.2).
struct Sealer {
    secret: Vec<u8>,
    key: aead::LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label (RFC 8446 §7.1) without context.
fn expand(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let info = [&(length as u16).to_be_bytes()[..], &[label.len() as u8], label.as_bytes(), &[0]].concat();
    let mut out = vec![0; length];
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA384, secret);
    secret.expand(&[&info], Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

impl Sealer {
    fn new(secret: &[u8]) -> Sealer {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &expand(secret, "key", 32)).unwrap();
        let (secret, iv) = (secret.to_vec(), expand(secret, "iv", 12));
        Sealer { secret, key: aead::LessSafeKey::new(key), iv, sequence: 0 }
    }

    /// A sealer with the keys after a key update (RFC 8446 §7.2).
    fn updated(&self) -> Sealer {
        Sealer::new(&expand(&self.secret, "traffic upd", 48))
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len() + 1 + 16;
        let header = [0x17, 3, 3, (length >> 8) as u8, length as u8];
        let mut nonce: [u8; 12] = self.iv.clone().try_into().unwrap();
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        let mut record = [content, &[kind]].concat();
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut record).unwrap();
        [&header[..], &record].concat()
    }
}

const DATA: u8 = 0x17;
const HANDSHAKE: u8 = 0x16;

/// A client after its handshake, a socket for records that the test encrypts itself, and a sealer for them. The client
/// still reads responses.
fn connect_with_sealer(server: &TestServer) -> (TlsClient, TcpStream, Sealer) {
    let secret = Arc::new(Secret::default());
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
    let mut config = config_with(provider, &[&rustls::version::TLS13]);
    config.key_log = secret.clone();
    let client = connect_tls(server.addr, config);
    let socket = client.stream.sock.try_clone().unwrap();
    let sealer = Sealer::new(&secret.0.lock().unwrap());
    (client, socket, sealer)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_few_empty_records_are_ignored_but_a_flood_closes_the_connection() {
    for setup in [Setup::single_threaded(), Setup::threaded()] {
        let server = setup.start(&context());
        let (mut client, mut socket, mut sealer) = connect_with_sealer(&server);
        let (empty, get) = (sealer.seal(DATA, b""), sealer.seal(DATA, GET));
        socket.write_all(&[empty, get].concat()).unwrap();
        assert_eq!(client.response().text(), "hello");

        // Records of 22 bytes each, until the server closes the connection. Other clients are served meanwhile.
        let flood = std::thread::spawn(move || {
            for _ in 0..100_000 {
                let records: Vec<u8> = (0..1000).flat_map(|_| sealer.seal(DATA, b"")).collect();
                if socket.write_all(&records).is_err() {
                    return true;
                }
            }
            false
        });
        while !flood.is_finished() {
            assert_eq!(server.client().get("/").text(), "hello");
        }
        assert!(flood.join().unwrap(), "the server accepted the flood");
    }
}

#[test]
fn requests_between_key_updates_are_served_but_a_flood_of_key_updates_closes_the_connection() {
    let server = Setup::threaded().start(&context());
    let mut client = connect_tls(server.addr, config(&[&rustls::version::TLS13]));
    for _ in 0..100 {
        client.stream.conn.refresh_traffic_keys().unwrap();
        assert_eq!(client.get("/").text(), "hello");
    }
    let StreamOwned { conn, sock } = &mut client.stream;
    let closed = (0..1000).any(|_| {
        conn.refresh_traffic_keys().unwrap();
        flush(conn, sock).is_err()
    });
    // The last key updates may still be in flight when the server closes the connection.
    if !closed {
        let (rest, end) = rest_and_end(&mut client);
        assert!(rest.is_empty() && end != End::Orderly, "{} bytes, {end:?}", rest.len());
    }
    assert_eq!(server.client().get("/").text(), "hello");
}

fn flush(connection: &mut ClientConnection, socket: &mut TcpStream) -> std::io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(socket)?;
    }
    Ok(())
}

#[test]
fn a_key_update_in_two_records_does_not_corrupt_responses() {
    let server = Setup::threaded().start(&context());
    let (mut client, mut socket, mut sealer) = connect_with_sealer(&server);
    // KeyUpdate, update_not_requested (RFC 8446 §4.6.3), in two records. The server writes a response in between.
    let update = [24, 0, 0, 1, 0];
    let get = sealer.seal(DATA, b"GET /large/5000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = sealer.seal(HANDSHAKE, &update[..2]);
    socket.write_all(&[get, first].concat()).unwrap();
    assert!(client.response().body == pattern(5_000_000));
    let second = sealer.seal(HANDSHAKE, &update[2..]);
    socket.write_all(&second).unwrap();
    let get = sealer.updated().seal(DATA, GET);
    socket.write_all(&get).unwrap();
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn invalid_records_close_only_their_own_connection() {
    let server = Setup::threaded().start(&context());
    let oversized = [&[0x17, 3, 3, 0x48, 0x01][..], &[0; 0x4801]].concat();
    for (bytes, what) in [
        (oversized, "a record that is too long"),
        (vec![0x17, 3, 3, 0, 32].into_iter().chain([7; 32]).collect(), "a record that is not encrypted with the keys"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "plain HTTP"),
        (vec![0x16, 3, 3, 0, 4, 0, 0, 0, 0], "an unencrypted handshake message"),
    ] {
        let (mut client, mut socket, mut sealer) = connect_with_sealer(&server);
        let get = sealer.seal(DATA, GET);
        socket.write_all(&get).unwrap();
        assert_eq!(client.response().text(), "hello");
        socket.write_all(&bytes).unwrap();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.rest()));
        // The server sends an alert or nothing, but no response.
        assert!(ended.is_err() || ended.is_ok_and(|rest| rest.is_empty()), "{what}");
    }
    assert_eq!(server.client().get("/").text(), "hello");
}

#[test]
fn corrupted_client_hellos_do_not_affect_the_server() {
    let server = Setup::single_threaded().start(&context());
    let mut connection = ClientConnection::new(Arc::new(config(&BOTH)), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    for at in 0..hello.len() {
        let mut corrupted = hello.clone();
        corrupted[at] = [0, 0xff, corrupted[at] ^ 1, corrupted[at].wrapping_add(3)][at % 4];
        let mut socket = server.connect().stream;
        // Send the message in two parts, and then a second ClientHello, which the server does not expect.
        let part = at % hello.len();
        let _ = socket
            .write_all(&corrupted[..part])
            .and_then(|()| socket.write_all(&[&corrupted[part..], &hello].concat()));
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.client().get("/").text(), "hello");
}
