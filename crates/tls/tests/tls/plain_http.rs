//! Plain HTTP on a port that speaks TLS.

use crate::programs::*;
use crate::support::*;
use amboss_tls::PlainHttpPolicy;

#[test]
fn plain_http_is_redirected_to_the_same_address() {
    let server = Setup::threaded().start(&context());
    let mut client = server.connect();
    let response = client.get("/a%20b//?c=d");
    assert_eq!((response.status, response.field("Location")), (308, Some("https://localhost/a%20b//?c=d")));
    assert!(response.complete);
    assert_eq!(rest_and_end(&mut client), (Vec::new(), End::Orderly));
    // RFC 9110 section 9.3.2: a response to HEAD has no content.
    let mut client = server.connect();
    client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = String::from_utf8(client.rest()).unwrap();
    let ends = response.ends_with("\r\n\r\n") && response.find("\r\n\r\n") == Some(response.len() - 4);
    assert!(response.starts_with("HTTP/1.1 308 ") && ends, "{response}");

    // curl follows the redirect and sends the body again, as browsers do.
    let url = server.url("/echo").replace("https:", "http:");
    let Some(text) = curl(&["-4", "-k", "-L", "--data", "some=thing", &url], b"") else { return };
    assert_eq!(text, "some=thing");
    assert_eq!(server.log.errors(), "");
}

#[test]
fn a_tunnel_is_refused_and_not_redirected() {
    let server = Setup::threaded().start(&context());
    let mut client = server.connect();
    client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    assert_eq!(client.try_response().unwrap().status, 501);
}

#[test]
fn plain_http_is_refused_with_a_message() {
    let server = Setup::threaded().start(&context().plain_http(PlainHttpPolicy::Refuse));
    let mut client = server.connect();
    let response = client.get("/");
    assert_eq!((response.status, response.complete), (400, true));
    assert!(response.text().contains("ask for https://"), "{}", response.text());
    assert_eq!(server.client().get("/").text(), "hello");
}

#[test]
fn one_port_serves_http_and_https() {
    for setup in [Setup::single_threaded(), Setup::threaded()] {
        let server = setup.start(&context().plain_http(PlainHttpPolicy::Serve));
        let (mut plain, mut tls) = (server.connect(), server.client());
        for _ in 0..3 {
            let environ = plain.get("/environ").text();
            assert!(environ.contains("wsgi.url_scheme=http\n") && !environ.contains("SSL_PROTOCOL"), "{environ}");
            assert!(tls.get("/environ").text().contains("wsgi.url_scheme=https\n"));
        }
        for path in ["/large/3000000", "/file/3000000", "/blocks/3000000"] {
            assert!(plain.get(path).body == pattern(3_000_000), "{path}");
        }
        let mut slow = server.connect();
        slow.send_bytewise(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(slow.response().text(), "hello");
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn input_that_is_neither_tls_nor_http_is_logged() {
    let server = Setup::threaded().start(&context().plain_http(PlainHttpPolicy::Serve));
    for bytes in [&b"\x00"[..], b"\x80\x2e\x01\x00\x02", b"\xff\xfe", b"\x15\x03\x01\x00\x02\x02\x28"] {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.rest(), b"", "{}", bytes.escape_ascii());
    }
    wait_until("four messages are logged", || server.log.errors().matches("neither TLS nor HTTP").count() == 4);
    // Text that is not a valid request is an HTTP error.
    let mut client = server.connect();
    client.send("HELO mail.example\r\n\r\n");
    assert_eq!(client.try_response().unwrap().status, 400);
}
