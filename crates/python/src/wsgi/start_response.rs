//! `start_response` and `write` of one request.

use std::sync::atomic::{AtomicBool, Ordering};

use amboss::{AppError, StartErrorKind};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::errors::from_start_error;
use crate::runtime::ffi::ScopedBorrow;
use crate::runtime::finalize::detach;
use crate::worker::watchdog::ClientWaitTimer;
use crate::wsgi::convert::body_block;
use crate::wsgi::head::{answered, exception_of, from_begin_error, with_head};
use crate::wsgi::input_progress::InputProgress;

/// The callable that an application gets for a request. Called with a status and headers, it is `start_response` and
/// returns itself; called with bytes, it is `write`. One object for both saves an allocation per request.
#[pyclass(frozen, module = "amboss._amboss", name = "StartResponse")]
pub(crate) struct StartResponse {
    /// The server's own `start_response` and the request body, during the application's call.
    pub(crate) server: ScopedBorrow,
    pub(crate) progress: InputProgress,
    /// Whether the last status was 101.
    switching_protocols: AtomicBool,
    /// Excludes waits for the client from the request's time; `None` if requests are not timed.
    client_wait_timer: Option<ClientWaitTimer>,
}

impl StartResponse {
    pub(crate) fn new(progress: InputProgress, client_wait_timer: Option<ClientWaitTimer>) -> StartResponse {
        StartResponse {
            server: ScopedBorrow::default(),
            progress,
            switching_protocols: AtomicBool::new(false),
            client_wait_timer,
        }
    }

    /// Runs something that may wait for the client; the time does not count towards `--timeout`.
    pub(crate) fn with_client_wait<R>(&self, run: impl FnOnce() -> R) -> R {
        let _wait = self.client_wait_timer.as_ref().map(ClientWaitTimer::start_wait);
        run()
    }

    /// Stops timing the request: on the connection's socket, waiting for the client can't be told from other work.
    pub(crate) fn stop_timing(&self) {
        if let Some(timer) = &self.client_wait_timer {
            timer.stop_timing();
        }
    }

    /// Whether the application has responded 101, after which the connection speaks another protocol.
    pub(crate) fn is_switching_protocols(&self) -> bool {
        self.switching_protocols.load(Ordering::Relaxed)
    }

    fn start(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        // The server only needs to know that there was an error; Python keeps the exception.
        let error: Option<AppError> = exc_info.as_ref().map(|_| "replaced".into());
        // After the application's call, the head has been sent or is about to be.
        let too_late = |exc_info: Option<_>| exc_info.map_or_else(|| Ok(answered()), |info| exception_of(&info));
        let begun = with_head(status, headers, |status, fields| {
            let begun = self.server.with(py, |server, _| server.begin(status, fields, error.as_ref()));
            if let Some(Ok(())) = begun {
                self.switching_protocols.store(status.starts_with("101"), Ordering::Relaxed);
            }
            begun
        })?;
        match begun {
            Some(Ok(())) => Ok(()),
            None => Err(too_late(exc_info)?),
            Some(Err(error)) => Err(match error.kind() {
                StartErrorKind::HeadSent => too_late(exc_info)?,
                _ => from_begin_error(&error),
            }),
        }
    }

    /// Sends a block at once. Blocks while the client reads slowly, without the GIL.
    pub(crate) fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = body_block(data)?;
        let bytes = data.as_bytes();
        let write = || self.server.with_detached(|server, _| server.write(bytes));
        let written = detach(py, || self.with_client_wait(write));
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(from_start_error(&error)),
            None => Err(PyRuntimeError::new_err("write was called after the request was answered")),
        }
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, StartResponse>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, StartResponse>> {
        let py = slf.py();
        let mut exc_info = None;
        if let Some(kwargs) = kwargs {
            for (name, value) in kwargs {
                if name.cast::<PyString>().is_ok_and(|name| name == "exc_info") {
                    exc_info = Some(value);
                } else {
                    return Err(PyTypeError::new_err(format!("start_response has no parameter {name}")));
                }
            }
        }
        match args.len() {
            1 if exc_info.is_none() => slf.get().write(py, &args.get_item(0)?)?,
            2 | 3 => {
                if args.len() == 3 {
                    exc_info = Some(args.get_item(2)?);
                }
                let exc_info = exc_info.filter(|info| !info.is_none());
                slf.get().start(py, &args.get_item(0)?, &args.get_item(1)?, exc_info)?;
            }
            _ => {
                return Err(PyTypeError::new_err(
                    "start_response takes a status, a list of headers and optionally exc_info; write takes bytes",
                ))
            }
        }
        Ok(slf.clone())
    }
}
