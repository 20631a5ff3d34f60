//! `wsgi.input`: the request body as a file. It ends where the body ends; a broken body raises `InputError`.

use std::io::{self, BufRead};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::InputError;
use crate::runtime::ffi::{BytesBuilder, BytesWriter};
use crate::runtime::finalize::detach;
use crate::wsgi::convert::type_name;
use crate::wsgi::start_response::StartResponse;

/// The maximum size of a `bytes` object that is allocated before the data arrives: a client must not make the server
/// reserve memory by announcing a large body. Larger reads grow as the data arrives.
const MAX_PREALLOCATED: usize = 1 << 20;

/// The initial size for a read whose length is not known.
const INITIAL: usize = MAX_PREALLOCATED / 16;

/// The initial size for a line, whose length is not known either.
const INITIAL_LINE: usize = 512;

/// The body of a request that has one.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Input {
    request: Py<StartResponse>,
}

impl Input {
    pub(crate) fn new(request: Py<StartResponse>) -> Input {
        Input { request }
    }

    /// Reads up to `limit` bytes; if `line`, only up to and including the first line feed.
    fn take<'py>(&self, py: Python<'py>, limit: Option<u64>, line: bool) -> PyResult<Bound<'py, PyBytes>> {
        let max = match (limit, self.request.get().progress.left()) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, left) => limit.or(left),
        };
        if max == Some(0) {
            return Ok(PyBytes::new(py, b""));
        }
        let exact = max.and_then(|max| usize::try_from(max).ok()).filter(|&max| !line && max <= MAX_PREALLOCATED);
        let mut bytes = BytesBuilder::new(py, exact.unwrap_or(if line { INITIAL_LINE } else { INITIAL }))?;
        let mut overflow: Vec<u8> = Vec::new();
        let max = max.unwrap_or(u64::MAX);
        let filled = {
            let writer = bytes.writer();
            let (overflow, request) = (&mut overflow, &self.request);
            detach(py, move || fill(request.get(), writer, overflow, max, line))
        };
        match filled {
            Err(error) => Err(error),
            Ok(()) if overflow.is_empty() => bytes.finish(),
            Ok(()) => Ok(PyBytes::new(py, &overflow)),
        }
    }

    fn lines<'py>(&self, py: Python<'py>, hint: Option<u64>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let mut total = 0;
        loop {
            let line = self.take(py, None, true)?;
            let length = line.as_bytes().len() as u64;
            if length == 0 {
                return Ok(lines);
            }
            lines.append(line)?;
            total += length;
            if hint.is_some_and(|hint| total >= hint) {
                return Ok(lines);
            }
        }
    }
}

/// Reads up to `max` bytes, or a line of them, into `writer`. If they don't fit, `overflow` receives all of them
/// instead.
fn fill(
    request: &StartResponse,
    mut writer: BytesWriter<'_>,
    overflow: &mut Vec<u8>,
    max: u64,
    line: bool,
) -> PyResult<()> {
    let progress = &request.progress;
    let mut total = 0u64;
    let mut append = |bytes: &[u8]| {
        if overflow.is_empty() && writer.remaining() >= bytes.len() {
            writer.push(bytes);
        } else {
            if overflow.is_empty() {
                overflow.extend_from_slice(writer.filled());
            }
            overflow.extend_from_slice(bytes);
        }
    };
    // Returns whether the read is complete.
    let mut read_some = |source: &mut dyn BufRead| -> io::Result<bool> {
        let available = source.fill_buf()?;
        let mut count = available.len().min(usize::try_from(max - total).unwrap_or(usize::MAX));
        let mut is_last = count == 0;
        if line {
            if let Some(end) = available[..count].iter().position(|&byte| byte == b'\n') {
                (count, is_last) = (end + 1, true);
            }
        }
        append(&available[..count]);
        source.consume(count);
        total += count as u64;
        progress.advance(count);
        Ok(is_last || total >= max)
    };
    let mut read_all = |source: &mut dyn BufRead| -> io::Result<()> {
        while !read_some(source)? {}
        Ok(())
    };
    let mut read_body = || request.server.with_detached(|_, input: &mut amboss::Input<'_>| read_all(input));
    let result = if progress.streamed { request.with_client_wait(read_body) } else { read_body() };
    let result = match result {
        Some(result) => result,
        None => match &mut *progress.kept() {
            Some(rest) => read_all(rest),
            None => {
                return Err(PyValueError::new_err("the body can't be read any more: its request has been answered"))
            }
        },
    };
    result.map_err(|error| InputError::new_err(error.to_string()))
}

/// Converts a size argument; `None` and negative numbers mean everything.
fn size(argument: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(argument) = argument.filter(|argument| !argument.is_none()) else { return Ok(None) };
    match argument.extract::<i64>() {
        Ok(size) => Ok(u64::try_from(size).ok()),
        Err(_) => Err(PyTypeError::new_err(format!("a size must be an int or None, not {}", type_name(argument)))),
    }
}

#[pymethods]
impl Input {
    /// Reads up to `size` bytes, by default all that are left.
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, self::size(size)?, false)
    }

    /// Reads a line including its line feed, or up to `size` bytes of it.
    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, self::size(size)?, true)
    }

    /// Reads all lines, or lines until their total length reaches `hint` bytes.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyList>> {
        self.lines(py, size(hint)?.filter(|&hint| hint > 0))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.take(py, None, true)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}

/// The body of requests that have none; one object serves all of them.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct EmptyInput;

#[pymethods]
impl EmptyInput {
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self::size(size)?;
        Ok(PyBytes::new(py, b""))
    }

    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, size)
    }

    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyList>> {
        size(hint)?;
        Ok(PyList::empty(py))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyBytes>> {
        None
    }
}
