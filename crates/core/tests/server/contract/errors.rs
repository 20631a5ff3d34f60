//! Errors of the application: a 500 while the head has not left, a cut afterwards, the reason in the log.

use super::app;
use crate::support::*;
use amboss_core::Body;

#[test]
fn without_start_the_answer_is_500() {
    let app = app(|_, _| Ok(Body::from("lost")));
    everywhere(app, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!(answer.status, 500);
            assert!(!answer.text().contains("lost"));
        }
        server.log.wait_for("without calling start_response");
    });
}

#[test]
fn an_error_before_the_head_is_a_500_and_the_connection_goes_on() {
    let app = app(|environ, start_response| {
        start_response.start("200 OK", &[("X-Left", "over")])?;
        match environ.path().as_ref() {
            b"/call" => Err("no luck today".into()),
            _ => Ok(Body::try_iter([Ok(Vec::new()), Err("no luck today".into())])),
        }
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        for path in ["/call", "/iterator", "/call"] {
            let answer = client.get(path);
            assert_eq!((answer.status, answer.field("X-Left")), (500, None), "{path}");
            assert!(!answer.text().contains("luck"), "what went wrong is for the log only");
        }
        server.log.wait_for("no luck today");
    });
}

#[test]
fn an_error_after_the_head_cuts_the_connection_without_a_last_chunk() {
    let app = app(|_, start_response| {
        start_response.start("200 OK", &[])?;
        Ok(Body::try_iter([Ok(b"begun".to_vec()), Err("no luck today".into())]))
    });
    everywhere(app, |server| {
        let mut client = server.connect();
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, "begun", false));
        server.log.wait_for("no luck today");
        // A client of HTTP/1.0 can tell by a reset only.
        let mut client = server.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.rest();
        // Wine, where this was run for Windows, makes an orderly end of it.
        assert!(client.reset || cfg!(windows));
    });
}
