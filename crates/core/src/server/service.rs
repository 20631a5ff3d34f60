//! What all connections of a server share: the application, the settings, the clock, and whether the server stops.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::body_store::BodyBudget;
use super::handler::RequestHandler;
use super::log::panic_safe::PanicSafeLog;
use super::log::Log;
use super::panics::{self, Panic};
use super::scheduler::Scheduler;
use super::settings::Settings;
use super::sync::lock;
use crate::http::{imf_fixdate, ResponseContext, ResponseHead, ResponsePlan};
use crate::wsgi::{AppError, Application, ServerInfo};

/// A failure of the application that ends the server ([`Settings::passthrough_errors`]).
pub(super) enum Failure {
    Error(AppError),
    Panic(Panic),
}

pub(crate) struct Service {
    pub(super) app: Arc<dyn Application>,
    pub(crate) settings: Settings,
    pub(super) info: ServerInfo,
    pub(super) server_field: Option<String>,
    /// Whether each request is the last of its connection: the server stops, or serves just one request.
    pub(super) last_request: AtomicBool,
    /// Whether plain connections are excepted from that: they go on in another process.
    pub(super) hands_over: AtomicBool,
    pub(super) failure: Mutex<Option<Failure>>,
    /// Bounds what all collected bodies take.
    pub(super) body_budget: Arc<BodyBudget>,
    epoch: Instant,
    /// Unix time in seconds, as of the last look at the clock: a loop looks once a batch, and again after a slow call of
    /// the application. Reading the clock for each response cost an eighth of the server's share of a pipelined request.
    seconds: AtomicU64,
    wants_access: bool,
}

impl Service {
    pub(crate) fn new(app: Arc<dyn Application>, settings: Settings, mut info: ServerInfo) -> Service {
        panics::install_hook();
        let settings = Settings { log: Arc::new(PanicSafeLog::new(settings.log)), ..settings };
        let server_field = settings.handler.server_version().map(str::to_owned);
        info.software = server_field.clone().unwrap_or_default();
        Service {
            wants_access: settings.log.wants_access(),
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

    /// Ends a blocking call that [`Scheduler::enter_blocking`] has begun.
    #[inline]
    pub(super) fn exit_blocking(&self, scheduler: &mut dyn Scheduler) {
        if scheduler.exit_blocking() {
            self.update_date();
        }
    }

    /// Looks at the clock, for the dates of the responses that follow.
    #[inline]
    pub(super) fn update_date(&self) {
        self.seconds.store(unix_seconds(), Ordering::Relaxed);
    }

    /// Whether a request is the last of its connection. `plain`: no transport layer stands below HTTP.
    #[inline]
    pub(super) fn is_last_request(&self, plain: bool) -> bool {
        self.last_request.load(Ordering::Acquire) && !(plain && self.hands_over.load(Ordering::Relaxed))
    }

    /// Makes requests the last of their connections from now on.
    pub(super) fn begin_stop(&self, hands_over: bool) {
        self.hands_over.store(hands_over, Ordering::Relaxed);
        // The release makes the store above visible to every thread that sees this one.
        self.last_request.store(true, Ordering::Release);
    }

    /// Starts to time a request, if the log will ask.
    #[inline]
    pub(super) fn start_timer(&self) -> Option<Instant> {
        self.wants_access.then(Instant::now)
    }

    /// Completes a head with `Date`, `Server` and framing.
    #[inline]
    pub(super) fn finish_head(
        &self,
        head: &ResponseHead,
        out: &mut Vec<u8>,
        context: ResponseContext,
        length: Option<u64>,
    ) -> ResponsePlan {
        head.finish(
            out,
            context,
            length,
            Some(&date(self.seconds.load(Ordering::Relaxed))),
            self.server_field.as_deref(),
        )
    }

    /// Calls a hook of the request handler. The hook is the embedder's code, and the errors that it is given describe
    /// themselves with the application's: a panic in it is logged, and changes nothing else.
    #[inline]
    pub(super) fn with_handler(&self, hook: impl FnOnce(&dyn RequestHandler, &dyn Log)) {
        let Settings { handler, log, .. } = &self.settings;
        if let Err(panic) = panics::catch(|| hook(&**handler, &**log)) {
            log.error(&format!("panic in the request handler or an error's description: {}", panic.report));
        }
    }

    /// Asks the request handler a question. A panic in it is logged, and the answer is `default`.
    pub(super) fn ask_handler<R>(&self, default: R, question: impl FnOnce(&dyn RequestHandler) -> R) -> R {
        panics::catch(|| question(&*self.settings.handler)).unwrap_or_else(|panic| {
            self.settings.log.error(&format!("panic in the request handler: {}", panic.report));
            default
        })
    }

    /// Records a failure, which `serve_forever` then passes on. False when the settings ask for a 500 instead.
    pub(super) fn record_failure(&self, failure: impl FnOnce() -> Failure) -> bool {
        if !self.settings.passthrough_errors {
            return false;
        }
        lock(&self.failure).get_or_insert_with(failure);
        true
    }

    /// Whether a failure has been recorded.
    pub(super) fn has_failed(&self) -> bool {
        self.settings.passthrough_errors && lock(&self.failure).is_some()
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The date of a response, formatted once a second in each thread.
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
