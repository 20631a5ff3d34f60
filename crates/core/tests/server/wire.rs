//! Bytes in, bytes out: each case once at a stroke and once byte by byte.

use crate::support::*;
use amboss_core::{http::Leniency, AppError, Body, Environ, StartResponse};

/// What the server does with the connection after its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keeps,
    Closes,
}
use After::*;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const HELLO_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// Name, bytes in, bytes out without Date and Server, what becomes of the connection.
const CASES: &[(&str, &str, &str, After)] = &[
    ("a connection is kept", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", HELLO, Keeps),
    (
        "a connection is closed when the client says so",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n",
        HELLO_CLOSE,
        Closes,
    ),
    (
        "pipelined requests are answered in order",
        "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneGET /status/404 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\na body\
         HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
        Keeps,
    ),
    ("HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", HELLO_CLOSE, Closes),
    (
        "HTTP/1.0 with keep-alive is kept",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhelloHTTP/1.1 200 OK\r\n\
         Content-Length: 5\r\nConnection: close\r\n\r\nhello",
        Closes,
    ),
    (
        "HTTP/1.0 gets no chunks, keep-alive or not",
        "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo",
        Closes,
    ),
    (
        "HTTP/1.1 gets chunks, none for an empty block",
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
        Keeps,
    ),
    (
        "HEAD has the fields and no body",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Keeps,
    ),
    (
        "204 and 304 have no body",
        "GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\nGET /status/304 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Keeps,
    ),
    (
        "205 has no content and says so (RFC 9110 section 15.3.6)",
        "GET /status/205 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Keeps,
    ),
    (
        "an unread body is no request",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /status/404 HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\na body",
        Keeps,
    ),
    (
        "an unread chunked body is no request",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\nTrailer: a\r\n\r\n\
         GET /status/404 HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\na body",
        Keeps,
    ),
    (
        "empty lines before a request are skipped (RFC 9112 section 2.2)",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        Keeps,
    ),
    ("nothing is answered to nothing", "", "", Keeps),
    ("nothing is answered to half a head", "GET / HTTP/1.1\r\nHost", "", Keeps),
];

#[test]
fn bytes_in_bytes_out() {
    everywhere(fixture, |server| {
        for &(name, input, output, after) in CASES {
            for bytewise in [false, true] {
                let mut client = server.connect();
                if bytewise {
                    client.send_bytewise(input.as_bytes());
                } else {
                    client.send(input);
                }
                if after == Keeps {
                    client.finish_sending();
                }
                let answer = without_date_and_server(&client.rest());
                assert_eq!(answer, output, "{name}, {}", if bytewise { "byte by byte" } else { "at a stroke" });
                assert!(!client.reset, "{name}");
            }
        }
    });
}

/// At a stroke only: a client that says close and then sends on may meet a closed connection.
#[test]
fn nothing_is_answered_after_a_close() {
    everywhere(fixture, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.finish_sending();
        assert_eq!(without_date_and_server(&client.rest()), HELLO_CLOSE);
        assert!(!client.reset);
    });
}

#[test]
fn a_kept_connection_is_not_closed_by_the_server() {
    everywhere(fixture, |server| {
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "hello");
            assert!(client.is_silent_for(std::time::Duration::from_millis(30)));
        }
    });
}

/// Request, what the environ has to contain, what it must not contain.
const ENVIRONS: &[(&str, &[&str], &[&str])] = &[
    (
        "GET /environ?a=%20b&c HTTP/1.1\r\nHost: example.org:81\r\n\r\n",
        &[
            "REQUEST_METHOD=GET\n",
            "PATH_INFO=/environ\n",
            "QUERY_STRING=a=%20b&c\n",
            "REQUEST_URI=/environ?a=%20b&c\n",
            "RAW_URI=/environ?a=%20b&c\n",
            "SCRIPT_NAME=\n",
            "SERVER_PROTOCOL=HTTP/1.1\n",
            "SERVER_NAME=127.0.0.1\n",
            "REMOTE_ADDR=127.0.0.1\n",
            "HTTP_HOST=example.org:81\n",
            "wsgi.url_scheme=http\n",
            "wsgi.version=1.0\n",
            "wsgi.input_terminated=true\n",
            "wsgi.multiprocess=false\n",
            "wsgi.run_once=false\n",
            "body=\n",
        ],
        &["CONTENT_LENGTH", "CONTENT_TYPE"],
    ),
    (
        "GET http://other.example:8080/environ?q HTTP/1.1\r\nHost: a\r\n\r\n",
        &["HTTP_HOST=other.example:8080\n", "PATH_INFO=/environ\n", "QUERY_STRING=q\n"],
        &["HTTP_HOST=a\n"],
    ),
    ("GET //environ HTTP/1.1\r\nHost: a\r\n\r\n", &["PATH_INFO=/environ\n", "REQUEST_URI=//environ\n"], &[]),
    ("GET /%65nviron HTTP/1.1\r\nHost: a\r\n\r\n", &["PATH_INFO=/environ\n", "RAW_URI=/%65nviron\n"], &[]),
    (
        "GET /environ HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: a=1\r\nx-a:  2\t\r\ncookie: b=2, 3\r\nX_A: evil\r\n\r\n",
        &["HTTP_X_A=1,2\n", "HTTP_COOKIE=a=1; b=2, 3\n"],
        &["evil"],
    ),
    (
        "POST /environ HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nbody",
        &["CONTENT_TYPE=text/x\n", "CONTENT_LENGTH=4\n", "body=body\n"],
        &["HTTP_CONTENT"],
    ),
    (
        "POST /environ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nbo\r\n00002;ext=\"a b\"\r\ndy\r\n0\r\nX-Trailer: evil\r\n\r\n",
        &["CONTENT_LENGTH=4\n", "body=body\n"],
        &["X_TRAILER", "TRANSFER_ENCODING"],
    ),
    ("GET /environ HTTP/1.0\r\n\r\n", &["SERVER_PROTOCOL=HTTP/1.0\n"], &["HTTP_HOST"]),
    (
        "get /environ HTTP/1.1\r\nHost: a\r\nX-Latin: \u{e4}\r\nX-Empty:\r\n\r\n",
        &["REQUEST_METHOD=get\n", "HTTP_X_LATIN=\\xc3\\xa4\n", "HTTP_X_EMPTY=\n"],
        &[],
    ),
];

#[test]
fn the_application_sees_the_request() {
    everywhere(fixture, |server| {
        for (request, has, has_not) in ENVIRONS {
            for bytewise in [false, true] {
                let mut client = server.connect();
                if bytewise {
                    client.send_bytewise(request.as_bytes());
                } else {
                    client.send(request);
                }
                let answer = client.response();
                let local = client.stream.local_addr().unwrap();
                let mut has = has.to_vec();
                let ports =
                    [format!("REMOTE_PORT={}\n", local.port()), format!("SERVER_PORT={}\n", server.addr().port())];
                has.extend(ports.iter().map(String::as_str));
                for line in has {
                    assert!(format!("\n{}", answer.text()).contains(&format!("\n{line}")), "{line}{}", answer.text());
                }
                for text in *has_not {
                    assert!(!answer.text().contains(text), "{text} in {}", answer.text());
                }
            }
        }
    });
}

/// The rows of the strict table, and the payloads that request smuggling is made of: name, request, status, status
/// with `Leniency::werkzeug()`.
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
        // Not waited for.
        ("large chunk announced", chunks(&format!("{:x}\r\nx", 1_000_001)), 413, 413),
        ("endless chunk announced", chunks(&format!("{:x}\r\nx", u64::MAX)), 413, 413),
        ("large chunked body", chunks(&format!("{:x}\r\n{}", 1_000_001, long(1_000_001))), 413, 413),
    ]
}

/// What is in doubt is refused with its status, and the connection closes: nothing behind it is taken for a request.
#[test]
fn the_strict_table() {
    refuse_all(Leniency::default(), false, |&(_, _, strict, _)| strict);
}

#[test]
fn the_strict_table_with_werkzeugs_leniency() {
    refuse_all(Leniency::werkzeug(), false, |&(_, _, _, lenient)| lenient);
}

#[test]
fn the_strict_table_byte_by_byte() {
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
            .start(fixture)
    };
    for server in [setup(Setup::base()), setup(Setup::threaded())] {
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
            let answer = client.response();
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            if status != 200 {
                assert_eq!(answer.field("Connection"), Some("close"), "{name}");
                client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
                client.finish_sending();
                assert!(client.at_end(), "{name}: closed after the refusal");
                assert!(!client.reset, "{name}: the answer is seen, and no reset");
            }
        }
        let smuggled = server.log.access.lock().unwrap().iter().any(|(line, ..)| line.contains("smuggled"));
        assert!(!smuggled);
    }
}

#[test]
fn with_werkzeugs_leniency_chunked_wins_over_a_length_and_the_connection_closes() {
    let server = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug()).start(fixture);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nabcde\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.text().as_str(), answer.field("Connection")), ("abcde", Some("close")));
    assert!(client.at_end());
}

/// RFC 9112 section 6.3: Transfer-Encoding overrides Content-Length, so an application must not see the latter.
#[test]
fn with_werkzeugs_leniency_a_length_beside_chunked_is_not_in_the_environ() {
    let lenient = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug());
    for (setup, has, has_not) in [
        (lenient.clone().with(streamed), "HTTP_TRANSFER_ENCODING=chunked\n", "CONTENT_LENGTH"),
        (lenient, "CONTENT_LENGTH=5\n", "HTTP_TRANSFER_ENCODING"),
    ] {
        let server = setup.start(fixture);
        let mut client = server.connect();
        client.send("POST /environ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nabcde\r\n0\r\n\r\n");
        let text = client.response().text();
        assert!(text.contains(has) && text.contains("body=abcde") && !text.contains(has_not), "{text}");
    }
}

/// RFC 9110 section 9.3.2: a response to HEAD has no content, whoever writes it.
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
    everywhere(fixture, |server| {
        for (name, input, status) in &cases {
            let mut client = server.connect();
            client.send(input);
            client.finish_sending();
            let answer = String::from_utf8(client.rest()).unwrap();
            let answer = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: {answer:?}"));
            assert!(answer.0.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer:?}");
            assert!(answer.0.contains("\r\nContent-Length: "), "{name}: the length that GET would have had");
            assert_eq!(answer.1, "", "{name}");
        }
        // The method is HEAD, not just something that begins like it.
        let mut client = server.connect();
        client.send("HEADER / HTTP/1.1\r\n\r\n");
        assert!(client.response().text().contains("Host"));
    });
}

#[test]
fn with_werkzeugs_leniency_a_folded_value_keeps_its_white_space() {
    let server = Setup::threaded().with(|settings| settings.leniency = Leniency::werkzeug()).start(fixture);
    let mut client = server.connect();
    client.send("GET /environ HTTP/1.1\r\nHost: a\r\nX: a\r\n\t b\r\n  c\r\n\r\n");
    let text = client.response().text();
    assert!(text.contains("HTTP_X=a\\t b  c\n"), "{text}");
}

#[test]
fn asterisk_form_goes_with_options_and_names_no_path() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[])?;
        let keys = ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"];
        Ok(Body::from(keys.map(|key| environ.text(key).into_owned()).join("|")))
    };
    everywhere(app, |server| {
        let mut client = server.connect();
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "|||*|*");
    });
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    everywhere(fixture, |server| {
        let mut client = server.connect();
        let mut sender = client.stream.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            for number in 0..1000 {
                let body = format!("{number}{}", "x".repeat(number % 97));
                let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                std::io::Write::write_all(&mut sender, request.as_bytes()).unwrap();
            }
        });
        for number in 0..1000 {
            assert_eq!(client.response().text(), format!("{number}{}", "x".repeat(number % 97)));
        }
        thread.join().unwrap();
    });
}
