//! `start_response` and `write`: what they promise, and which heads they refuse.

use super::{app, GET};
use crate::support::*;
use amboss_core::{AppError, Body, StartError, StartErrorKind};

#[test]
fn starting_twice_is_an_error() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        let again = start_response.start("201 Created", &[]);
        assert!(matches!(again.as_ref().map_err(StartError::kind), Err(StartErrorKind::Twice)), "{again:?}");
        Ok(Body::from("still fine"))
    });
    for_each_server(app, |server| {
        let response = server.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "still fine"));
    });
}

#[test]
fn starting_twice_with_an_error_replaces_the_head() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[("X-First", "1")])?;
        let error: AppError = "late error".into();
        start_response.begin("503 Service Unavailable", &[("X-Second", b"2")], Some(&error))?;
        Ok(Body::from("sorry"))
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!((response.status, response.text().as_str()), (503, "sorry"));
            assert_eq!((response.field("X-First"), response.field("X-Second")), (None, Some("2")));
        }
    });
}

#[test]
fn starting_with_an_error_after_the_head_was_sent_fails_and_closes_the_connection() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        start_response.write(b"begun")?;
        let error: AppError = "too late".into();
        let again = start_response.begin("500 Internal Server Error", &[], Some(&error));
        assert!(matches!(again.as_ref().map_err(StartError::kind), Err(StartErrorKind::HeadSent)), "{again:?}");
        again?;
        Ok(Body::empty())
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str(), response.complete), (200, "begun", false));
        server.log.wait_for("the head has been sent already");
    });
}

#[test]
fn start_can_be_called_again_after_a_refused_head() {
    let app = app(|_, start_response| {
        assert!(start_response.start("200 OK", &[("X", "a\r\nb")]).is_err());
        start_response.start("200 OK", &[("X", "a")])?;
        Ok(Body::from("fine"))
    });
    for_each_server(app, |server| assert_eq!(server.get("/").text(), "fine"));
}

#[test]
fn write_sends_at_once_and_the_body_follows() {
    let gate = Semaphore::default();
    let app = app({
        let gate = gate.clone();
        move |_, start_response| {
            start_response.start("200 OK", &[])?;
            start_response.write(b"")?;
            start_response.write(b"one")?;
            gate.acquire();
            start_response.write(b"two")?;
            Ok(Body::from("three"))
        }
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        client.send(GET);
        client.until("one\r\n");
        gate.release();
        assert_eq!(client.until("0\r\n\r\n"), b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    });
}

#[test]
fn write_before_start_is_an_error() {
    let app = app(|_, start_response| {
        assert!(matches!(
            start_response.write(b"x").as_ref().map_err(StartError::kind),
            Err(StartErrorKind::NotStarted)
        ));
        start_response.start("200 OK", &[])?;
        Ok(Body::from("fine"))
    });
    for_each_server(app, |server| assert_eq!(server.get("/").text(), "fine"));
}

#[test]
fn heads_that_could_split_a_response_are_a_500_and_a_log_line() {
    let bad: &[(&str, &str, &str)] = &[
        ("200 OK", "X", "a\r\nSet-Cookie: evil"),
        ("200 OK", "X", "a\nb"),
        ("200 OK", "X", "a\rb"),
        ("200 OK", "X", "a\0b"),
        ("200 OK", "X\r\nY", "a"),
        ("200 OK", "X:", "a"),
        ("200 OK", "", "a"),
        ("200 OK\r\nX: evil", "X", "a"),
        ("two hundred", "X", "a"),
        ("100 Continue", "X", "a"),
        ("200 OK", "Connection", "close"),
        ("200 OK", "Keep-Alive", "5"),
        ("200 OK", "Transfer-Encoding", "chunked"),
        ("200 OK", "Upgrade", "x"),
        ("200 OK", "Trailer", "x"),
        ("200 OK", "TE", "x"),
        ("200 OK", "Proxy-Authenticate", "x"),
        ("200 OK", "Content-Length", "x"),
        ("101 Switching Protocols", "X", "without on_upgrade"),
    ];
    let app = app(move |environ, start_response| {
        let (status, name, value) = bad[environ.text("QUERY_STRING").parse::<usize>()?];
        start_response.start(status, &[(name, value)])?;
        Ok(Body::from("never"))
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        for (index, case) in bad.iter().enumerate() {
            let response = client.get(&format!("/?{index}"));
            assert_eq!(response.status, 500, "{case:?}");
            assert!(!response.head.contains("evil") && !response.text().contains("never"), "{response:?}");
        }
        assert_eq!(server.log.errors.lock().unwrap().len(), bad.len(), "{}", server.log.errors());
        for reason in ["hop-by-hop", "control character", "field name", "status", "Content-Length"] {
            server.log.wait_for(reason);
        }
    });
}

#[test]
fn date_and_server_are_added_only_when_missing() {
    let app = app(|environ, start_response| {
        match environ.path().as_ref() {
            b"/own" => start_response.start("200 OK", &[("date", "today"), ("SERVER", "mine")])?,
            _ => start_response.start("200 OK", &[])?,
        }
        Ok(Body::empty())
    });
    for_each_server(app, |server| {
        let response = server.get("/own");
        assert_eq!((response.fields("Date"), response.fields("Server")), (vec!["today"], vec!["mine"]));
        let response = server.get("/");
        assert_eq!((response.fields("Date").len(), response.fields("Server").len()), (1, 1));
        assert!(response.field("Date").unwrap().ends_with(" GMT"));
    });
}
