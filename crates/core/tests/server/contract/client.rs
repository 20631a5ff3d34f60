//! The client behind a request: what is kept with its connection, whether it has left, what it is told ahead.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::{app, GET};
use crate::support::*;
use amboss_core::{Body, Client as Connected, StartError, StartErrorKind};

#[test]
fn what_is_kept_with_a_connection_is_there_for_its_next_request_and_goes_with_it() {
    struct Count(u32, Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let app = app({
        let dropped = dropped.clone();
        move |environ, start_response| {
            if environ.connection_extensions().get::<Count>().is_none() {
                environ.connection_extensions().insert(Count(0, dropped.clone()));
            }
            let Some(count) = environ.connection_extensions().get_mut::<Count>() else { unreachable!("it is there") };
            count.0 += 1;
            start_response.start("200 OK", &[])?;
            Ok(Body::from(count.0.to_string()))
        }
    });
    let server = Setup::threaded().start(app);
    let mut first = server.connect();
    let mut second = server.connect();
    for number in ["1", "2", "3"] {
        assert_eq!(first.get("/").text(), number);
    }
    assert_eq!(second.get("/").text(), "1");
    assert_eq!(dropped.load(SeqCst), 0);
    drop(first);
    eventually("it was dropped", || dropped.load(SeqCst) == 1);
    assert_eq!(second.get("/").text(), "2");
}

#[test]
fn an_application_can_tell_that_its_client_has_left() {
    let seen = Arc::new(Mutex::new(None::<Connected>));
    let (gate, left) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let app = app({
        let (seen, gate, left) = (seen.clone(), gate.clone(), left.clone());
        move |environ, start_response| {
            let client = environ.client();
            assert!(!client.has_left());
            *seen.lock().unwrap() = Some(client.clone());
            gate.pass();
            eventually("the client has left", || client.has_left());
            left.fetch_add(1, SeqCst);
            start_response.start("200 OK", &[])?;
            Ok(Body::empty())
        }
    });
    let server = Setup::threaded().start(app);
    let mut client = server.connect();
    // What it has sent besides does not hide that.
    client.send([GET, GET].concat());
    eventually("it runs", || seen.lock().unwrap().is_some());
    drop(client);
    gate.open();
    eventually("it was told", || left.load(SeqCst) >= 1);
    gate.open();
    // The connection is over, and nothing is held open by asking.
    let seen = seen.lock().unwrap().clone().unwrap();
    eventually("it stays gone", || seen.has_left());
    #[cfg(unix)]
    eventually("there is no socket any more", || seen.socket().is_err());
}

#[test]
fn early_hints_come_before_the_answer_and_never_inside_it() {
    let app = app(|environ, start_response| {
        let link: (&str, &[u8]) = ("Link", b"</style.css>; rel=preload");
        start_response.early_hints(&[link])?;
        let wrong: (&str, &[u8]) = ("Link", b"a\r\nb");
        assert!(matches!(
            start_response.early_hints(&[wrong]).as_ref().map_err(StartError::kind),
            Err(StartErrorKind::Response(_))
        ));
        start_response.start("200 OK", &[])?;
        // The head that was set stands behind it.
        start_response.early_hints(&[("X-Second", b"yes")])?;
        if environ.path() == &b"/written"[..] {
            start_response.write(b"he")?;
            assert!(matches!(
                start_response.early_hints(&[link]).as_ref().map_err(StartError::kind),
                Err(StartErrorKind::HeadSent)
            ));
            return Ok(Body::from("llo"));
        }
        Ok(Body::from("hello"))
    });
    everywhere(app, |server| {
        for path in ["/", "/written"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.until("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
            client.until("HTTP/1.1 103 Early Hints\r\nX-Second: yes\r\n\r\n");
            assert_eq!(client.response().text(), "hello", "{path}");
        }
        // RFC 9110 §15.2: HTTP/1.0 has no interim answers.
        let mut old = server.connect();
        old.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(old.response().text(), "hello");
    });
}
