//! Open pages that load again when the code has been replaced.
//!
//! A small script goes to the end of HTML responses. It listens to [`PATH`], where every process says who it is; when
//! another one answers there after a swap, the page is loaded again.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amboss_core::{AppError, Application, Body, Environ, ShutdownHandle, StartError, StartResponse};

/// Where pages listen.
const PATH: &[u8] = b"/__amboss__/live";
/// How often an open page's stream looks whether the server stops, so that no stop waits for an open page.
const LOOK: Duration = Duration::from_millis(100);
/// Looks between two signs of life, by which a client that has left is noticed: fifteen seconds.
const SIGN: u32 = 150;

const SCRIPT: &[u8] = b"<script>(function(){var first;(function listen(){\
var source=new EventSource('/__amboss__/live');\
source.onmessage=function(event){if(first&&first!==event.data)location.reload();first=event.data};\
source.onerror=function(){if(source.readyState===2)setTimeout(listen,500)}})()})()</script>";

/// Middleware around an application whose pages are to load again.
pub(crate) struct Live {
    app: Arc<dyn Application>,
    /// Says which process, and so which code, answers.
    id: String,
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
    pub(crate) fn new(app: Arc<dyn Application>) -> Live {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Live { app, id: format!("{}-{}", std::process::id(), now.as_nanos()), stop: Stop::default() }
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Who answers here, for as long as the page is open and the server runs.
    fn listen(&self) -> Body {
        let mut first = Some(format!("retry: 200\ndata: {}\n\n", self.id).into_bytes());
        let stop = self.stop.clone();
        Body::iter(std::iter::from_fn(move || {
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

impl Application for Live {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if environ.path() == PATH {
            let fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")];
            start_response.start("200 OK", &fields)?;
            return Ok(self.listen());
        }
        let mut watching = Watching { inner: start_response, page: false };
        let body = self.app.call(environ, &mut watching)?;
        Ok(if watching.page { body.followed_by(SCRIPT.to_vec()) } else { body })
    }
}

/// Notices pages, whose length is no longer what the application says.
struct Watching<'a> {
    inner: &'a mut dyn StartResponse,
    page: bool,
}

impl StartResponse for Watching<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let value = |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let html = value("Content-Type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/html"));
        // What is compressed, a part, or a page for saving is left alone.
        let plain =
            ["Content-Encoding", "Content-Range", "Content-Disposition"].iter().all(|name| value(name).is_none());
        self.page = html && plain;
        if !self.page {
            return self.inner.begin(status, fields, error);
        }
        let rest: Vec<(&str, &[u8])> =
            fields.iter().filter(|(key, _)| !key.eq_ignore_ascii_case("Content-Length")).copied().collect();
        self.inner.begin(status, &rest, error)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.inner.write(data)
    }
}
