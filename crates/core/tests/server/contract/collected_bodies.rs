//! Request bodies that are complete before the application is called: in the read buffer, in memory, in a file.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use super::app;
use crate::support::*;
use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, BodyMode, Collected, Environ, RequestHandler, Settings, StartResponse};

/// Responds with the place of the body, its length and a checksum; reads it in two ways, and counts the calls.
#[derive(Clone, Default)]
struct DescribeBody(Arc<AtomicUsize>);

impl Application for DescribeBody {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.0.fetch_add(1, SeqCst);
        let length = environ.text("CONTENT_LENGTH").into_owned();
        let coding = environ.text("HTTP_TRANSFER_ENCODING").into_owned();
        let input = environ.input();
        let mut body = Vec::new();
        input.read_to_end(&mut body)?;
        let (place, whole) = match input.collected() {
            None => ("streamed", body.clone()),
            Some(Collected::Bytes(bytes)) => ("memory", bytes.to_vec()),
            Some(Collected::File { file, range }) => ("file", read_range(file, range)),
            Some(other) => panic!("an unknown place: {other:?}"),
        };
        if whole != body {
            return Err("the bytes read differ from those collected".into());
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("{place} {length} {coding} {} {}", body.len(), sum(&body))))
    }
}

#[cfg(unix)]
fn read_range(file: &std::fs::File, range: std::ops::Range<u64>) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start).unwrap();
    bytes
}

#[cfg(windows)]
fn read_range(file: &std::fs::File, range: std::ops::Range<u64>) -> Vec<u8> {
    use std::os::windows::fs::FileExt;
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let mut there = 0;
    while there < bytes.len() {
        there += file.seek_read(&mut bytes[there..], range.start + there as u64).unwrap();
    }
    bytes
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().map(|(index, &byte)| (index as u64 % 977 + 1) * u64::from(byte)).sum()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Sets small limits, so that small bodies reach them.
fn small_limits(settings: &mut Settings) {
    settings.limits.body_memory = 20_000;
    settings.limits.collected_body = 600_000;
}

/// Encodes a body in chunks of different sizes.
fn chunks(body: &[u8]) -> Vec<u8> {
    let (mut out, mut rest, mut size) = (Vec::new(), body, 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{size:x};a=\"b\"\r\n", size = chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 3 % 70_001);
    }
    out.extend_from_slice(b"0\r\nX-Trailer: a\r\n\r\n");
    out
}

#[test]
fn bodies_of_every_size_arrive_whole_in_memory_or_a_file() {
    for_each_server_with(small_limits, DescribeBody::default(), |server| {
        let mut client = server.connect();
        for length in [1, 100, 16_000, 16_384, 19_999, 20_000, 20_001, 300_000, 600_000] {
            let body = pattern(length);
            for chunked in [false, true] {
                for pieces in [1, 2] {
                    let framing = if chunked {
                        "Transfer-Encoding: chunked".to_owned()
                    } else {
                        format!("Content-Length: {length}")
                    };
                    let mut request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
                    request.extend(if chunked { chunks(&body) } else { body.clone() });
                    // The next request follows right behind the body.
                    request.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    for piece in request.chunks(request.len().div_ceil(pieces)) {
                        client.send(piece);
                    }
                    let response = client.response().text();
                    let expected = format!(" {length}  {length} {}", sum(&body));
                    assert!(response.ends_with(&expected), "{response:?} to {length} bytes, expected {expected:?}");
                    if length > 36_384 {
                        assert!(response.starts_with("file"), "{response}");
                    } else if length < 20_000 {
                        assert!(response.starts_with("memory"), "{response}");
                    }
                    assert_eq!(client.response().text(), "memory   0 0");
                }
            }
        }
    });
}

#[test]
fn the_application_is_called_when_the_body_is_complete() {
    for_each_server(DescribeBody::default(), |server| {
        let mut client = server.connect();
        for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
            let pieces = if framing.starts_with('C') { ["bo", "dy"] } else { ["2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\n"] };
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{}", pieces[0]));
            assert!(client.is_silent_for(Duration::from_millis(30)));
            client.send(pieces[1]);
            assert_eq!(client.response().text(), format!("memory 4  4 {}", sum(b"body")));
        }
    });
}

#[test]
fn continue_is_sent_at_once_unless_a_limit_is_exceeded() {
    let change = |settings: &mut Settings| settings.limits.collected_body = 10;
    for_each_server_with(change, DescribeBody::default(), |server| {
        for (framing, body) in [("Content-Length: 4", "body"), ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n")]
        {
            let mut client = server.connect();
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n");
            for _ in 0..2 {
                client.send(&head);
                assert_eq!(client.response().status, 100);
                client.send(body);
                assert!(client.response().text().starts_with("memory 4"));
            }
            // The client did not wait for 100 Continue, so none is sent.
            for _ in 0..2 {
                client.send(format!("{head}{body}{head}{body}"));
                for _ in 0..2 {
                    let response = client.response();
                    assert_eq!((response.status, response.field("Connection")), (200, None));
                }
            }
            assert_eq!(client.get("/").status, 200);
        }
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
        assert_eq!(client.response().status, 413);
        client.finish_sending();
        assert!(client.at_end() && !client.was_reset());
    });
}

#[test]
fn continue_follows_earlier_responses() {
    for_each_server(DescribeBody::default(), |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
        client.send("Content-Length: 4\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 100);
        client.send("body");
        assert_eq!(client.response().status, 200);
    });
}

#[test]
fn a_broken_body_never_reaches_the_application() {
    let change = |settings: &mut Settings| {
        settings.limits.collected_body = 100;
        settings.timeouts.stalled = Duration::from_millis(500);
    };
    let app = DescribeBody::default();
    let calls = app.0.clone();
    for_each_server_with(change, app, |server| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        for (name, rest, half_closes, status) in [
            ("truncated", "Content-Length: 10\r\n\r\nabc", true, 400),
            ("truncated chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", true, 400),
            ("truncated before the last chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, 400),
            ("malformed", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", false, 400),
            ("too long, as announced", "Content-Length: 101\r\n\r\n", false, 413),
            ("too long", &format!("Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n", "x".repeat(101)), false, 413),
            ("too slow", "Transfer-Encoding: chunked\r\n\r\na\r\nabc", false, 408),
            ("stalled", "Content-Length: 10\r\n\r\nabc", false, 408),
        ] {
            server.assert_refuses(name, &format!("{head}{rest}"), half_closes, status);
        }
        assert_eq!(server.get("/").status, 200);
    });
    // One valid request for each of the four servers.
    assert_eq!(calls.load(SeqCst), 4);
}

#[test]
fn a_body_that_cannot_be_stored_gets_503_and_affects_no_other_connection() {
    let no_directory = |settings: &mut Settings| {
        small_limits(settings);
        settings.body_directory = Some("/no/such/directory".into());
    };
    let no_room = |settings: &mut Settings| {
        small_limits(settings);
        settings.limits.body_files = 50_000;
    };
    for (change, reason) in [(&no_directory as &dyn Fn(&mut Settings), "/no/such/directory"), (&no_room, "50000 bytes")]
    {
        for_each_server_with(change, DescribeBody::default(), |server| {
            let mut other = server.connect();
            assert_eq!(other.get("/").status, 200);
            let mut client = server.connect();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
            client.send(pattern(500_000));
            let response = client.response();
            assert_eq!((response.status, response.field("Connection")), (503, Some("close")));
            assert!(response.field("Retry-After").is_some());
            client.finish_sending();
            assert!(client.at_end() && !client.was_reset());
            server.log.wait_for(reason);
            assert_eq!(other.get("/").status, 200);
            // The memory that the refused body took is free again.
            other.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
            other.send(pattern(5000));
            assert!(other.response().text().starts_with("memory"));
        });
    }
}

#[test]
fn the_request_handler_chooses_the_body_mode_by_the_head() {
    struct ByPath;
    impl RequestHandler for ByPath {
        fn body_mode(&self, head: Head<'_>, default: BodyMode) -> BodyMode {
            assert_eq!(default, BodyMode::Collect);
            match head.target() {
                b"/stream" => BodyMode::Stream,
                b"/panic" => panic!("the handler panics"),
                _ => default,
            }
        }
    }
    let change = |settings: &mut Settings| settings.handler = Arc::new(ByPath);
    for_each_server_with(change, DescribeBody::default(), |server| {
        let mut client = server.connect();
        for (path, place) in [("/", "memory 4"), ("/stream", "streamed 4"), ("/panic", "memory 4")] {
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"));
            client.send("body");
            let response = client.response();
            assert!(response.text().starts_with(place), "{path}: {}", response.text());
        }
        server.log.wait_for("panic in the request handler: ");
    });
}

#[test]
fn a_streamed_body_that_has_arrived_gets_no_continue() {
    let app = app(|environ, start_response| {
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        start_response.start("200 OK", &[])?;
        Ok(Body::from(body))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
        let mut client = server.connect();
        client.send(request);
        assert_eq!(client.response().text(), "body");
        client.send(request.repeat(3));
        for _ in 0..3 {
            let response = client.response();
            assert_eq!((response.text().as_str(), response.field("Connection")), ("body", None));
        }
        assert_eq!(client.get("/").status, 200);
    });
}
