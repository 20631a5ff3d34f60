//! What every connection of a server shares: the application, the settings, the clock, the wish to stop.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::body_store::BodyBudget;
use super::connection::Turn;
use super::handler::RequestHandler;
use super::log::Log;
use super::panics::{self, Panic, Shielded};
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
    /// Except on plain connections, which go on in another process.
    pub(super) hands_over: AtomicBool,
    pub(super) failure: Mutex<Option<Failure>>,
    /// What collected bodies take.
    pub(super) body_budget: Arc<BodyBudget>,
    epoch: Instant,
    /// Unix time in seconds, as of the last look at the clock: a loop looks once a batch, and whoever ran an
    /// application for long looks again. Reading the clock for each answer cost an eighth of our share of a pipelined
    /// request.
    seconds: AtomicU64,
    wants_access: bool,
}

impl Service {
    pub(crate) fn new(app: Arc<dyn Application>, settings: Settings, mut info: ServerInfo) -> Service {
        panics::install_hook();
        let settings = Settings { log: Arc::new(Shielded::new(settings.log)), ..settings };
        let server_field = settings.handler.server_version().map(str::to_owned);
        info.software = server_field.clone().unwrap_or_default();
        Service {
            wants_access: settings.handler.wants_access(&*settings.log),
            body_budget: BodyBudget::new(&settings.limits),
            app,
            settings,
            info,
            server_field,
            last_request: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            failure: Mutex::new(None),
            epoch: Instant::now(),
            seconds: AtomicU64::new(unix_seconds()),
        }
    }

    /// Milliseconds since the server was made.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// An application's code came back.
    #[inline]
    pub(super) fn back(&self, turn: &mut dyn Turn) {
        if turn.back() {
            self.look_at_clock();
        }
    }

    /// Looks at the clock for the dates of the answers that follow.
    #[inline]
    pub(super) fn look_at_clock(&self) {
        self.seconds.store(unix_seconds(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_last_request(&self, plain: bool) -> bool {
        self.last_request.load(Ordering::Acquire) && !(plain && self.hands_over.load(Ordering::Relaxed))
    }

    /// From now on, requests are the last of their connections.
    pub(super) fn begin_stop(&self, hands_over: bool) {
        self.hands_over.store(hands_over, Ordering::Relaxed);
        // Whoever sees this sees the other.
        self.last_request.store(true, Ordering::Release);
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
        head.finish(
            out,
            answering,
            length,
            Some(&date(self.seconds.load(Ordering::Relaxed))),
            self.server_field.as_deref(),
        )
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

    /// Asks the request handler something; a panic there is logged, and the answer is `default`.
    pub(super) fn ask<R>(&self, default: R, question: impl FnOnce(&dyn RequestHandler) -> R) -> R {
        panics::catch(|| question(&*self.settings.handler)).unwrap_or_else(|panic| {
            self.settings.log.error(&format!("panic in the request handler: {}", panic.report));
            default
        })
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

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The date, formatted once a second in each thread.
#[inline]
fn date(now: u64) -> [u8; 29] {
    thread_local! {
        static DATE: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let (second, text) = DATE.get();
    if second == now {
        return text;
    }
    let text = imf_fixdate(now);
    DATE.set((now, text));
    text
}
