//! The PROXY protocol in front of the handshake.

use std::io::Write;
use std::time::Duration;

use amboss_core::ProxyProtocol;
use rustls::StreamOwned;

use crate::support::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

/// Connects, sends the header and the first record of the handshake in two pieces, and completes the handshake.
fn connect_behind(server: &TestServer, header: &[u8], cut: usize) -> TlsClient {
    let mut client = without_handshake(server.addr, config(&BOTH));
    let StreamOwned { conn, sock } = &mut client.stream;
    let mut bytes = header.to_vec();
    conn.write_tls(&mut bytes).unwrap();
    sock.set_nodelay(true).unwrap();
    sock.write_all(&bytes[..cut]).unwrap();
    if cut > 0 {
        // Nothing shows when the server has read the first piece.
        std::thread::sleep(Duration::from_millis(20));
    }
    sock.write_all(&bytes[cut..]).unwrap();
    while conn.is_handshaking() {
        conn.complete_io(sock).unwrap();
    }
    client
}

#[test]
fn a_proxy_header_may_precede_the_handshake_in_one_segment_or_in_pieces() {
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
    for protocol in [ProxyProtocol::Required, ProxyProtocol::Optional] {
        let server = Setup::threaded().with(|settings| settings.proxies.protocol = protocol).start(&context());
        for header in [V1, v2] {
            for cut in [0, 1, 14, header.len() - 1, header.len(), header.len() + 1, header.len() + 40] {
                let mut client = connect_behind(&server, header, cut);
                let environ = client.get("/environ").text();
                for line in ["REMOTE_ADDR=192.0.2.7", "REMOTE_PORT=56324", "wsgi.url_scheme=https"] {
                    assert!(environ.contains(line), "{line} at {cut}: {environ}");
                }
            }
        }
    }
}

#[test]
fn tls_without_a_proxy_header_is_served_where_the_header_is_optional_and_closed_where_it_is_required() {
    let server =
        Setup::threaded().with(|settings| settings.proxies.protocol = ProxyProtocol::Optional).start(&context());
    let mut client = server.client();
    assert!(client.get("/environ").text().contains("REMOTE_ADDR=127.0.0.1"));
    let server =
        Setup::threaded().with(|settings| settings.proxies.protocol = ProxyProtocol::Required).start(&context());
    let mut client = without_handshake(server.addr, config(&BOTH));
    let StreamOwned { conn, sock } = &mut client.stream;
    while conn.wants_write() {
        conn.write_tls(sock).unwrap();
    }
    let mut raw = amboss_testkit::Client::on(sock.try_clone().unwrap());
    assert!(raw.rest().is_empty(), "no alert, and no response");
    server.log.wait_for("does not begin with a PROXY header");
}

#[test]
fn plain_http_behind_a_proxy_header_is_redirected() {
    let server =
        Setup::threaded().with(|settings| settings.proxies.protocol = ProxyProtocol::Required).start(&context());
    let mut client = server.connect();
    client.send([V1, b"GET /a HTTP/1.1\r\nHost: app\r\n\r\n"].concat());
    assert_eq!(client.response().field("Location"), Some("https://app/a"));
}
