//! Applications that many tests use.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use super::{DEADLINE, MS};
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

/// Shows what it was asked: `/environ` lists the environ and then the body, `/echo` returns the body, `/status/N`
/// responds with that status, `/stream` responds in blocks, everything else says hello.
pub fn test_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if let Some(status) = path.strip_prefix("/status/") {
        start_response.start(status, &[])?;
        return Ok(Body::from("a body"));
    }
    match path.as_str() {
        "/environ" => {
            let mut lines: Vec<String> =
                environ.iter().map(|(key, value)| format!("{key}={}\n", value.escape_ascii())).collect();
            lines.sort();
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            lines.push(format!("body={}\n", body.escape_ascii()));
            start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
            Ok(Body::from(lines.concat()))
        }
        "/echo" => {
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            start_response.start("200 OK", &[])?;
            Ok(Body::from(body))
        }
        "/stream" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter(["one", "", "two"].map(|block| block.as_bytes().to_vec()).into_iter().chain([])))
        }
        _ => {
            start_response.start("200 OK", &[])?;
            Ok(Body::from("hello"))
        }
    }
}

/// `/endless` streams until its client stops reading, `/large` is 20 MB, `/slowstream` takes 20 ms for each of ten
/// blocks, `/sleep/N` takes N ms; everything else is [`test_app`]'s.
pub fn stress_app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if let Some(time) = path.strip_prefix("/sleep/") {
        std::thread::sleep(MS * time.parse()?);
    }
    match path.as_str() {
        "/endless" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter(std::iter::repeat_with(|| vec![b'x'; 1000])))
        }
        "/large" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::from(vec![b'x'; 20_000_000]))
        }
        "/slowstream" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter((0..10).map(|number| {
                std::thread::sleep(20 * MS);
                format!("{number}").into_bytes()
            })))
        }
        _ => test_app(environ, start_response),
    }
}

/// A counting semaphore, with which a test decides when an application may continue.
#[derive(Clone, Default)]
pub struct Semaphore(Arc<(Mutex<usize>, Condvar)>);

impl Semaphore {
    /// Lets one waiting call continue. If none is waiting, the next call does not wait.
    pub fn release(&self) {
        *self.0 .0.lock().unwrap() += 1;
        self.0 .1.notify_all();
    }

    /// Waits for a [`release`](Semaphore::release).
    pub fn acquire(&self) {
        let guard = self.0 .0.lock().unwrap();
        let (mut guard, timeout) = self.0 .1.wait_timeout_while(guard, DEADLINE, |permits| *permits == 0).unwrap();
        assert!(!timeout.timed_out(), "the semaphore was not released");
        *guard -= 1;
    }
}

/// Returns [`test_app`], except that `/gate` waits for the semaphore; `begun` counts how often `/gate` was called.
pub fn blocking_app(gate: &Semaphore, begun: &Arc<AtomicUsize>) -> impl Application + 'static {
    let (gate, begun) = (gate.clone(), begun.clone());
    move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        if environ.path() == &b"/gate"[..] {
            begun.fetch_add(1, SeqCst);
            gate.acquire();
        }
        test_app(environ, start_response)
    }
}
