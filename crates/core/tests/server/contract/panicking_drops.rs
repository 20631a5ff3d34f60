//! Values of the application whose drop panics: at most their own response is affected.

use std::fmt;
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use super::{app, GET};
use crate::support::*;
use amboss_core::{on_upgrade, AppError, Body, Environ, StartResponse};

/// A value that panics when it is dropped, even during another panic.
#[derive(Default)]
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("panic on dropping");
    }
}

struct Another(#[allow(dead_code)] Bomb);

#[derive(Default)]
struct Failing(#[allow(dead_code)] Bomb);

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("intended error")
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("intended error")
    }
}

impl std::error::Error for Failing {}

fn application(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if !path.starts_with("/unstarted") {
        start_response.start("200 OK", &[])?;
    }
    match path.as_str() {
        "/error" => Err(Failing::default().into()),
        "/error/written" => {
            start_response.write(b"begun")?;
            Err(Failing::default().into())
        }
        "/error/block" => Ok(Body::try_iter([Err(Failing::default().into())])),
        "/error/later" => Ok(Body::try_iter([Ok(b"begun".to_vec()), Err(Failing::default().into())])),
        "/payload" => panic_any(Bomb::default()),
        "/payload/block" => Ok(Body::iter((0..1).map(|_| panic_any(Bomb::default())))),
        "/payload/later" => Ok(Body::iter((0..2).map(|number| match number {
            0 => b"begun".to_vec(),
            _ => panic_any(Bomb::default()),
        }))),
        "/payload/drop" => {
            // A panic payload whose drop panics with a payload whose drop panics.
            struct Layered;
            impl Drop for Layered {
                fn drop(&mut self) {
                    panic_any(Bomb::default());
                }
            }
            panic_any(Layered)
        }
        "/extensions" | "/extensions/error" => {
            environ.extensions_mut().insert(Bomb::default());
            environ.extensions_mut().insert(Another(Bomb::default()));
            match path.as_str() {
                "/extensions" => Ok(Body::from("whole")),
                _ => Err(Failing::default().into()),
            }
        }
        "/upgrade" => {
            let bomb = Bomb::default();
            on_upgrade(environ, move |_| drop(bomb));
            Ok(Body::from("whole"))
        }
        "/unstarted" => {
            let bomb = Bomb::default();
            Ok(Body::iter((0..1).map(move |_| format!("{}", bomb.0.load(SeqCst)).into_bytes())))
        }
        "/body" => {
            let bomb = Bomb::default();
            Ok(Body::iter((0..1).map(move |_| format!("{}", bomb.0.load(SeqCst)).into_bytes())))
        }
        _ => Ok(Body::from("hello")),
    }
}

/// The path, the status, and whether the response is complete.
const DROPS: &[(&str, u16, bool)] = &[
    ("/error", 500, true),
    ("/error/written", 200, false),
    ("/error/block", 500, true),
    ("/error/later", 200, false),
    ("/payload", 500, true),
    ("/payload/block", 500, true),
    ("/payload/later", 200, false),
    ("/payload/drop", 500, true),
    ("/extensions", 200, true),
    ("/extensions/error", 500, true),
    ("/upgrade", 200, true),
    ("/unstarted", 500, true),
    ("/body", 200, true),
];

#[test]
fn the_server_survives_a_panicking_drop_anywhere() {
    for &(path, status, complete) in DROPS {
        for_each_server(application, |server| {
            let response = server.get(path);
            assert_eq!((response.status, response.complete), (status, complete), "{path}: {response:?}");
            assert_eq!(server.get("/").text(), "hello", "after {path}");
        });
    }
}

#[test]
fn panicking_drops_are_logged() {
    for path in ["/error", "/error/later", "/extensions", "/unstarted", "/body"] {
        for_each_server(application, |server| {
            server.get(path);
            server.log.wait_for("panic on dropping");
        });
    }
}

/// An application with an endless body whose drop panics, and the number of such drops.
fn endless() -> (impl amboss_core::Application, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = dropped.clone();
    let app = app(move |environ, start_response| {
        start_response.start("200 OK", &[])?;
        if environ.path() == &b"/hello"[..] {
            return Ok(Body::from("hello"));
        }
        let bomb = Bomb(counted.clone());
        Ok(Body::iter(std::iter::repeat_with(move || vec![b'x'; 20_000 + bomb.0.load(SeqCst)])))
    });
    (app, dropped)
}

#[test]
fn a_body_whose_drop_panics_after_its_client_has_gone_affects_no_other_request() {
    for leaves in [true, false] {
        let (app, dropped) = endless();
        let change = |settings: &mut amboss_core::Settings| settings.timeouts.stalled = Duration::from_millis(150);
        for_each_server_with(change, app, |server| {
            let before = dropped.load(SeqCst);
            let mut client = server.connect();
            client.send(GET);
            client.exactly(100);
            let stalled = (!leaves).then_some(client);
            wait_until("the body is dropped", || dropped.load(SeqCst) > before);
            assert_eq!(server.get("/hello").text(), "hello");
            assert_eq!(dropped.load(SeqCst), before + 1, "one drop");
            drop(stalled);
        });
    }
}

#[test]
fn bodies_whose_drop_panics_do_not_prevent_a_stop() {
    let (app, dropped) = endless();
    let change = |settings: &mut amboss_core::Settings| settings.timeouts.shutdown = Duration::from_millis(150);
    for_each_server_with(change, app, |server| {
        let before = dropped.load(SeqCst);
        let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(GET);
            client.exactly(100);
        }
        server.handle.shutdown();
        wait_until("the server has stopped", || server.is_finished());
        wait_until("the bodies are dropped", || dropped.load(SeqCst) == before + 3);
    });
}
