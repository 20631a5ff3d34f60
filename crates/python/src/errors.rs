//! Exceptions: those of the package, those of the application on their way through the server, and conversions between
//! Rust errors and Python exceptions.

use std::{fmt, io};

use amboss::{AppError, RunError, RunErrorKind, ServeError, ServeErrorKind, StartError, StartErrorKind};
use pyo3::create_exception;
use pyo3::exceptions::{PyConnectionError, PyKeyboardInterrupt, PyOSError, PyRuntimeError, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::runtime::ffi::attach;

create_exception!(
    amboss,
    InputError,
    PyOSError,
    "A request body that is incomplete, malformed, too large or too slow."
);
create_exception!(
    amboss,
    ClientDisconnected,
    PyConnectionError,
    "The client disconnected before it had received the whole response."
);

/// An exception of the application: its traceback for the log, and the exception itself for callers that raise it
/// again.
#[derive(Debug)]
pub(crate) struct AppException {
    pub(crate) error: PyErr,
    /// Whether this is an unhandled [`ClientDisconnected`], which is not an error of the application.
    pub(crate) is_disconnect: bool,
    traceback: String,
    /// The report for the debugger's pages, if it has been made already.
    pub(crate) report: Option<String>,
}

impl AppException {
    pub(crate) fn new(py: Python<'_>, error: PyErr) -> AppException {
        AppException {
            is_disconnect: error.is_instance_of::<ClientDisconnected>(py),
            traceback: format_traceback(py, &error),
            error,
            report: None,
        }
    }

    /// Makes the exception of a greenlet, whose traceback and report Python code has made there.
    pub(crate) fn reported(py: Python<'_>, error: PyErr, traceback: String, report: Option<String>) -> AppException {
        AppException { is_disconnect: error.is_instance_of::<ClientDisconnected>(py), traceback, error, report }
    }

    /// Whether the client has disconnected or has sent a request body that can't be read, and the application has not
    /// handled that.
    pub(crate) fn is_of_client(&self) -> bool {
        self.is_disconnect || attach(|py| self.error.is_instance_of::<InputError>(py))
    }

    /// Whether the exception is the KeyboardInterrupt that CTRL+C raises.
    pub(crate) fn is_interrupt(&self) -> bool {
        attach(|py| self.error.is_instance_of::<PyKeyboardInterrupt>(py))
    }
}

impl fmt::Display for AppException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traceback.trim_end())
    }
}

impl std::error::Error for AppException {}

/// Converts an exception to the server's error type.
pub(crate) fn to_app_error(py: Python<'_>, error: PyErr) -> AppError {
    Box::new(AppException::new(py, error))
}

/// Converts an exception to the error with which a server ends. A SystemExit with a numeric code becomes an exit with
/// that code.
pub(crate) fn to_run_error(error: PyErr) -> RunError {
    attach(|py| {
        let code = error.is_instance_of::<PySystemExit>(py).then(|| error.value(py).getattr("code")?.extract());
        match code {
            Some(Ok(code)) => RunErrorKind::Exit(code).into(),
            Some(PyResult::Err(_)) | None => {
                ServeError::from(ServeErrorKind::Application(to_app_error(py, error))).into()
            }
        }
    })
}

/// Formats the whole traceback, including causes, as Python prints it.
pub(crate) fn format_traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.getattr("format_exception")?.call1((
            error.get_type(py),
            error.value(py),
            error.traceback(py),
        ))?;
        let lines = lines.cast_into::<PyList>()?;
        lines.iter().map(|line| Ok(line.str()?.to_string_lossy().into_owned())).collect()
    };
    // Formatting fails if the exception's own methods raise; the short form always works.
    format().unwrap_or_else(|_| error.to_string())
}

/// Converts an error of `start_response`, `write` or early hints to an exception.
pub(crate) fn from_start_error(error: &StartError) -> PyErr {
    match error.kind() {
        StartErrorKind::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            ClientDisconnected::new_err("the client did not read the response in time")
        }
        StartErrorKind::Io(error) => ClientDisconnected::new_err(format!("the client has disconnected: {error}")),
        StartErrorKind::Response(_) => PyValueError::new_err(error.to_string()),
        _ => PyRuntimeError::new_err(error.to_string()),
    }
}

/// Converts the error with which a server ended to an exception.
pub(crate) fn from_serve_error(py: Python<'_>, error: ServeError) -> PyErr {
    let text = error.to_string();
    match error.into_kind() {
        // The kind decides on the class of the exception, such as PermissionError.
        ServeErrorKind::Bind { error, .. } => io::Error::new(error.kind(), text).into(),
        ServeErrorKind::Io(error) => error.into(),
        ServeErrorKind::Settings(message) => PyValueError::new_err(message),
        ServeErrorKind::Application(error) => match error.downcast::<AppException>() {
            Ok(exception) => exception.error.clone_ref(py),
            Err(error) => PyRuntimeError::new_err(error.to_string()),
        },
        _ => PyRuntimeError::new_err(text),
    }
}

/// Converts an error of the library's `run_…` functions to an exception.
pub(crate) fn from_run_error(py: Python<'_>, error: RunError) -> PyErr {
    let text = error.to_string();
    match error.into_kind() {
        RunErrorKind::Options(message) => PyValueError::new_err(message.into_owned()),
        RunErrorKind::Serve(error) => from_serve_error(py, error),
        RunErrorKind::Exit(code) => PySystemExit::new_err(code),
        RunErrorKind::AddressInUse { .. } => PyOSError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
