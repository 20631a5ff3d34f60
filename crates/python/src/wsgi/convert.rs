//! Checks and converts the values that an application passes: native strings, header lists, blocks of a body.

use std::borrow::Cow;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use crate::runtime::ffi::latin1_bytes;

/// The number of header fields that are kept without a heap allocation; most responses have no more.
pub(crate) const INLINE_FIELDS: usize = 8;

/// The maximum total size of blocks of a list or tuple that are joined. One block has a Content-Length and needs one
/// write, and an HTTP/1.0 client can keep its connection.
const MAX_JOINED: usize = 64 * 1024;

/// A header's name and value.
pub(crate) type HeaderPair<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

/// Returns the name of an object's type, for messages.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an unknown type".into(), |name| name.to_string())
}

/// Checks that a block of a body is `bytes`.
pub(crate) fn body_block<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    object.cast::<PyBytes>().map_err(|_| {
        let hint = if object.is_instance_of::<PyString>() { "; encode it" } else { "" };
        PyTypeError::new_err(format!("a block of the body must be bytes, not {}{hint}", type_name(object)))
    })
}

/// Checks that headers are a list of pairs of native strings, as PEP 3333 defines it. A tuple is accepted as well.
pub(crate) fn header_pairs<'py>(headers: &Bound<'py, PyAny>) -> PyResult<SmallVec<[HeaderPair<'py>; INLINE_FIELDS]>> {
    let type_error =
        |what: String| PyTypeError::new_err(format!("headers must be a list of (name, value) tuples of str, {what}"));
    let pair = |item: Bound<'py, PyAny>| -> PyResult<HeaderPair<'py>> {
        let Ok(pair) = item.cast::<PyTuple>() else { return Err(type_error(format!("not of {}", type_name(&item)))) };
        if pair.len() != 2 {
            return Err(type_error(format!("not tuples of {}", pair.len())));
        }
        let text = |index| {
            let item = pair.get_item(index)?;
            let wrong = |item| type_error(format!("not of {}", type_name(&item)));
            item.cast_into::<PyString>().map_err(|error| wrong(error.into_inner()))
        };
        Ok((text(0)?, text(1)?))
    };
    if let Ok(list) = headers.cast::<PyList>() {
        list.iter().map(pair).collect()
    } else if let Ok(tuple) = headers.cast::<PyTuple>() {
        tuple.iter().map(pair).collect()
    } else {
        Err(type_error(format!("not {}", type_name(headers))))
    }
}

/// Returns the bytes of a native string; `what` names it in the error.
pub(crate) fn native_bytes<'a>(text: &'a Bound<'_, PyString>, what: &str) -> PyResult<Cow<'a, [u8]>> {
    latin1_bytes(text).ok_or_else(|| {
        PyValueError::new_err(format!("{what} contains characters outside latin-1 ({text:?}); encode them (PEP 3333)"))
    })
}

/// Joins all blocks. Returns `None` if there are no blocks, or if they are too large or not all `bytes`; the caller
/// handles these cases.
pub(crate) fn join(blocks: &[Bound<'_, PyAny>]) -> PyResult<Option<Vec<u8>>> {
    if let [single] = blocks {
        return Ok(Some(body_block(single)?.as_bytes().to_vec()));
    }
    let mut joined = Vec::new();
    for block in blocks {
        match block.cast_exact::<PyBytes>() {
            Ok(block) if joined.len() + block.as_bytes().len() <= MAX_JOINED => {
                joined.extend_from_slice(block.as_bytes());
            }
            _ => return Ok(None),
        }
    }
    Ok((!blocks.is_empty()).then_some(joined))
}

/// Returns the exception for a result that is not iterable.
pub(crate) fn not_iterable(result: &Bound<'_, PyAny>) -> PyErr {
    let mut message =
        format!("the application must return an iterable of bytes, such as [b'...'], not {}", type_name(result));
    if result.is_callable() {
        message.push_str("; if it makes the application, name what it returns: module:factory(...)");
    }
    PyTypeError::new_err(message)
}
