//! `request_handler`: what a user can change between server and application.

use super::log::{AccessRecord, CloseReason, Log};
use crate::http::Head;
use crate::wsgi::{AppError, Environ, Peer};

/// When the application is called for a request with a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// When the body is complete. While it arrives it takes no thread, and it lies in memory or in a temporary file
    /// ([`Limits::collected_body`](super::Limits::collected_body), [`Limits::body_memory`](super::Limits::body_memory)). Limits and the expectation are checked first,
    /// `100 Continue` is sent at once, and a body that is cut short or malformed never reaches the application. A chunked
    /// body has a `CONTENT_LENGTH` and no `HTTP_TRANSFER_ENCODING`.
    #[default]
    Collect,
    /// When the head is complete. The application reads the body as it arrives, which takes a thread for as long as that
    /// takes: it does not count among [`Settings::threads`](super::Settings::threads) while it waits for the client, except where only one request
    /// may run at a time. `100 Continue` is sent with the first read.
    Stream,
}

/// Hooks around each request, with defaults that do what the server does by itself (the seeds' `request_handler`).
///
/// ```
/// use amboss_core::{Environ, RequestHandler};
///
/// struct Branded;
///
/// impl RequestHandler for Branded {
///     fn make_environ(&self, environ: &mut Environ<'_>) {
///         environ.set("myproject.stage", "development");
///     }
///     fn server_version(&self) -> Option<&str> {
///         Some("MyProject/1.0")
///     }
/// }
/// ```
pub trait RequestHandler: Send + Sync {
    /// Called with the finished environ, before the application is.
    fn make_environ(&self, environ: &mut Environ<'_>) {
        let _ = environ;
    }

    /// Is the body of this request complete before the application is called, or read as it arrives? Called for each
    /// request with a body, perhaps more than once, with [`Settings::body_mode`](super::Settings::body_mode). The head is
    /// what was sent: [`Head::method`], [`Head::target`] and its fields.
    ///
    /// ```
    /// use amboss_core::http::Head;
    /// use amboss_core::{BodyMode, RequestHandler};
    ///
    /// struct Uploads;
    ///
    /// impl RequestHandler for Uploads {
    ///     fn body_mode(&self, head: Head<'_>, default: BodyMode) -> BodyMode {
    ///         if head.target().starts_with(b"/upload/") { BodyMode::Stream } else { default }
    ///     }
    /// }
    /// ```
    fn body_mode(&self, head: Head<'_>, default: BodyMode) -> BodyMode {
        let _ = head;
        default
    }

    /// Called when a request has been answered or refused.
    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        log.access(record);
    }

    /// The `Server` field and `SERVER_SOFTWARE`; `None` sends no field. Read once, when the server is made.
    fn server_version(&self) -> Option<&str> {
        Some(concat!("amboss/", env!("CARGO_PKG_VERSION")))
    }

    /// Called when the application failed: with its error, or with a description of its panic and a backtrace.
    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        log.error(&format!("error on \"{}\": {error}", request_line.escape_ascii()));
    }

    /// Called when a connection ends for another reason than that both sides were done.
    fn connection_dropped(&self, reason: CloseReason, peer: Peer, log: &dyn Log) {
        if reason.is_worth_a_line() {
            log.error(&format!("connection with {peer}: {reason}"));
        }
    }

    /// Does anybody read what [`log_request`](RequestHandler::log_request) gets? When false, requests are not timed.
    fn wants_access(&self, log: &dyn Log) -> bool {
        log.wants_access()
    }
}

pub(crate) struct DefaultHandler;

impl RequestHandler for DefaultHandler {}
