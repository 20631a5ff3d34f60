//! Open pages that load again when the code has been replaced.
//!
//! A small script goes to the end of HTML responses, with the name of the code that made the page. It listens to
//! [`PATH`], where the server says which code runs; when that is another one, the page is loaded again.

mod pages;
mod script;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amboss_core::{
    AccessRecord, AppError, Application, Body, CloseReason, Concurrency, Environ, Log, Peer, RequestHandler, Settings,
    ShutdownHandle, StartResponse,
};

use pages::{Page, Pages};
use script::Script;

/// What begins like this is not the application's.
const PREFIX: &[u8] = b"/__amboss__/";
/// Where pages listen.
const PATH: &[u8] = b"/__amboss__/live";
const SCRIPT_PATH: &[u8] = b"/__amboss__/live.js";
const SCRIPT: &str = include_str!("live/live.js");

/// Set for applications that say which scripts may run in their pages: `'self'` is enough.
pub(crate) const KEY: &str = "amboss.live";

/// How often an open page's stream looks whether the server stops, so that no stop waits for an open page.
const LOOK: Duration = Duration::from_millis(100);
/// Looks between two signs of life, by which a client that has left is noticed: five seconds.
const SIGN: u32 = 50;
/// When a page asks again that got no stream: often enough to be there when one looks up, in milliseconds.
const ASK_AGAIN: u32 = 1000;
/// A stream holds a thread; so many of them are for something else.
const THREADS_A_STREAM: usize = 4;

/// The code that serves.
pub(crate) struct Code {
    /// Its name, of letters, digits and `-`. Processes that serve the same code beside each other share it.
    pub(crate) id: String,
    /// It stands in for code that is broken, and its pages look for themselves whether that is mended.
    pub(crate) is_error_page: bool,
}

impl Code {
    /// What no supervisor has counted.
    pub(crate) fn of_this_process() -> Code {
        Code { id: format!("{}-{}", std::process::id(), stamp()), is_error_page: false }
    }
}

/// Tells one start from all others.
pub(crate) fn stamp() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// Middleware around an application whose pages are to load again.
pub(crate) struct Live {
    app: Arc<dyn Application>,
    code: Code,
    /// How many more pages may hold a stream.
    free: Arc<AtomicUsize>,
    stop: Stop,
}

/// Filled in when the server exists.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<OnceLock<ShutdownHandle>>);

impl Stop {
    pub(crate) fn set(&self, handle: ShutdownHandle) {
        let _ = self.0.set(handle);
    }

    fn is_requested(&self) -> bool {
        self.0.get().is_some_and(ShutdownHandle::is_requested)
    }
}

impl Live {
    /// Around `app`, for a server that runs requests like this.
    pub(crate) fn new(
        app: Arc<dyn Application>,
        code: Code,
        concurrency: Concurrency,
        settings: &mut Settings,
    ) -> Live {
        settings.handler = Arc::new(Unlogged(settings.handler.clone()));
        let free = match concurrency {
            Concurrency::Threads => settings.threads / THREADS_A_STREAM,
            // It would be the one request that runs, or hold a whole process.
            _ => 0,
        };
        Live { app, code, free: Arc::new(AtomicUsize::new(free)), stop: Stop::default() }
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Which code runs here, for as long as the page is open and the server runs; or once, when that would cost too
    /// much.
    fn listen(&self) -> Body {
        let Some(place) = Place::take(&self.free) else {
            return Body::from(format!("retry: {ASK_AGAIN}\ndata: {}\n\n", self.code.id));
        };
        let mut first = Some(format!("retry: 200\ndata: {}\n\n", self.code.id).into_bytes());
        let stop = self.stop.clone();
        Body::iter(std::iter::from_fn(move || {
            let _place = &place;
            if let Some(first) = first.take() {
                return Some(first);
            }
            for _ in 0..SIGN {
                if stop.is_requested() {
                    return None;
                }
                std::thread::sleep(LOOK);
            }
            Some(b": still here\n\n".to_vec())
        }))
    }
}

/// A stream's permission to hold a thread; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(free: &Arc<AtomicUsize>) -> Option<Place> {
        let took = free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        took.is_ok().then(|| Place(free.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Application for Live {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.path().into_owned();
        if path == PATH {
            let fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")];
            start_response.start("200 OK", &fields)?;
            return Ok(self.listen());
        }
        if path == SCRIPT_PATH {
            let fields = [("Content-Type", "text/javascript; charset=utf-8"), ("Cache-Control", "no-store")];
            start_response.start("200 OK", &fields)?;
            return Ok(Body::from(SCRIPT));
        }
        environ.set(KEY, "true");
        // What a script asks for is no page, whatever its type; older browsers don't say who asks.
        let asked_by = environ.text("HTTP_SEC_FETCH_DEST");
        let for_page = matches!(&*asked_by, "" | "document" | "iframe" | "frame");
        if self.code.is_error_page || !for_page {
            return self.app.call(environ, start_response);
        }
        let script = Script::new(format!("/__amboss__/live.js?{}", self.code.id));
        let mut pages = Pages::new(start_response, script.len());
        let body = self.app.call(environ, &mut pages)?;
        let Some(Page { encoding, mut start }) = pages.page() else { return Ok(body) };
        Ok(body.followed_by_with(move |first| {
            start.extend_from_slice(first);
            script.encoded(encoding.or_marked(&start))
        }))
    }
}

/// The handler that was there, without access lines for what pages ask behind their readers' backs.
struct Unlogged(Arc<dyn RequestHandler>);

impl RequestHandler for Unlogged {
    fn make_environ(&self, environ: &mut Environ<'_>) {
        self.0.make_environ(environ);
    }

    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        if !record.target.starts_with(PREFIX) {
            self.0.log_request(record, log);
        }
    }

    fn server_version(&self) -> Option<&str> {
        self.0.server_version()
    }

    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        self.0.handle_error(error, request_line, log);
    }

    fn connection_dropped(&self, reason: CloseReason, peer: Peer, log: &dyn Log) {
        self.0.connection_dropped(reason, peer, log);
    }

    fn wants_access(&self, log: &dyn Log) -> bool {
        self.0.wants_access(log)
    }
}
