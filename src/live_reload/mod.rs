//! Live reload: open pages reload in the browser when the code has been replaced.
//!
//! A small script is appended to HTML responses. Its URL carries the [`BuildId`] of the code that made the page. The
//! script listens to server-sent events at [`EVENTS_PATH`], where the server names the code that is running; when that
//! differs, the script reloads the page.

mod build_id;
mod event_stream;
mod html_injector;
mod script_tag;
mod unlogged;

use std::sync::Arc;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Concurrency, Environ, Settings, StartResponse};

#[cfg(all(unix, feature = "reload"))]
pub(crate) use build_id::start_timestamp;
pub(crate) use build_id::BuildId;
use event_stream::EventStreams;
pub(crate) use event_stream::ShutdownSlot;
use html_injector::HtmlInjector;
use script_tag::ScriptTag;
use unlogged::Unlogged;

/// Where pages listen for the running code.
const EVENTS_PATH: &[u8] = b"/__amboss__/live";
/// Where pages load the script from.
const SCRIPT_PATH: &[u8] = b"/__amboss__/live.js";
const SCRIPT: &str = include_str!("live.js");

/// The key in the environ by which an application learns that its pages load a script. A Content-Security-Policy that
/// allows scripts from `'self'` is enough.
pub(crate) const ENVIRON_KEY: &str = "amboss.live";

/// Middleware that adds live reload to an application.
pub(crate) struct LiveReload {
    app: Arc<dyn Application>,
    build: BuildId,
    streams: EventStreams,
}

impl LiveReload {
    /// Wraps `app` for a server that runs requests as `concurrency` says. Requests of the script are not logged.
    pub(crate) fn new(
        app: Arc<dyn Application>,
        build: BuildId,
        concurrency: Concurrency,
        settings: &mut Settings,
    ) -> LiveReload {
        settings.handler = Arc::new(Unlogged(settings.handler.clone()));
        LiveReload { app, build, streams: EventStreams::new(concurrency, settings.runtime.threads) }
    }

    /// Returns the slot for the handle of the server that will run this middleware.
    pub(crate) fn shutdown_slot(&self) -> ShutdownSlot {
        self.streams.shutdown_slot()
    }
}

impl Application for LiveReload {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let path = environ.path().into_owned();
        if path == EVENTS_PATH {
            let fields = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")];
            start_response.start("200 OK", &fields)?;
            return Ok(self.streams.open(&self.build.id));
        }
        if path == SCRIPT_PATH {
            let fields = [("Content-Type", "text/javascript; charset=utf-8"), ("Cache-Control", "no-store")];
            start_response.start("200 OK", &fields)?;
            return Ok(Body::from(SCRIPT));
        }
        environ.set(ENVIRON_KEY, "true");
        // A response to a script is not a page, whatever its type. Older browsers do not send this field.
        let destination = environ.text("HTTP_SEC_FETCH_DEST");
        let for_page = matches!(&*destination, "" | "document" | "iframe" | "frame");
        if self.build.is_error_page || !for_page {
            return self.app.call(environ, start_response);
        }
        // The script can't be added to a compressed page.
        environ.remove("HTTP_ACCEPT_ENCODING");
        let script = ScriptTag::new(format!("/__amboss__/live.js?{}", self.build.id));
        let mut injector = HtmlInjector::new(start_response, script);
        let body = self.app.call(environ, &mut injector)?;
        Ok(match injector.into_script() {
            Some(script) => body.followed_by_with(move |first| script.after(first)),
            None => body,
        })
    }

    /// The script is immediate. The events are not: their stream waits for the next change.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let path = head.target().split(|&byte| byte == b'?').next().unwrap_or_default();
        path == SCRIPT_PATH || path != EVENTS_PATH && self.app.is_immediate(head, before_blocking)
    }
}
