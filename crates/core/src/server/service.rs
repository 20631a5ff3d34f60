//! What every connection of a server shares: the application, the settings, the clock, the wish to stop.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::handler::RequestHandler;
use super::log::Log;
use super::panics::{self, Panic};
use super::settings::Settings;
use crate::http::{imf_fixdate, Answering, ResponseHead, ResponsePlan};
use crate::wsgi::{AppError, Application, ServerInfo};

/// An application's failure that is to end the server (`passthrough_errors`).
pub(super) enum Failure {
    Error(AppError),
    Panic(Panic),
}

pub(crate) struct Service {
    pub(super) app: Arc<dyn Application>,
    pub(crate) settings: Settings,
    pub(super) info: ServerInfo,
    pub(super) server_field: Option<String>,
    /// No further request on any connection: the server stops, or serves just one.
    pub(super) last_request: AtomicBool,
    pub(super) failure: Mutex<Option<Failure>>,
    epoch: Instant,
    wants_access: bool,
}

impl Service {
    pub(crate) fn new(app: Arc<dyn Application>, settings: Settings, mut info: ServerInfo) -> Service {
        panics::install_hook();
        let server_field = settings.handler.server_version().map(str::to_owned);
        info.software = server_field.clone().unwrap_or_default();
        Service {
            wants_access: settings.handler.wants_access(&*settings.log),
            app,
            settings,
            info,
            server_field,
            last_request: AtomicBool::new(false),
            failure: Mutex::new(None),
            epoch: Instant::now(),
        }
    }

    /// Milliseconds since the server was made.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    #[inline]
    pub(super) fn is_last_request(&self) -> bool {
        self.last_request.load(Ordering::Relaxed)
    }

    /// When a request began, if anybody will ask.
    #[inline]
    pub(super) fn stopwatch(&self) -> Option<Instant> {
        self.wants_access.then(Instant::now)
    }

    /// Completes a head with `Date`, `Server` and framing.
    #[inline]
    pub(super) fn finish_head(
        &self,
        head: &ResponseHead,
        out: &mut Vec<u8>,
        answering: Answering,
        length: Option<u64>,
    ) -> ResponsePlan {
        head.finish(out, answering, length, Some(&date()), self.server_field.as_deref())
    }

    /// Calls a hook of the request handler. It is the embedder's code, and the errors it is told of describe themselves
    /// with the application's: a panic there is logged, and changes nothing else.
    #[inline]
    pub(super) fn tell(&self, hook: impl FnOnce(&dyn RequestHandler, &dyn Log)) {
        let Settings { handler, log, .. } = &self.settings;
        if let Err(panic) = panics::catch(|| hook(&**handler, &**log)) {
            log.error(&format!("panic in the request handler or an error's description: {}", panic.report));
        }
    }

    /// Keeps a failure for `serve_forever` to pass on; false when failures are answered instead.
    pub(super) fn pass_through(&self, failure: impl FnOnce() -> Failure) -> bool {
        if !self.settings.passthrough_errors {
            return false;
        }
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert_with(failure);
        true
    }
}

/// The current date, formatted once a second in each thread.
#[inline]
fn date() -> [u8; 29] {
    thread_local! {
        static DATE: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (second, text) = DATE.get();
    if second == now {
        return text;
    }
    let text = imf_fixdate(now);
    DATE.set((now, text));
    text
}
