//! A Python exception on its way through the server.

use std::fmt;

use amboss::AppError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::ClientDisconnected;

/// What an application raised: the text for the log, and the exception itself for whoever wants it raised again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: PyErr,
    /// The application was told that the client has left, and let that pass: nothing went wrong here.
    pub(crate) is_departure: bool,
    text: String,
}

impl Failure {
    pub(crate) fn new(py: Python<'_>, error: PyErr) -> Failure {
        Failure { is_departure: error.is_instance_of::<ClientDisconnected>(py), text: traceback(py, &error), error }
    }
}

/// As the server wants it.
pub(crate) fn failed(py: Python<'_>, error: PyErr) -> AppError {
    Box::new(Failure::new(py, error))
}

/// The whole traceback, causes included, as Python prints it.
pub(crate) fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.getattr("format_exception")?.call1((
            error.get_type(py),
            error.value(py),
            error.traceback(py),
        ))?;
        let lines = lines.cast_into::<PyList>()?;
        lines.iter().map(|line| Ok(line.str()?.to_string_lossy().into_owned())).collect()
    };
    // An exception that can't be described is one all the same.
    format().unwrap_or_else(|_| error.to_string())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

impl std::error::Error for Failure {}
