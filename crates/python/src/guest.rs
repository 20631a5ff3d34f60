//! A server that is the guest of gevent's or eventlet's hub, as `amboss/_greenlets.py` drives it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amboss::{GuestEvents, Log, ServeEnd, Server, ShutdownHandle};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::from_serve_error;
use crate::runtime::ffi::keep_data_stacks;
use crate::runtime::sync::lock;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::application::AfterCall;
use crate::wsgi::request_handler::{DeferredLog, DeferredLogs};
use crate::wsgi::task::{Task, TaskHost};

/// What a guest needs besides its server.
pub(crate) struct GuestParts {
    pub(crate) host: Arc<TaskHost>,
    pub(crate) logs: Arc<DeferredLogs>,
    pub(crate) watchdog: Option<Arc<Watchdog>>,
    /// Runs in the thread of the hub after requests have ended.
    pub(crate) after_requests: Option<AfterCall>,
    /// The maximum number of requests that run at once.
    pub(crate) connections: usize,
    /// Whether failures are explained by the debugger's pages.
    pub(crate) use_debugger: bool,
}

/// A server that is the guest of a hub. Its methods work in the thread of the hub only.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Guest {
    parts: GuestParts,
    shutdown: ShutdownHandle,
    log: Arc<dyn Log>,
    graceful_timeout: Duration,
    /// Dropped when the server has stopped.
    end: Mutex<Option<ServeEnd>>,
}

/// What one poll has found: the requests that have arrived, those whose greenlets can continue, the requests to log, the
/// time in seconds until the next poll, whether there is more to poll for now, and whether the server has stopped.
type Polled = (Vec<Py<Task>>, Vec<Py<Task>>, Vec<DeferredLog>, Option<f64>, bool, bool);

impl Guest {
    /// Makes a guest of a server. `end` follows when it has stopped.
    pub(crate) fn new(py: Python<'_>, server: Server, parts: GuestParts, end: ServeEnd) -> PyResult<Guest> {
        let (shutdown, log) = (server.shutdown_handle(), server.settings().log.clone());
        let graceful_timeout = server.settings().timeouts.shutdown;
        parts.logs.activate();
        keep_data_stacks(py);
        parts.host.set_guest(Some(server.into_guest().map_err(|error| from_serve_error(py, error))?));
        Ok(Guest { parts, shutdown, log, graceful_timeout, end: Mutex::new(Some(end)) })
    }
}

#[pymethods]
impl Guest {
    /// The library whose hub drives the server.
    #[getter]
    fn library(&self) -> &'static str {
        self.parts.host.library
    }

    /// How long running requests may take when the server stops, in seconds.
    #[getter]
    fn graceful_timeout(&self) -> f64 {
        self.graceful_timeout.as_secs_f64()
    }

    #[getter]
    fn use_debugger(&self) -> bool {
        self.parts.use_debugger
    }

    /// Makes the calling thread the one of the hub. `thread` is its key in `sys._current_frames()`. Returns how often `beat`
    /// has to be called, in seconds; None for never.
    fn begin(&self, thread: u64) -> Option<f64> {
        self.parts.host.enter_thread();
        let watchdog = self.parts.watchdog.as_ref()?;
        watchdog.watch_hub(thread).map(|interval| interval.as_secs_f64())
    }

    /// Notes that the hub runs, for `--timeout`.
    fn beat(&self) {
        if let Some(watchdog) = &self.parts.watchdog {
            watchdog.beat();
        }
    }

    /// The descriptor that is readable while `poll` has something to do.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.parts.host.guest()?.descriptor())
    }

    /// Does what can be done without waiting.
    fn poll(&self, py: Python<'_>) -> PyResult<Polled> {
        let host = &self.parts.host;
        // A request runs before the next one is read, while its objects are in the processor's caches.
        let GuestEvents { resumed, timeout, has_more, is_over } = host.guest()?.poll(|| host.has_arrived())?;
        if host.take_ended() {
            if let Some(after_requests) = &self.parts.after_requests {
                after_requests(py);
            }
        }
        let resumed = host.running(py, &resumed);
        let timeout = timeout.map(|timeout| timeout.as_secs_f64());
        Ok((host.take_arrived(), resumed, self.parts.logs.take(), timeout, has_more, is_over))
    }

    /// Whether there is something to do that the descriptor does not show.
    fn is_pending(&self) -> PyResult<bool> {
        Ok(self.parts.host.guest()?.is_pending())
    }

    /// Makes the server stop when the running requests are done.
    fn shutdown(&self) {
        self.shutdown.shutdown();
    }

    /// Whether the server has been told to stop.
    #[getter]
    fn is_stopping(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// Writes an error to the server's log.
    fn log_error(&self, text: Bound<'_, PyString>) {
        self.log.error(&text.to_string_lossy());
    }

    /// Ends what the server has begun, after `poll` has said that it has stopped.
    fn finish(&self) {
        self.log.sync();
        self.parts.host.set_guest(None);
        let end = lock(&self.end).take();
        drop(end);
    }
}
