//! The user's `WSGIRequestHandler` class, between server and application.

use amboss::{AccessRecord, AppError, Log, RequestHandler};
use pyo3::prelude::*;

use crate::errors::{traceback, Failure};
use crate::runtime::ffi::attach;
use crate::wsgi::environ::Kept;

/// Hooks that end in Python where the user has a class of their own, and in the core's where not.
pub(crate) struct PyHandler {
    pub(crate) custom: bool,
}

impl RequestHandler for PyHandler {
    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        // A request that was refused has met no handler.
        let answered = record.connection.filter(|_| self.custom && record.head.is_some());
        let handler = answered.and_then(|connection| connection.get::<Kept>()).and_then(|kept| {
            let mut handlers = kept.handlers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            handlers.pop_front().flatten()
        });
        let Some(handler) = handler else { return log.access(record) };
        attach(|py| {
            let logged = handler.bind(py).call_method1("log_request", (record.status, record.bytes));
            if let Err(error) = logged {
                log.error(&format!("error in log_request: {}", traceback(py, &error)));
            }
        });
    }

    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        if error.downcast_ref::<Failure>().is_some_and(|failure| failure.is_departure) {
            return;
        }
        log.error(&format!("error on \"{}\": {error}", request_line.escape_ascii()));
    }

    fn server_version(&self) -> Option<&str> {
        Some(concat!("amboss/", env!("CARGO_PKG_VERSION")))
    }

    fn wants_access(&self, log: &dyn Log) -> bool {
        self.custom || log.wants_access()
    }
}
