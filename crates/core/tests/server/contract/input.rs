//! `wsgi.input`: it ends where the body ends, fails when the body is broken, and is drained when it was not read.

use std::io::{BufRead, Read, Write};
use std::sync::{mpsc, Mutex};
use std::time::Duration;

use super::app;
use crate::support::*;
use amboss_core::{Body, InputError, InputErrorKind};

#[test]
fn the_input_ends_where_the_body_ends() {
    let app = app(|environ, start_response| {
        let input = environ.input();
        assert_eq!(input.length(), Some(10));
        let mut line = String::new();
        input.read_line(&mut line)?;
        assert_eq!(line, "one\n");
        let mut rest = [0; 20];
        let mut count = 0;
        while count < 6 {
            count += input.read(&mut rest[count..])?;
        }
        assert_eq!(&rest[..count], b"two...");
        assert_eq!(input.read(&mut rest)?, 0);
        assert_eq!(input.read(&mut rest)?, 0);
        assert!(input.fill_buf()?.is_empty());
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\none\ntwo...");
            assert_eq!(client.response().text(), "fine");
        }
    });
}

#[test]
fn large_uploads_arrive_whole() {
    let app = app(|environ, start_response| {
        let (mut count, mut sum) = (0u64, 0u64);
        let mut piece = [0; 10_000];
        loop {
            let read = environ.input().read(&mut piece)?;
            if read == 0 {
                break;
            }
            count += read as u64;
            sum += piece[..read].iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("{count} {sum}")))
    });
    for_each_server(app, |server| {
        let content: Vec<u8> = (0..3_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
        let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        client.send(&content);
        assert_eq!(client.response().text(), format!("3000000 {sum}"));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut size = 1;
        let mut rest = &content[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
            (rest, size) = (after, size * 3 % 70_001);
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), format!("3000000 {sum}"));
    });
}

#[test]
fn a_partly_read_body_is_drained_and_the_connection_reused() {
    let app = app(|environ, start_response| {
        let mut some = [0; 3];
        if environ.path() == &b"/some"[..] {
            environ.input().read_exact(&mut some)?;
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from("response"))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        for path in ["/none", "/some"] {
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nabcdef"));
            assert_eq!(client.response().text(), "response", "the response is sent before the body has arrived");
            client.send(vec![b'x'; 199_994]);
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"));
            assert_eq!(client.response().text(), "response");
            client.send("1\r\na\r\n0\r\n\r\n");
        }
        assert_eq!(client.get("/none").text(), "response");
    });
}

#[test]
fn a_large_unread_body_closes_the_connection_after_the_response() {
    let app = app(|_, start_response| {
        start_response.start("413 Content Too Large", &[])?;
        Ok(Body::from("too much"))
    });
    for_each_server_with(stream_bodies, app, |server| {
        for framing in ["Content-Length: 20000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1312D00\r\n"] {
            let mut client = server.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
            let mut sender = client.stream.try_clone().unwrap();
            let thread = std::thread::spawn(move || {
                let piece = vec![b'x'; 100_000];
                for _ in 0..200 {
                    if sender.write_all(&piece).is_err() {
                        return;
                    }
                }
                let _ = sender.shutdown(std::net::Shutdown::Write);
            });
            let response = client.response();
            assert_eq!((response.status, response.text().as_str()), (413, "too much"));
            assert!(client.at_end());
            thread.join().unwrap();
            assert!(!client.was_reset());
        }
    });
}

#[test]
fn a_broken_body_is_an_error_with_reason_and_status() {
    let (report, reports) = mpsc::channel();
    let report = Mutex::new(report);
    let app = app(move |environ, start_response| {
        let mut body = Vec::new();
        if let Err(error) = environ.input().read_to_end(&mut body) {
            let input = error.get_ref().and_then(|inner| inner.downcast_ref::<InputError>()).map(InputError::kind);
            // Every further read fails too.
            assert!(environ.input().read(&mut [0]).is_err());
            report.lock().unwrap().send(input).unwrap();
            return Err(error.into());
        }
        start_response.start("200 OK", &[])?;
        Ok(Body::from(body))
    });
    let change = |settings: &mut amboss_core::Settings| {
        stream_bodies(settings);
        settings.limits.body = Some(100);
        settings.timeouts.stalled = Duration::from_millis(500);
    };
    for_each_server_with(change, app, |server| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        for (name, rest, half_closes, status) in [
            ("truncated", "Content-Length: 10\r\n\r\nabc", true, 400),
            ("truncated chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", true, 400),
            ("truncated before the last chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, 400),
            ("malformed", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", false, 400),
            ("too large", &format!("Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n", "x".repeat(101)), false, 413),
            ("too slow", "Transfer-Encoding: chunked\r\n\r\na\r\nabc", false, 408),
        ] {
            server.assert_refuses(name, &format!("{head}{rest}"), half_closes, status);
            let error = reports.recv_timeout(DEADLINE).unwrap();
            let expected = match name {
                "malformed" => matches!(error, Some(InputErrorKind::Malformed(_))),
                "too large" => matches!(error, Some(InputErrorKind::TooLarge(100))),
                "too slow" => matches!(error, Some(InputErrorKind::TooSlow)),
                _ => matches!(error, Some(InputErrorKind::Truncated)),
            };
            assert!(expected, "{name}: {error:?}");
        }
    });
}

#[test]
fn an_application_can_respond_to_a_broken_body() {
    let app = app(|environ, start_response| {
        let broken = environ.input().read_to_end(&mut Vec::new()).is_err();
        start_response.start("200 OK", &[])?;
        Ok(Body::from(format!("broken: {broken}")))
    });
    for_each_server_with(stream_bodies, app, |server| {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!((response.text().as_str(), response.field("Connection")), ("broken: true", Some("close")));
        client.finish_sending();
        assert!(client.at_end(), "bytes behind a broken body are not parsed as a request");
    });
}
