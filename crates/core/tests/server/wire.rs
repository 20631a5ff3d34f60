//! Bytes in, bytes out, and the environ: each case is sent once in one piece and once byte by byte.

use crate::support::*;
use amboss_core::{AppError, Body, Environ, StartResponse};

/// Returns responses as text, without the two fields that differ from run to run.
fn without_date_and_server(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("Date: ") && !line.starts_with("Server: amboss/")).collect()
}

/// What the server does with the connection after its responses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keeps,
    Closes,
}
use After::*;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const HELLO_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

/// The name, the bytes in, the bytes out without Date and Server, and what happens to the connection.
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
        "an unread body is not parsed as a request",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /status/404 HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\na body",
        Keeps,
    ),
    (
        "an unread chunked body is not parsed as a request",
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
    ("no request gets no response", "", "", Keeps),
    ("a partial head gets no response", "GET / HTTP/1.1\r\nHost", "", Keeps),
];

#[test]
fn each_request_gets_exactly_these_bytes() {
    for_each_server(test_app, |server| {
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
                let response = without_date_and_server(&client.rest());
                assert_eq!(response, output, "{name}, {}", if bytewise { "byte by byte" } else { "in one piece" });
                assert!(!client.was_reset(), "{name}");
            }
        }
    });
}

/// In one piece only: a client that sends more after `Connection: close` may find the connection closed.
#[test]
fn requests_behind_a_close_are_ignored() {
    for_each_server(test_app, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.finish_sending();
        assert_eq!(without_date_and_server(&client.rest()), HELLO_CLOSE);
        assert!(!client.was_reset());
    });
}

#[test]
fn the_server_keeps_a_connection_open_between_requests() {
    for_each_server(test_app, |server| {
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "hello");
            assert!(client.is_silent_for(std::time::Duration::from_millis(30)));
        }
    });
}

/// The request, what the environ has to contain, and what it must not contain.
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
    for_each_server(test_app, |server| {
        for (request, has, has_not) in ENVIRONS {
            for bytewise in [false, true] {
                let mut client = server.connect();
                if bytewise {
                    client.send_bytewise(request.as_bytes());
                } else {
                    client.send(request);
                }
                let response = client.response();
                let local = client.stream.local_addr().unwrap();
                let mut has = has.to_vec();
                let ports =
                    [format!("REMOTE_PORT={}\n", local.port()), format!("SERVER_PORT={}\n", server.addr().port())];
                has.extend(ports.iter().map(String::as_str));
                for line in has {
                    assert!(
                        format!("\n{}", response.text()).contains(&format!("\n{line}")),
                        "{line}{}",
                        response.text()
                    );
                }
                for text in *has_not {
                    assert!(!response.text().contains(text), "{text} in {}", response.text());
                }
            }
        }
    });
}

#[test]
fn asterisk_form_is_accepted_for_options_and_sets_no_path() {
    let app = |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[])?;
        let keys = ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"];
        Ok(Body::from(keys.map(|key| environ.text(key).into_owned()).join("|")))
    };
    for_each_server(app, |server| {
        let mut client = server.connect();
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "|||*|*");
    });
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    for_each_server(test_app, |server| {
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
