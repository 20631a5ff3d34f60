//! The head of a response: what an application passes to `start_response`.

use amboss::{StartError, StartErrorKind};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use smallvec::SmallVec;

use crate::errors::from_start_error;
use crate::wsgi::convert::{header_pairs, native_bytes, type_name, INLINE_FIELDS};

/// Checks a status and headers, and runs `begin` with them.
pub(crate) fn with_head<R>(
    status: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
    begin: impl FnOnce(&str, &[(&str, &[u8])]) -> R,
) -> PyResult<R> {
    let status = status.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!("the status must be a str like '200 OK', not {}", type_name(status)))
    })?;
    let status = native_bytes(status, "the status")?;
    let status = std::str::from_utf8(&status).map_err(|_| PyValueError::new_err("the status must be ASCII"))?;
    let pairs = header_pairs(headers)?;
    let mut texts = SmallVec::<[_; INLINE_FIELDS]>::with_capacity(pairs.len());
    for (name, value) in &pairs {
        texts.push((native_bytes(name, "a header name")?, native_bytes(value, "a header value")?));
    }
    let mut fields = SmallVec::<[(&str, &[u8]); INLINE_FIELDS]>::with_capacity(texts.len());
    for (name, value) in &texts {
        let name = std::str::from_utf8(name)
            .map_err(|_| PyValueError::new_err(format!("a header name must be ASCII, and {name:?} is not")))?;
        fields.push((name, value));
    }
    Ok(begin(status, &fields))
}

/// Returns the exception for a call that comes too late.
pub(crate) fn answered() -> PyErr {
    PyRuntimeError::new_err("start_response was called after the request was answered")
}

/// Converts an error of the server's `start_response`.
pub(crate) fn from_begin_error(error: &StartError) -> PyErr {
    match error.kind() {
        StartErrorKind::Twice => PyRuntimeError::new_err(
            "start_response was called a second time without exc_info; pass sys.exc_info() to replace the response",
        ),
        _ => from_start_error(error),
    }
}

/// Returns the exception of an `exc_info` tuple, with its traceback.
pub(crate) fn exception_of(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let exc_info = exc_info.cast::<PyTuple>().map_err(|_| {
        PyTypeError::new_err(format!(
            "exc_info must be a tuple like that of sys.exc_info(), not {}",
            type_name(exc_info)
        ))
    })?;
    let value = exc_info.get_item(1)?;
    let value = value.call_method1("with_traceback", (exc_info.get_item(2)?,))?;
    Ok(PyErr::from_value(value))
}
