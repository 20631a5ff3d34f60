//! What an environ holds besides text: callables and streams that reach the connection or the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::ThreadId;

use amboss::{Client, ShutdownHandle};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ending::detach;
use crate::exchange::{kind, native, pairs, start_error, Exchange};
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

/// `wsgi.errors`: lines for the server's log, each written when it is whole.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Errors {
    log: Log,
    /// Lines under way, by the thread that writes them.
    begun: Mutex<HashMap<ThreadId, String>>,
}

impl Errors {
    pub(crate) fn new(log: Log) -> Errors {
        Errors { log, begun: Mutex::new(HashMap::new()) }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, HashMap<ThreadId, String>> {
        self.begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        let text = text.to_string_lossy().into_owned();
        let id = std::thread::current().id();
        let mut begun = self.begun();
        let line = begun.entry(id).or_default();
        line.push_str(&text);
        let whole = line.rfind('\n').map(|end| line.drain(..=end).collect::<String>());
        if line.is_empty() {
            begun.remove(&id);
        }
        drop(begun);
        if let Some(whole) = whole {
            detach(py, || self.log.error(&whole));
        }
        Ok(length)
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, &line?)?;
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        let line = self.begun().remove(&std::thread::current().id());
        if let Some(line) = line {
            detach(py, || self.log.error(&line));
        }
    }
}
