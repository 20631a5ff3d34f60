//! `wsgi.input`: the request body as a file, which ends where the body ends and raises where it is broken.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

use amboss::Input as Body;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::runtime::ffi::BytesUnderWay;
use crate::runtime::finalize::detach;
use crate::wsgi::start_response::{kind, Exchange};
use crate::InputError;

/// A `bytes` object grows to what was asked for in steps that begin with this, so that nobody makes the server reserve
/// memory by announcing a body.
const STEP: usize = 1 << 20;

/// How much of a body the application has read.
pub(crate) struct Progress {
    length: Option<u64>,
    /// The body is read as it arrives.
    streamed: bool,
    /// The client waits for `100 Continue`, which goes out with the first read.
    expects_continue: bool,
    read: AtomicU64,
    ended: AtomicBool,
    /// What was left of a small body when the application had returned, for what it reads while it is iterated.
    kept: Mutex<Option<io::Cursor<Vec<u8>>>>,
}

impl Progress {
    pub(crate) fn new(length: Option<u64>, streamed: bool, expects_continue: bool) -> Progress {
        let (read, ended) = (AtomicU64::new(0), AtomicBool::new(length == Some(0)));
        Progress { length, streamed, expects_continue, read, ended, kept: Mutex::new(None) }
    }

    /// Does the client wait to be asked for the body?
    pub(crate) fn is_awaited(&self) -> bool {
        self.expects_continue && self.read.load(Ordering::Relaxed) == 0
    }

    /// Bytes that are left at most; `None` when only the end will tell.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.ended.load(Ordering::Relaxed) {
            return Some(0);
        }
        self.length.map(|length| length.saturating_sub(self.read.load(Ordering::Relaxed)))
    }

    pub(crate) fn keep(&self, rest: Vec<u8>) {
        *self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(io::Cursor::new(rest));
    }

    fn note(&self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        if count == 0 {
            self.ended.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of a request that has one.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Input {
    exchange: Py<Exchange>,
}

impl Input {
    pub(crate) fn new(exchange: Py<Exchange>) -> Input {
        Input { exchange }
    }

    /// Reads up to `limit` bytes, up to and with the first line feed if `line`.
    fn take<'py>(&self, py: Python<'py>, limit: Option<u64>, line: bool) -> PyResult<Bound<'py, PyBytes>> {
        let progress = &self.exchange.get().progress;
        let most = match (limit, progress.left()) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, left) => limit.or(left),
        };
        if most == Some(0) {
            return Ok(PyBytes::new(py, b""));
        }
        // Of a line nobody knows how long it is.
        const LINE: usize = 512;
        let exact = most.and_then(|most| usize::try_from(most).ok()).filter(|&most| !line && most <= STEP);
        let mut bytes = BytesUnderWay::new(py, exact.unwrap_or(if line { LINE } else { STEP / 16 }))?;
        let mut gathered: Vec<u8> = Vec::new();
        let most = most.unwrap_or(u64::MAX);
        let filled = {
            let filling = bytes.filling();
            let (gathered, exchange) = (&mut gathered, &self.exchange);
            detach(py, move || {
                let exchange = exchange.get();
                fill(exchange, filling, gathered, most, line)
            })
        };
        match filled {
            Err(error) => Err(error),
            Ok(()) if gathered.is_empty() => bytes.finish(),
            Ok(()) => Ok(PyBytes::new(py, &gathered)),
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

/// Fills the object, and when that is full a vector that takes its place.
fn fill(
    exchange: &Exchange,
    mut filling: crate::runtime::ffi::Filling<'_>,
    gathered: &mut Vec<u8>,
    most: u64,
    line: bool,
) -> PyResult<()> {
    let progress = &exchange.progress;
    let mut moved = 0u64;
    let mut add = |bytes: &[u8]| {
        if gathered.is_empty() && filling.room() >= bytes.len() {
            filling.push(bytes);
        } else {
            if gathered.is_empty() {
                gathered.extend_from_slice(filling.filled());
            }
            gathered.extend_from_slice(bytes);
        }
    };
    let mut read = |source: &mut dyn BufRead| -> io::Result<bool> {
        let there = source.fill_buf()?;
        let mut count = there.len().min(usize::try_from(most - moved).unwrap_or(usize::MAX));
        let mut last = count == 0;
        if line {
            if let Some(end) = there[..count].iter().position(|&byte| byte == b'\n') {
                (count, last) = (end + 1, true);
            }
        }
        add(&there[..count]);
        source.consume(count);
        moved += count as u64;
        progress.note(count);
        Ok(last || moved >= most)
    };
    let mut run = |source: &mut dyn BufRead| -> io::Result<()> {
        while !read(source)? {}
        Ok(())
    };
    let mut run_lent = || exchange.lent.with_detached(|_, input: &mut Body<'_>| run(input));
    let lent = if progress.streamed { exchange.with_client(run_lent) } else { run_lent() };
    let result = match lent {
        Some(result) => result,
        None => match &mut *progress.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(rest) => run(rest),
            None => {
                return Err(PyValueError::new_err("the body can't be read any more: its request has been answered"))
            }
        },
    };
    result.map_err(|error| InputError::new_err(error.to_string()))
}

/// A size argument: `None` and negative numbers ask for everything.
fn size(argument: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(argument) = argument.filter(|argument| !argument.is_none()) else { return Ok(None) };
    match argument.extract::<i64>() {
        Ok(size) => Ok(u64::try_from(size).ok()),
        Err(_) => Err(PyTypeError::new_err(format!("a size must be an int or None, not {}", kind(argument)))),
    }
}

#[pymethods]
impl Input {
    /// Reads so many bytes, or all that are left.
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, self::size(size)?, false)
    }

    /// Reads a line with its line feed, or so many bytes of it.
    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, self::size(size)?, true)
    }

    /// Reads all lines, or lines until they are at least so many bytes.
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

/// The body of requests that have none: one object for all of them.
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
