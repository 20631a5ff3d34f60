//! What an environ holds besides text: callables and streams that reach the connection or the server.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock};

use amboss::{Client, ShutdownHandle};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::runtime::finalize::detach;
use crate::wsgi::start_response::{kind, native, pairs, start_error, Exchange};
use crate::Log;

/// The connection behind a request.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Connection {
    client: Client,
}

impl Connection {
    pub(crate) fn new(client: Client) -> Connection {
        Connection { client }
    }
}

#[pymethods]
impl Connection {
    /// Has the client closed the connection, so that the rest of the work is for nobody?
    fn has_left(&self) -> bool {
        self.client.has_left()
    }
}

/// `wsgi.early_hints`: sends 103 with header fields, ahead of the answer. One for a connection, whose requests come one
/// after the other.
#[pyclass(frozen, module = "amboss._amboss")]
#[derive(Default)]
pub(crate) struct EarlyHints {
    exchange: Mutex<Option<Py<Exchange>>>,
}

impl EarlyHints {
    /// Speaks for this request from now on.
    pub(crate) fn follow(&self, exchange: &Bound<'_, Exchange>) {
        *self.exchange.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(exchange.clone().unbind());
    }
}

#[pymethods]
impl EarlyHints {
    fn __call__(&self, py: Python<'_>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let pairs = pairs(headers)?;
        let mut fields = Vec::with_capacity(pairs.len());
        for (name, value) in &pairs {
            fields.push((name.to_str()?, native(value, "the value of a header")?));
        }
        let exchange = {
            let exchange = self.exchange.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            exchange.as_ref().map(|exchange| exchange.clone_ref(py))
        };
        let Some(exchange) = exchange else { return Ok(()) };
        let sent = detach(py, || {
            let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            exchange.get().lent.with_detached(|start_response, _| start_response.early_hints(&fields))
        });
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(start_error(error)),
            None => Err(PyRuntimeError::new_err("early hints come before the answer, which has begun")),
        }
    }
}

/// `werkzeug.server.shutdown`: stops the server when the request is answered.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Shutdown {
    handle: Arc<OnceLock<ShutdownHandle>>,
}

impl Shutdown {
    pub(crate) fn new(handle: Arc<OnceLock<ShutdownHandle>>) -> Shutdown {
        Shutdown { handle }
    }
}

#[pymethods]
impl Shutdown {
    fn __call__(&self) {
        if let Some(handle) = self.handle.get() {
            handle.shutdown();
        }
    }
}

/// How much of a line is kept until its line feed comes, in bytes for each thread; beyond it the line is logged in
/// pieces. Longer than any line that people write, and a thousand threads keep 16 MiB at most.
const LINE: usize = 16 * 1024;
/// How much of a traceback is kept until its end: some hundred frames, more than Python shows of a recursion.
const TRACEBACK: usize = 64 * 1024;

thread_local! {
    /// What this thread has written to `wsgi.errors` and is not logged yet.
    static LINE_BEGUN: RefCell<LineBegun> =
        const { RefCell::new(LineBegun { log: None, text: String::new(), traceback: Traceback::None }) };
}

/// A line or a traceback that is not whole yet; logged when its thread ends.
struct LineBegun {
    log: Option<Log>,
    text: String,
    traceback: Traceback,
}

/// What `traceback.print_exc` writes line by line is one entry of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traceback {
    None,
    /// The exception itself has not come yet.
    Begun,
    /// It has, and perhaps there is another one, which it has led to.
    Whole,
    /// There is.
    Continued,
}

impl Traceback {
    /// What it is with `text` behind it, which may be something else.
    fn with(self, text: &str) -> Traceback {
        // `print` also writes its `end`, which may be nothing.
        let Some(line) = text.lines().next() else { return self };
        match self {
            _ if line.starts_with("Traceback (most recent") => Traceback::Begun,
            // Each of its lines is indented, the exception's as well.
            _ if line.trim_start().starts_with("+ Exception Group Traceback (most recent") => Traceback::Whole,
            Traceback::None => Traceback::None,
            // In front of the sentence that says how one has led to the other.
            Traceback::Whole if line.is_empty() => Traceback::Continued,
            _ if line.is_empty() || line.starts_with(' ') => self,
            Traceback::Begun => Traceback::Whole,
            Traceback::Whole | Traceback::Continued => Traceback::None,
        }
    }
}

impl LineBegun {
    /// What there is of it, and the log that it belongs to.
    fn take(&mut self) -> Option<(Log, String)> {
        self.traceback = Traceback::None;
        let text = std::mem::take(&mut self.text);
        self.log.take().filter(|_| !text.is_empty()).map(|log| (log, text))
    }
}

impl Drop for LineBegun {
    fn drop(&mut self) {
        if let Some((log, text)) = self.take() {
            log.error(&text);
        }
    }
}

/// Logs what this thread has written to `wsgi.errors` without a line feed: its request is over, or goes on elsewhere, and
/// another request's line must not be joined to it. For a thread that is not attached to the interpreter.
pub(crate) fn flush_errors() {
    // In a thread that is ending it has been logged.
    let begun = LINE_BEGUN.try_with(|line| line.borrow_mut().take());
    if let Ok(Some((log, text))) = begun {
        log.error(&text);
    }
}

/// `wsgi.errors`: lines for the server's log, each written when it is whole, and tracebacks.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Errors {
    log: Log,
}

impl Errors {
    pub(crate) fn new(log: Log) -> Errors {
        Errors { log }
    }

    /// Adds to this thread's line; what is to be logged of it now.
    fn add(&self, text: &str) -> Vec<(Log, String)> {
        let mut whole = Vec::new();
        let added = LINE_BEGUN.try_with(|line| {
            let mut line = line.borrow_mut();
            // A line of another server in this process stands for itself.
            if line.log.as_ref().is_some_and(|log| !Arc::ptr_eq(log, &self.log)) {
                whole.extend(line.take());
            }
            let traceback = line.traceback.with(text);
            let is_over = match line.traceback {
                Traceback::None => false,
                Traceback::Whole => matches!(traceback, Traceback::None | Traceback::Begun),
                Traceback::Begun | Traceback::Continued => traceback == Traceback::None,
            };
            if is_over {
                whole.extend(line.take());
            }
            line.traceback = traceback;
            line.text.push_str(text);
            if traceback != Traceback::None && line.text.len() <= TRACEBACK {
                line.log = Some(self.log.clone());
                return;
            }
            line.traceback = Traceback::None;
            let mut end = line.text.rfind('\n').map_or(0, |feed| feed + 1);
            if line.text.len() - end > LINE {
                end = line.text.len();
            }
            if end > 0 {
                let rest = line.text.split_off(end);
                whole.push((self.log.clone(), std::mem::replace(&mut line.text, rest)));
            }
            line.log = (!line.text.is_empty()).then(|| self.log.clone());
        });
        if added.is_err() {
            // The thread is ending.
            whole.push((self.log.clone(), text.to_owned()));
        }
        whole
    }
}

#[pymethods]
impl Errors {
    fn write(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<usize> {
        let text = text
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err(format!("wsgi.errors takes str, not {}", kind(text))))?;
        let length = text.len()?;
        // A lone surrogate is no reason to lose a line of a log.
        let whole = self.add(&text.to_string_lossy());
        if !whole.is_empty() {
            detach(py, || whole.iter().for_each(|(log, text)| log.error(text)));
        }
        Ok(length)
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, &line?)?;
        }
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "a file's method")]
    fn flush(&self, py: Python<'_>) {
        detach(py, flush_errors);
    }
}
