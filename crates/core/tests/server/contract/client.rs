//! The client behind a request: connection extensions, detecting that it has left, early hints.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::{app, GET};
use crate::support::*;
use amboss_core::{Body, Client as ConnectedClient, Environ, StartError, StartErrorKind, StartResponse};

#[test]
fn connection_extensions_live_as_long_as_their_connection() {
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
            let Some(count) = environ.connection_extensions().get_mut::<Count>() else {
                unreachable!("it was just inserted")
            };
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
    wait_until("the extension is dropped", || dropped.load(SeqCst) == 1);
    assert_eq!(second.get("/").text(), "2");
}

#[test]
fn an_application_can_detect_that_its_client_has_left() {
    let seen = Arc::new(Mutex::new(None::<ConnectedClient>));
    let (gate, left) = (Semaphore::default(), Arc::new(AtomicUsize::new(0)));
    let app = app({
        let (seen, gate, left) = (seen.clone(), gate.clone(), left.clone());
        move |environ, start_response| {
            let client = environ.client();
            assert!(!client.has_left());
            *seen.lock().unwrap() = Some(client.clone());
            gate.acquire();
            wait_until("the client has left", || client.has_left());
            left.fetch_add(1, SeqCst);
            start_response.start("200 OK", &[])?;
            Ok(Body::empty())
        }
    });
    let server = Setup::threaded().start(app);
    let mut client = server.connect();
    // A second request that is still unread does not hide that the client has left.
    client.send([GET, GET].concat());
    wait_until("the request runs", || seen.lock().unwrap().is_some());
    drop(client);
    gate.release();
    wait_until("the application has noticed it", || left.load(SeqCst) >= 1);
    gate.release();
    // The connection has ended, and the handle keeps no socket open.
    let seen = seen.lock().unwrap().clone().unwrap();
    wait_until("the handle reports that the client has left", || seen.has_left());
    #[cfg(unix)]
    wait_until("the socket is closed", || seen.socket().is_err());
}

#[test]
fn early_hints_precede_the_response_and_never_interrupt_it() {
    let app = app(|environ, start_response| {
        let link: (&str, &[u8]) = ("Link", b"</style.css>; rel=preload");
        start_response.early_hints(&[link])?;
        let wrong: (&str, &[u8]) = ("Link", b"a\r\nb");
        assert!(matches!(
            start_response.early_hints(&[wrong]).as_ref().map_err(StartError::kind),
            Err(StartErrorKind::Response(_))
        ));
        start_response.start("200 OK", &[])?;
        // Early hints may also follow `start`, before the head is sent.
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
    for_each_server(app, |server| {
        for path in ["/", "/written"] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.until("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
            client.until("HTTP/1.1 103 Early Hints\r\nX-Second: yes\r\n\r\n");
            assert_eq!(client.response().text(), "hello", "{path}");
        }
        // RFC 9110 §15.2: HTTP/1.0 has no interim responses.
        let mut old = server.connect();
        old.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(old.response().text(), "hello");
    });
}

#[test]
fn a_slow_drop_of_connection_extensions_delays_no_other_connection() {
    struct Slow(Semaphore);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.acquire();
        }
    }
    let gate = Semaphore::default();
    let app = {
        let gate = gate.clone();
        move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
            if environ.path() == &b"/slow"[..] {
                environ.connection_extensions().insert(Slow(gate.clone()));
            }
            test_app(environ, start_response)
        }
    };
    let server = Setup::threaded().with(|settings| settings.runtime.loops = 1).start(app);
    let mut other = server.connect();
    assert_eq!(other.get("/").text(), "hello");
    assert_eq!(server.get("/slow").text(), "hello");
    for _ in 0..20 {
        assert_eq!(other.get("/").text(), "hello");
    }
    gate.release();
}
