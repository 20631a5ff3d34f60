//! HTTP in the clear on a port that speaks TLS.

use std::io::Write;

use crate::support::*;
use crate::tools::*;
use amboss_tls::PlainHttpPolicy;

#[test]
fn plain_http_is_redirected_to_the_same_address() {
    let server = Setup::threaded().start(&context());
    let mut client = Client::on(server.connect());
    let answer = client.get("/a%20b//?c=d");
    assert_eq!((answer.status, answer.field("Location")), (308, Some("https://a/a%20b//?c=d")));
    assert_eq!(client.rest(), (Vec::new(), End::Clean));
    // RFC 9110 section 9.3.2: a response to HEAD has no content.
    let mut client = Client::on(server.connect());
    client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = String::from_utf8(client.rest().0).unwrap();
    let ends = answer.ends_with("\r\n\r\n") && answer.find("\r\n\r\n") == Some(answer.len() - 4);
    assert!(answer.starts_with("HTTP/1.1 308 ") && ends, "{answer}");

    // As a browser or curl follows it, body and all.
    let url = server.url("/echo").replace("https:", "http:");
    let Some(text) = curl(&["-4", "-k", "-L", "--data", "some=thing", &url], b"") else { return };
    assert_eq!(text, "some=thing");
    assert_eq!(server.log.errors(), "");
}

#[test]
fn a_tunnel_is_refused_and_not_redirected() {
    let server = Setup::threaded().start(&context());
    let mut client = Client::on(server.connect());
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert_eq!(client.response().status, 501);
}

#[test]
fn plain_http_is_refused_with_a_sentence() {
    let server = Setup::threaded().start(&context().plain_http(PlainHttpPolicy::Refuse));
    let mut client = Client::on(server.connect());
    let answer = client.get("/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("ask for https://"), "{}", answer.text());
    assert_eq!(server.client().get("/").text(), "hello");
}

#[test]
fn one_port_serves_both() {
    for setup in [Setup::base(), Setup::threaded()] {
        let server = setup.start(&context().plain_http(PlainHttpPolicy::Serve));
        let (mut clear, mut tls) = (Client::on(server.connect()), server.client());
        for _ in 0..3 {
            let environ = clear.get("/environ").text();
            assert!(environ.contains("wsgi.url_scheme=http\n") && !environ.contains("SSL_PROTOCOL"), "{environ}");
            assert!(tls.get("/environ").text().contains("wsgi.url_scheme=https\n"));
        }
        for path in ["/large/3000000", "/file/3000000", "/blocks/3000000"] {
            assert!(clear.get(path).body == pattern(3_000_000), "{path}");
        }
        let mut slow = server.connect();
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
            slow.write_all(&[*byte]).unwrap();
        }
        assert_eq!(Client::on(slow).response().text(), "hello");
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn what_is_neither_is_told_of() {
    let server = Setup::threaded().start(&context().plain_http(PlainHttpPolicy::Serve));
    for bytes in [&b"\x00"[..], b"\x80\x2e\x01\x00\x02", b"\xff\xfe", b"\x15\x03\x01\x00\x02\x02\x28"] {
        let mut client = Client::on(server.connect());
        client.send(bytes);
        assert_eq!(client.rest().0, b"", "{}", bytes.escape_ascii());
    }
    eventually("four entries", || server.log.errors().matches("neither TLS nor HTTP").count() == 4);
    // A request that can't be read is a matter for HTTP.
    let mut client = Client::on(server.connect());
    client.send("HELO mail.example\r\n\r\n");
    assert_eq!(client.response().status, 400);
}
