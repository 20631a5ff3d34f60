//! `Expect: 100-continue` with streamed bodies: sent on the first read of the input, once, and never after the response
//! has begun. Collected bodies are in `collected_bodies`.

use std::io::Read;
use std::time::Duration;

use super::app;
use crate::support::*;
use amboss_core::{AppError, Body, Environ, StartResponse};

/// Responds with the body, or returns the error of reading it.
fn reader(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let mut body = Vec::new();
    environ.input().read_to_end(&mut body)?;
    start_response.start("200 OK", &[])?;
    Ok(Body::from(body))
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn continue_is_sent_once_on_the_first_read() {
    let gate = Semaphore::default();
    let app = app({
        let gate = gate.clone();
        move |environ, start_response| {
            gate.acquire();
            reader(environ, start_response)
        }
    });
    for_each_server_with(stream_bodies, app, |server| {
        for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
            let mut client = server.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"));
            assert!(client.is_silent_for(Duration::from_millis(30)), "the application has not read yet");
            gate.release();
            assert_eq!(client.exactly(CONTINUE.len()), CONTINUE);
            for piece in
                if framing.contains("chunked") { ["2\r\nbo\r\n", "2\r\ndy\r\n0\r\n\r\n"] } else { ["bo", "dy"] }
            {
                assert!(client.is_silent_for(Duration::from_millis(10)));
                client.send(piece);
            }
            let response = client.response();
            assert_eq!((response.status, response.text().as_str()), (200, "body"));
            gate.release();
            assert_eq!(client.get("/").status, 200);
        }
    });
}

#[test]
fn without_a_read_there_is_no_continue_and_the_connection_closes() {
    let app = app(|_, start_response| {
        start_response.start("403 Forbidden", &[])?;
        Ok(Body::from("no"))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.field("Connection")), (403, Some("close")));
        assert!(client.at_end());
    });
}

#[test]
fn without_a_read_the_connection_closes_after_write_too() {
    let app = app(|_, start_response| {
        start_response.start("403 Forbidden", &[])?;
        start_response.write(b"no")?;
        Ok(Body::empty())
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(client.response().status, 403);
        assert!(client.at_end());
    });
}

#[test]
fn continue_is_never_sent_after_the_response_has_begun() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        start_response.write(b"begun")?;
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        Ok(Body::from(body))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        let mut all = client.until("begun\r\n");
        client.send("body");
        all.extend(client.until("0\r\n\r\n"));
        assert!(find(&all, b"100 Continue").is_none(), "{}", all.escape_ascii());
        assert!(all.ends_with(b"5\r\nbegun\r\n4\r\nbody\r\n0\r\n\r\n"), "{}", all.escape_ascii());
    });
}

#[test]
fn continue_follows_earlier_responses_and_precedes_a_head_that_is_set() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[])?;
        let mut body = Vec::new();
        environ.input().read_to_end(&mut body)?;
        Ok(Body::from(body))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
        client.send("Content-Length: 4\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 100);
        client.send("body");
        assert_eq!(client.response().text(), "body");
    });
}

#[test]
fn http_1_0_gets_no_continue() {
    for_each_server_with(stream_bodies, reader, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert!(client.is_silent_for(Duration::from_millis(20)));
        client.send("body");
        assert_eq!(client.response().text(), "body");
    });
}
