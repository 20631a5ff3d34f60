//! Panics in the application and in values that it returns: a 500 or a cut response, a backtrace in the log, and a
//! server that keeps running.

use std::sync::Arc;

use super::{app, GET};
use crate::support::*;
use amboss_core::{AccessRecord, AppError, Body, Environ, Log, RequestHandler, StartResponse};

/// A body that panics when it is dropped.
struct Bomb(Option<Vec<u8>>);

impl Iterator for Bomb {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        self.0.take()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("panic on closing");
        }
    }
}

/// An error that panics when it is formatted.
struct UnprintableError;

impl std::fmt::Debug for UnprintableError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("panic on display")
    }
}

impl std::fmt::Display for UnprintableError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("panic on display")
    }
}

impl std::error::Error for UnprintableError {}

pub fn panicky(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if path == "/call" {
        panic!("panic in the call");
    }
    if path == "/short" {
        start_response.start("200 OK", &[("Content-Length", "10")])?;
        return Ok(Body::from("short"));
    }
    start_response.start("200 OK", &[])?;
    match path.as_str() {
        "/started" => panic!("panic after start"),
        "/written" => {
            start_response.write(b"begun")?;
            panic!("panic after write")
        }
        "/first" => Ok(Body::iter((0..1).map(|_| -> Vec<u8> { panic!("panic in the first block") }))),
        "/second" => Ok(Body::iter((0..2).map(|number| {
            if number == 1 {
                panic!("panic in the second block")
            }
            b"begun".to_vec()
        }))),
        "/drop" => Ok(Body::iter(Bomb(Some(b"whole".to_vec())))),
        "/extension" => {
            environ.extensions_mut().insert(Bomb(None));
            Ok(Body::from("whole"))
        }
        "/display" => Err(UnprintableError.into()),
        "/payload" => std::panic::panic_any(17),
        _ => Ok(Body::from("hello")),
    }
}

/// The path, the status, whether the response is complete, and a text that is logged.
pub const PANICS: &[(&str, u16, bool, &str)] = &[
    ("/call", 500, true, "panic in the call"),
    ("/started", 500, true, "panic after start"),
    ("/written", 200, false, "panic after write"),
    ("/first", 500, true, "panic in the first block"),
    ("/second", 200, false, "panic in the second block"),
    ("/drop", 200, true, "panic on closing"),
    ("/extension", 200, true, "panic on closing"),
    ("/display", 500, true, "panic on display"),
    ("/payload", 500, true, "contract/panics.rs"),
];

#[test]
fn the_server_survives_a_panic_anywhere_and_logs_a_backtrace() {
    for &(path, status, complete, logged) in PANICS {
        for_each_server(panicky, |server| {
            let response = server.get(path);
            assert_eq!((response.status, response.complete), (status, complete), "{path}: {response:?}");
            server.log.wait_for(logged);
            // The backtrace contains a frame of this file.
            server.log.wait_for("contract::panics::");
            assert_eq!(server.get("/").text(), "hello", "after {path}");
        });
    }
}

#[test]
fn a_panic_in_the_request_handler_is_a_500() {
    struct Panicking;
    impl RequestHandler for Panicking {
        fn make_environ(&self, environ: &mut Environ<'_>) {
            assert!(environ.path() != &b"/panic"[..], "panic in make_environ");
        }
    }
    for_each_server_with(
        |settings| settings.handler = Arc::new(Panicking),
        test_app,
        |server| {
            assert_eq!(server.get("/panic").status, 500);
            server.log.wait_for("panic in make_environ");
            assert_eq!(server.get("/").status, 200);
        },
    );
}

#[test]
fn a_panic_in_a_hook_changes_no_response() {
    struct Panicking;
    impl RequestHandler for Panicking {
        fn log_request(&self, _: &AccessRecord<'_>, _: &dyn Log) {
            panic!("panic in log_request");
        }
        fn handle_error(&self, _: &AppError, _: &[u8], _: &dyn Log) {
            panic!("panic in handle_error");
        }
        fn connection_dropped(&self, _: amboss_core::CloseReason, _: amboss_core::Peer, _: &dyn Log) {
            panic!("panic in connection_dropped");
        }
    }
    for_each_server_with(
        |settings| settings.handler = Arc::new(Panicking),
        panicky,
        |server| {
            let mut client = server.connect();
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.get("/call").status, 500);
            client.send("garbage\r\n\r\n");
            assert_eq!(client.response().status, 400);
            client.finish_sending();
            assert!(client.at_end());
            for place in ["log_request", "handle_error", "connection_dropped"] {
                server.log.wait_for(&format!("panic in {place}"));
            }
            assert_eq!(server.get("/").text(), "hello");
        },
    );
}

#[test]
fn a_panic_after_an_upgrade_ends_only_its_connection() {
    let app = app(|environ, start_response| {
        if environ.path() == &b"/"[..] {
            return test_app(environ, start_response);
        }
        amboss_core::on_upgrade(environ, |_| panic!("panic in the new protocol"));
        start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
        Ok(Body::empty())
    });
    for_each_server(app, |server| {
        let mut client = server.connect();
        client.send("GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        assert_eq!(client.response().status, 101);
        assert!(client.at_end());
        server.log.wait_for("panic in the new protocol");
        assert_eq!(server.get("/").text(), "hello");
    });
}

#[test]
fn errors_and_panics_can_be_passed_through() {
    for setup in [Setup::single, Setup::threaded] {
        let passing = || setup().with(|settings| settings.passthrough_errors = true);
        let server = passing().start(app(|_, _| Err("the reason".into())));
        let mut client = server.connect();
        client.send(GET);
        client.rest();
        let error = server.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");

        for (path, message) in
            [("/call", "panic in the call"), ("/started", "panic after start"), ("/first", "panic in the first block")]
        {
            let server = passing().start(panicky);
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.rest(), b"", "a head that was not sent is not begun");
            let panic = server.join().unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&message));
        }
    }
}
