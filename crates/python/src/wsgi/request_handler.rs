//! Connects the user's `WSGIRequestHandler` class to the server's hooks for logging and errors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amboss::{AccessRecord, AppError, Log, RequestHandler};
use pyo3::prelude::*;

use crate::errors::{format_traceback, AppException};
use crate::runtime::ffi::attach;
use crate::runtime::sync::lock;
use crate::wsgi::connection_state::ConnectionState;

/// The server's hooks: they call Python if the user has a handler class.
pub(crate) struct PyRequestHandler {
    /// Whether the user has passed a handler class.
    pub(crate) is_custom: bool,
    pub(crate) deferred: Arc<DeferredLogs>,
    /// The value of the Server field; `None` for no such field.
    pub(crate) server_version: Option<String>,
}

/// Requests that user's handlers have to log where Python code may run: with gevent and eventlet, in a greenlet.
#[derive(Default)]
pub(crate) struct DeferredLogs {
    is_active: AtomicBool,
    entries: Mutex<Vec<DeferredLog>>,
}

/// A request handler, with the status and the size of the response.
pub(crate) type DeferredLog = (Py<PyAny>, u16, u64);

impl DeferredLogs {
    /// Keeps the requests that are logged from now on, for [`take`](DeferredLogs::take).
    pub(crate) fn activate(&self) {
        self.is_active.store(true, Ordering::Relaxed);
    }

    /// Takes the requests that have been kept.
    pub(crate) fn take(&self) -> Vec<DeferredLog> {
        std::mem::take(&mut *lock(&self.entries))
    }
}

/// The value of the Server field without a handler class.
pub(crate) const SERVER_VERSION: &str = concat!("amboss/", env!("CARGO_PKG_VERSION"));

/// A log of a server whose handler class logs requests itself: requests are timed and reported to the handler, even if the
/// inner log discards them.
pub(crate) struct HandlerLog(pub(crate) Arc<dyn Log>);

impl Log for HandlerLog {
    fn access(&self, record: &AccessRecord<'_>) {
        self.0.access(record);
    }

    fn error(&self, message: &str) {
        self.0.error(message);
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        self.0.flush(idle)
    }

    fn sync(&self) {
        self.0.sync();
    }
}

impl RequestHandler for PyRequestHandler {
    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        // A request that the server has rejected has no handler.
        let answered = record.connection.filter(|_| self.is_custom && record.head.is_some());
        let state = answered.and_then(|connection| connection.get::<ConnectionState>());
        let Some(handler) = state.and_then(ConnectionState::pop_handler) else { return log.access(record) };
        if self.deferred.is_active.load(Ordering::Relaxed) {
            return lock(&self.deferred.entries).push((handler, record.status, record.bytes));
        }
        attach(|py| {
            let logged = handler.bind(py).call_method1("log_request", (record.status, record.bytes));
            if let Err(error) = logged {
                log.error(&format!("error in log_request: {}", format_traceback(py, &error)));
            }
        });
    }

    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        if error.downcast_ref::<AppException>().is_some_and(|exception| exception.is_disconnect) {
            return;
        }
        log.error(&format!("error on \"{}\": {error}", request_line.escape_ascii()));
    }

    fn server_version(&self) -> Option<&str> {
        self.server_version.as_deref()
    }
}
