//! Requests that are refused: the table of strictness, and what `Leniency` changes of it.

use crate::support::*;
use amboss_core::http::Leniency;

/// Requests to refuse, among them payloads of request smuggling: the name, the request, the expected status, and the
/// expected status with `Leniency::werkzeug()`. 200 means that the request is accepted; with 0 it is not tried.
fn refusals() -> Vec<(&'static str, String, u16, u16)> {
    let fields = |fields: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let chunks = |chunks: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let long = |count| "x".repeat(count);
    vec![
        ("no Host", "GET / HTTP/1.1\r\n\r\n".into(), 400, 200),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), 400, 200),
        ("malformed Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400, 200),
        ("Host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), 400, 200),
        ("two equal Content-Lengths", fields("Content-Length: 0\r\nContent-Length: 0"), 400, 400),
        ("two different Content-Lengths", fields("Content-Length: 0\r\nContent-Length: 5"), 400, 400),
        ("listed Content-Length", fields("Content-Length: 0, 0"), 400, 400),
        ("Content-Length with plus", fields("Content-Length: +0"), 400, 400),
        ("Content-Length with minus", fields("Content-Length: -1"), 400, 400),
        ("Content-Length with space", fields("Content-Length: 0 0"), 400, 400),
        ("Content-Length with underscore", fields("Content-Length: 0_0"), 400, 400),
        ("Content-Length in hexadecimal", fields("Content-Length: 0x0"), 400, 400),
        ("Content-Length that overflows", fields("Content-Length: 18446744073709551616"), 400, 400),
        ("empty Content-Length", fields("Content-Length:"), 400, 400),
        (
            "smuggling CL.TE",
            fields("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG").trim_end().into(),
            400,
            200,
        ),
        ("smuggling TE.TE, unknown last", fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"), 400, 400),
        ("smuggling TE.TE, unknown first", fields("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked"), 501, 501),
        ("smuggling TE with space before colon", fields("Transfer-Encoding : chunked"), 400, 400),
        ("smuggling TE with leading space", fields(" Transfer-Encoding: chunked"), 400, 200),
        ("smuggling TE with vertical tab", fields("Transfer-Encoding: \x0bchunked"), 400, 400),
        ("smuggling TE in quotes", fields("Transfer-Encoding: \"chunked\""), 400, 400),
        ("smuggling TE misspelt", fields("Transfer-Encoding: xchunked"), 400, 400),
        ("smuggling TE behind bare LF", fields("X: y\nTransfer-Encoding: chunked"), 400, 0),
        ("smuggling TE behind bare CR", fields("X: y\rTransfer-Encoding: chunked"), 400, 400),
        ("chunked twice", fields("Transfer-Encoding: chunked, chunked"), 400, 400),
        ("identity", fields("Transfer-Encoding: identity"), 400, 400),
        ("gzip before chunked", fields("Transfer-Encoding: gzip, chunked"), 501, 501),
        (
            "Transfer-Encoding in HTTP/1.0",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
            400,
        ),
        ("two Content-Type", fields("Content-Type: text/plain\r\nContent-Type: text/html"), 400, 400),
        ("bare CR in a value", fields("X: a\rb"), 400, 400),
        ("NUL in a value", fields("X: a\0b"), 400, 400),
        ("bare LF as line end", "GET / HTTP/1.1\nHost: a\n\n".into(), 400, 200),
        ("bare LF at the end alone", "GET / HTTP/1.1\r\nHost: a\r\n\n".into(), 400, 200),
        ("space before colon", fields("X : y"), 400, 400),
        ("empty name", fields(": y"), 400, 400),
        ("name that is no token", fields("X(: y"), 400, 400),
        ("field without colon", fields("X"), 400, 400),
        ("leading space on the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), 400, 400),
        ("obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n".into(), 400, 200),
        ("chunk size with plus", chunks("+1\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk size with minus", chunks("-1\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk size with 0x", chunks("0x1\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk size with leading space", chunks(" 1\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk size with underscore", chunks("0_1\r\na\r\n0\r\n\r\n"), 400, 400),
        ("empty chunk size", chunks("\r\n\r\n"), 400, 400),
        ("chunk size that overflows", chunks("10000000000000000\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk size that truncates to a small one", chunks("1000000000000000000001\r\na\r\n0\r\n\r\n"), 400, 400),
        ("bare LF after a chunk size", chunks("1\na\r\n0\r\n\r\n"), 400, 400),
        ("bare LF in a chunk extension (TERM.EXT)", chunks("1;a\nb\r\na\r\n0\r\n\r\n"), 400, 400),
        ("bare CR in a chunk extension", chunks("1;a\rb\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk extension without a name", chunks("1;\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk extension without a value", chunks("1;a=\r\na\r\n0\r\n\r\n"), 400, 400),
        ("chunk extension of the last chunk without a name", chunks("1\r\na\r\n0;\r\n\r\n"), 400, 400),
        ("chunk longer than its size", chunks("1\r\nab\r\n0\r\n\r\n"), 400, 400),
        ("bare LF after chunk data", chunks("1\r\na\n0\r\n\r\n"), 400, 400),
        ("oversized chunk extension", chunks(&format!("1;{}\r\na\r\n0\r\n\r\n", long(5000))), 400, 400),
        ("many chunk extensions", chunks(&"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(300)), 400, 400),
        ("oversized trailer", chunks(&format!("0\r\nX: {}\r\n\r\n", long(9000))), 400, 400),
        ("malformed trailer", chunks("0\r\nX\r\n\r\n"), 400, 400),
        ("HTTP/0.9 with a version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n".into(), 505, 505),
        ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(), 505, 505),
        ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505, 505),
        ("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, 505),
        ("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n".into(), 400, 400),
        ("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n".into(), 400, 400),
        ("no version (HTTP/0.9)", "GET /\r\n\r\n".into(), 400, 400),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, 400),
        ("tab between", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, 400),
        ("space in the target", target("/a b"), 400, 400),
        ("method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, 400),
        ("a TLS hello", "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03\r\n\r\n".into(), 400, 400),
        ("relative target", target("a"), 400, 400),
        ("asterisk with GET", target("*"), 400, 400),
        ("other scheme", target("ftp://a/"), 400, 400),
        ("absolute-form with user information", target("http://u@a/"), 400, 400),
        ("absolute-form that asks for TLS", target("HTTPS://a/"), 421, 421),
        ("absolute-form without host", target("http:///a"), 400, 400),
        ("fragment", target("/a#b"), 400, 200),
        ("bytes beyond ASCII in the target", target("/\u{e4}"), 400, 200),
        ("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), 501, 501),
        ("long request line", target(&format!("/{}", long(8200))), 414, 414),
        ("long header section", fields(&format!("X: {}", long(66_000))), 431, 431),
        ("many fields", fields(&["X: y"; 101].join("\r\n")), 431, 431),
        ("unknown expectation", fields("Content-Length: 1\r\nExpect: magic"), 417, 417),
        ("large body", fields("Content-Length: 1000001"), 413, 413),
        // Refused without waiting for the data.
        ("large chunk announced", chunks(&format!("{:x}\r\nx", 1_000_001)), 413, 413),
        ("endless chunk announced", chunks(&format!("{:x}\r\nx", u64::MAX)), 413, 413),
        ("large chunked body", chunks(&format!("{:x}\r\n{}", 1_000_001, long(1_000_001))), 413, 413),
    ]
}

/// An ambiguous request is refused with its status and the connection closes: bytes behind it are not parsed as a
/// request.
#[test]
fn dangerous_requests_are_refused() {
    refuse_all(Leniency::default(), false, |&(_, _, strict, _)| strict);
}

#[test]
fn werkzeugs_leniency_refuses_what_it_must() {
    refuse_all(Leniency::werkzeug(), false, |&(_, _, _, lenient)| lenient);
}

#[test]
fn requests_that_arrive_byte_by_byte_are_judged_the_same() {
    refuse_all(Leniency::default(), true, |&(_, _, strict, _)| strict);
    refuse_all(Leniency::werkzeug(), true, |&(_, _, _, lenient)| lenient);
}

type Refusal = (&'static str, String, u16, u16);

fn refuse_all(leniency: Leniency, bytewise: bool, expected: impl Fn(&Refusal) -> u16) {
    let setup = |setup: Setup| {
        setup
            .with(|settings| {
                settings.leniency = leniency;
                settings.limits.body = Some(1_000_000);
            })
            .start(test_app)
    };
    for server in [setup(Setup::single()), setup(Setup::threaded())] {
        for refusal in refusals() {
            let (name, input, ..) = &refusal;
            let status = expected(&refusal);
            if status == 0 || bytewise && input.len() > 10_000 {
                continue;
            }
            let mut client = server.connect();
            if bytewise {
                client.send_bytewise(input.as_bytes());
            } else {
                client.send(input);
            }
            if status == 200 {
                client.finish_sending();
            }
            let response = client.response();
            assert_eq!(response.status, status, "{name}: {response:?}");
            if status != 200 {
                assert_eq!(response.field("Connection"), Some("close"), "{name}");
                client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
                client.finish_sending();
                assert!(client.at_end(), "{name}: the connection is closed after the refusal");
                assert!(!client.was_reset(), "{name}: a reset could lose the response");
            }
        }
        let smuggled = server.log.access.lock().unwrap().iter().any(|(line, ..)| line.contains("smuggled"));
        assert!(!smuggled);
    }
}

#[test]
fn werkzeugs_leniency_prefers_chunked_to_a_length_and_closes_the_connection() {
    let server = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug()).start(test_app);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nabcde\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("Connection")), ("abcde", Some("close")));
    assert!(client.at_end());
}

/// RFC 9112 section 6.3: Transfer-Encoding overrides Content-Length, so an application must not see the latter.
#[test]
fn werkzeugs_leniency_hides_a_length_beside_chunked_from_the_environ() {
    let lenient = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug());
    for (setup, has, has_not) in [
        (lenient.clone().with(stream_bodies), "HTTP_TRANSFER_ENCODING=chunked\n", "CONTENT_LENGTH"),
        (lenient, "CONTENT_LENGTH=5\n", "HTTP_TRANSFER_ENCODING"),
    ] {
        let server = setup.start(test_app);
        let mut client = server.connect();
        client.send("POST /environ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nabcde\r\n0\r\n\r\n");
        let text = client.response().text();
        assert!(text.contains(has) && text.contains("body=abcde") && !text.contains(has_not), "{text}");
    }
}

/// RFC 9110 section 9.3.2: a response to HEAD has no content, not even one that the server itself makes.
#[test]
fn a_refusal_of_head_has_no_body() {
    let cases = [
        ("a field without a colon", "HEAD / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n".to_owned(), 400),
        ("behind an empty line", "\r\nHEAD / HTTP/1.1\r\n\r\n".into(), 400),
        ("a long request line", format!("HEAD /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8200)), 414),
        ("many fields", format!("HEAD / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101)), 431),
        ("an expectation", "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n".into(), 417),
        ("a target", "HEAD * HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("a version", "HEAD / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
    ];
    for_each_server(test_app, |server| {
        for (name, input, status) in &cases {
            let mut client = server.connect();
            client.send(input);
            client.finish_sending();
            let response = String::from_utf8(client.rest()).unwrap();
            let response = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: {response:?}"));
            assert!(response.0.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {response:?}");
            assert!(response.0.contains("\r\nContent-Length: "), "{name}: the length of the response to GET");
            assert_eq!(response.1, "", "{name}");
        }
        // A method that begins with HEAD is another method.
        let mut client = server.connect();
        client.send("HEADER / HTTP/1.1\r\n\r\n");
        assert!(client.response().text().contains("Host"));
    });
}

#[test]
fn werkzeugs_leniency_keeps_the_white_space_of_a_folded_value() {
    let server = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug()).start(test_app);
    let mut client = server.connect();
    client.send("GET /environ HTTP/1.1\r\nHost: a\r\nX: a\r\n\t b\r\n  c\r\n\r\n");
    let text = client.response().text();
    assert!(text.contains("HTTP_X=a\\t b  c\n"), "{text}");
}
