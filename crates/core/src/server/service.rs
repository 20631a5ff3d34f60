//! The state that all connections of a server share: the application, the settings, the clock, and whether the server
//! is stopping.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::body_store::BodyBudget;
use super::handler::RequestHandler;
use super::log::panic_safe::PanicSafeLog;
use super::log::Log;
use super::panics::{self, Panic};
use super::request_id::RequestIds;
use super::scheduler::Scheduler;
use super::settings::Settings;
use super::sync::lock;
use crate::http::{server_line, HeadEnding, RepeatedEnd, ResponseContext, ResponseHead, ResponsePlan};
use crate::wsgi::{AppError, Application, ServerInfo};

thread_local! {
    static REPEATED_END: RefCell<RepeatedEnd> = RefCell::default();
}

/// A failure of the application that ends the server ([`Settings::passthrough_errors`]).
pub(super) enum Failure {
    Error(AppError),
    Panic(Box<Panic>),
}

pub(crate) struct Service {
    pub(super) app: Arc<dyn Application>,
    pub(crate) settings: Settings,
    pub(super) info: ServerInfo,
    /// The line of the `Server` field; empty without one.
    server_line: Arc<str>,
    /// Whether each request is the last of its connection, because the server is stopping or serves only one request.
    pub(super) last_request: AtomicBool,
    /// Whether plain connections are exempt from `last_request`, because they continue in another process.
    pub(super) hands_over: AtomicBool,
    pub(super) failure: Mutex<Option<Failure>>,
    /// Bounds the memory and disk space of all collected bodies together.
    pub(super) body_budget: Arc<BodyBudget>,
    /// Makes the IDs of requests; `None` if they get none.
    pub(super) request_ids: Option<RequestIds>,
    epoch: Instant,
    /// Unix time in seconds, cached: a loop reads the clock once per batch, and again after a slow application call.
    /// Reading it for each response took an eighth of the time that the server itself spends on a pipelined request.
    seconds: AtomicU64,
    wants_access: bool,
}

impl Service {
    pub(crate) fn new(app: Arc<dyn Application>, settings: Settings, mut info: ServerInfo) -> Service {
        panics::install_hook();
        let settings = Settings { log: Arc::new(PanicSafeLog::new(settings.log)), ..settings };
        let version = settings.handler.server_version();
        info.software = version.unwrap_or_default().to_owned();
        let server_line = version.map_or_else(String::new, server_line).into();
        Service {
            wants_access: settings.log.wants_access(),
            body_budget: BodyBudget::new(&settings.limits),
            request_ids: settings.request_ids.then(RequestIds::new),
            app,
            settings,
            info,
            server_line,
            last_request: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            failure: Mutex::new(None),
            epoch: Instant::now(),
            seconds: AtomicU64::new(unix_seconds()),
        }
    }

    /// Returns the number of milliseconds since the server was made.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Ends a blocking call that began with [`Scheduler::enter_blocking`], and updates the cached time if the call may
    /// have been slow.
    #[inline]
    pub(super) fn exit_blocking(&self, scheduler: &mut dyn Scheduler) {
        if scheduler.exit_blocking() {
            self.update_date();
        }
    }

    /// Reads the clock, for the `Date` of the responses that follow.
    #[inline]
    pub(super) fn update_date(&self) {
        self.seconds.store(unix_seconds(), Ordering::Relaxed);
    }

    /// Whether a request is the last of its connection. `plain`: there is no transport layer below HTTP.
    #[inline]
    pub(super) fn is_last_request(&self, plain: bool) -> bool {
        self.last_request.load(Ordering::Acquire) && !(plain && self.hands_over.load(Ordering::Relaxed))
    }

    /// Makes each request from now on the last of its connection.
    pub(super) fn begin_stop(&self, hands_over: bool) {
        self.hands_over.store(hands_over, Ordering::Relaxed);
        // The release ordering makes the store above visible to every thread that sees this one.
        self.last_request.store(true, Ordering::Release);
    }

    /// Returns the current time if requests are logged, else `None`.
    #[inline]
    pub(super) fn start_timer(&self) -> Option<Instant> {
        self.wants_access.then(Instant::now)
    }

    /// Completes a head with `Date`, `Server` and framing. Not inlined, so that the look-up of the thread's value is.
    #[inline(never)]
    pub(super) fn finish_head(
        &self,
        head: &ResponseHead,
        out: &mut Vec<u8>,
        context: ResponseContext,
        length: Option<u64>,
    ) -> ResponsePlan {
        let second = self.seconds.load(Ordering::Relaxed);
        let ending = HeadEnding { head, context, length, second, server_line: &self.server_line };
        REPEATED_END.with_borrow_mut(|repeated| repeated.finish(out, &ending))
    }

    /// Calls a hook of the request handler. The hook is code of the embedder, and the errors passed to it are formatted
    /// by code of the application. A panic in either is logged and has no other effect.
    #[inline]
    pub(super) fn with_handler(&self, hook: impl FnOnce(&dyn RequestHandler, &dyn Log)) {
        let Settings { handler, log, .. } = &self.settings;
        if let Err(panic) = panics::catch(|| hook(&**handler, &**log)) {
            log.error(&format!("panic in the request handler or an error's description: {}", panic.report));
        }
    }

    /// Calls a hook of the request handler and returns its result. If the hook panics, logs the panic and returns
    /// `default`.
    pub(super) fn ask_handler<R>(&self, default: R, question: impl FnOnce(&dyn RequestHandler) -> R) -> R {
        panics::catch(|| question(&*self.settings.handler)).unwrap_or_else(|panic| {
            self.settings.log.error(&format!("panic in the request handler: {}", panic.report));
            default
        })
    }

    /// Records a failure that `serve_forever` then returns or resumes. Returns false if the settings ask for a 500
    /// response instead.
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
