//! Recognises responses of Werkzeug's `Response` class (and so of Flask) that have no work left after their only block.
//!
//! PEP 3333 has `close()` called after the response is sent, because an application may have work that its client
//! should not wait for. Nearly all of these responses have none, so they are closed at once, while their objects are in
//! the processor's caches. At 64 connections this saves a sixth of the time of a Flask request.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// Whether this is a response with a single block and without `call_on_close` callbacks.
pub(crate) fn is_single_block(result: &Bound<'_, PyAny>) -> bool {
    // An object that lacks one of the attributes is not such a response.
    inspect(result).unwrap_or(false)
}

fn inspect(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = result.py();
    let class = result.get_type();
    if class.getattr(intern!(py, "__name__"))?.ne(intern!(py, "ClosingIterator"))?
        || class.getattr(intern!(py, "__module__"))?.ne(intern!(py, "werkzeug.wsgi"))?
    {
        return Ok(false);
    }
    let callbacks = result.getattr(intern!(py, "_callbacks"))?.cast_into::<PyList>()?;
    // Werkzeug's two: `close` of the generator that encodes the response, and `close` of the response.
    if callbacks.len() != 2 {
        return Ok(false);
    }
    let (encoder, close) = (callbacks.get_item(0)?, callbacks.get_item(1)?);
    let encoder = encoder.getattr(intern!(py, "__self__"))?.getattr(intern!(py, "gi_code"))?;
    // A user's subclass may override `close`.
    let close_module = close.getattr(intern!(py, "__func__"))?.getattr(intern!(py, "__module__"))?;
    let response = close.getattr(intern!(py, "__self__"))?;
    let blocks = response.getattr(intern!(py, "response"))?;
    let single = match blocks.cast_exact::<PyList>() {
        Ok(list) => list.len() == 1,
        Err(_) => blocks.cast_exact::<PyTuple>().is_ok_and(|tuple| tuple.len() == 1),
    };
    let on_close = response.getattr(intern!(py, "_on_close"))?.cast_into::<PyList>()?;
    Ok(single
        && on_close.is_empty()
        && close_module.eq(intern!(py, "werkzeug.wrappers.response"))?
        && encoder.getattr(intern!(py, "co_name"))?.eq(intern!(py, "_iter_encoded"))?)
}
