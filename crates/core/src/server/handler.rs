//! Hooks between the server and the application: the `request_handler` of `run_simple`.

use super::log::{AccessRecord, CloseReason, Log};
use crate::http::Head;
use crate::wsgi::{AppError, Environ, Peer};

/// The point at which the server calls the application for a request with a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// When the body is complete. An arriving body occupies no thread; it is stored in memory or in a temporary file
    /// ([`Limits::collected_body`](super::Limits::collected_body), [`Limits::body_memory`](super::Limits::body_memory)).
    /// The server checks the limits and the `Expect` field first and sends `100 Continue` at once. A body that is truncated
    /// or malformed never reaches the application. For a chunked body, the environ has `CONTENT_LENGTH` and no
    /// `HTTP_TRANSFER_ENCODING`.
    #[default]
    Collect,
    /// When the head is complete. The application reads the body as it arrives, in a thread that is occupied until the body
    /// is complete. While the thread waits for the client, it does not count towards
    /// [`Runtime::threads`](super::Runtime::threads), unless only one request may run at a time. The first read sends
    /// `100 Continue`.
    Stream,
}

/// Hooks around each request, as the `request_handler` of `run_simple`. The default methods are the server's normal
/// behaviour.
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
    /// Called with the complete environ, before the application is called.
    fn make_environ(&self, environ: &mut Environ<'_>) {
        let _ = environ;
    }

    /// Returns whether the body of this request is complete before the application is called or is read as it arrives.
    /// Called for each request with a body, possibly more than once; `default` is
    /// [`Settings::body_mode`](super::Settings::body_mode). The head is as the client has sent it: [`Head::method`],
    /// [`Head::target`] and the fields.
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

    /// Called when the response to a request is complete, including the server's own error responses.
    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        log.access(record);
    }

    /// Returns the value of the `Server` field and of `SERVER_SOFTWARE`; with `None` the server sends no such field. Called
    /// once, when the server is made.
    fn server_version(&self) -> Option<&str> {
        Some(concat!("amboss/", env!("CARGO_PKG_VERSION")))
    }

    /// Called when the application has failed. `error` is the application's error, or describes its panic with a backtrace.
    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        log.error(&format!("error on \"{}\": {error}", request_line.escape_ascii()));
    }

    /// Called when a connection ends before both sides are done with it.
    fn connection_dropped(&self, reason: CloseReason, peer: Peer, log: &dyn Log) {
        if reason.should_log() {
            log.error(&format!("connection with {peer}: {reason}"));
        }
    }
}

/// The handler with the default methods.
pub(crate) struct DefaultHandler;

impl RequestHandler for DefaultHandler {}
