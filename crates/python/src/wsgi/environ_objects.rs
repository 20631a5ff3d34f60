//! Callables in the environ that reach the connection or the server: early hints, the client's disconnect, shutdown.

use std::sync::{Arc, Mutex, OnceLock};

use amboss::{Client, ShutdownHandle};
use pyo3::prelude::*;

use crate::runtime::sync::lock;
use crate::wsgi::convert::{header_pairs, native_bytes};
use crate::wsgi::current_request::CurrentRequest;

/// The client of a connection. Its bound method is `amboss.client_disconnected`.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct ClientStatus {
    client: Client,
}

impl ClientStatus {
    pub(crate) fn new(client: Client) -> ClientStatus {
        ClientStatus { client }
    }
}

#[pymethods]
impl ClientStatus {
    /// Whether the client has closed the connection, so that the rest of the work is useless.
    fn is_disconnected(&self) -> bool {
        self.client.has_left()
    }
}

/// `wsgi.early_hints`: sends 103 with header fields before the response. One object serves all requests of a
/// connection, because they run one after the other.
#[pyclass(frozen, module = "amboss._amboss")]
#[derive(Default)]
pub(crate) struct EarlyHints {
    request: Mutex<Option<CurrentRequest>>,
}

impl EarlyHints {
    /// Sends hints for `request` from now on.
    pub(crate) fn set_request(&self, request: CurrentRequest) {
        // The previous one is dropped after the lock is released, because that may run Python code.
        let _previous = lock(&self.request).replace(request);
    }
}

#[pymethods]
impl EarlyHints {
    fn __call__(&self, py: Python<'_>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let pairs = header_pairs(headers)?;
        let mut fields = Vec::with_capacity(pairs.len());
        for (name, value) in &pairs {
            fields.push((name.to_str()?, native_bytes(value, "a header value")?));
        }
        let request = {
            let request = lock(&self.request);
            request.as_ref().map(|request| request.clone_ref(py))
        };
        let Some(request) = request else { return Ok(()) };
        let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        request.early_hints(py, &fields)
    }
}

/// `werkzeug.server.shutdown`: stops the server after the request is answered.
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
