//! What a connection keeps between its requests.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::runtime::ffi::ref_count;
use crate::runtime::sync::lock;
use crate::wsgi::environ_objects::EarlyHints;
use crate::wsgi::socket::ConnectionSocket;
use crate::wsgi::task::Handlers;

/// The environ's key for the connection's socket.
pub(crate) const SOCKET: &str = "werkzeug.socket";

/// The number of references to a connection's socket object when no application keeps one: that of `ConnectionState`
/// and that of its template.
const SOCKET_REFERENCES: usize = 2;

/// The state of a connection that is shared by its requests. Stored in the server's extensions of the connection.
pub(crate) struct ConnectionState {
    /// The environ without the entries that differ from request to request.
    pub(crate) template: Py<PyDict>,
    pub(crate) early_hints: Py<EarlyHints>,
    /// `werkzeug.socket`; `None` over TLS.
    socket: Mutex<Option<Py<ConnectionSocket>>>,
    /// The request handlers of requests that have not been logged yet, oldest first, if the user has a handler class;
    /// `None` for a handler that could not be created.
    handlers: Handlers,
}

impl ConnectionState {
    pub(crate) fn new(
        template: Py<PyDict>,
        early_hints: Py<EarlyHints>,
        socket: Option<Py<ConnectionSocket>>,
    ) -> ConnectionState {
        ConnectionState { template, early_hints, socket: Mutex::new(socket), handlers: Handlers::default() }
    }

    /// Returns the socket object for a request: the previous request's, unless an application has kept a reference to
    /// it.
    pub(crate) fn socket<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, ConnectionSocket>>> {
        let mut socket = lock(&self.socket);
        let Some(last) = &*socket else { return Ok(None) };
        if ref_count(last.bind(py)) > SOCKET_REFERENCES {
            let fresh = Py::new(py, last.get().for_next_request())?;
            self.template.bind(py).set_item(SOCKET, &fresh)?;
            *socket = Some(fresh);
        }
        Ok(socket.as_ref().map(|socket| socket.bind(py).clone()))
    }

    /// Returns the request handlers, for a request that adds its own later.
    pub(crate) fn handlers(&self) -> Handlers {
        self.handlers.clone()
    }

    /// Adds the handler of a request that begins; `None` if it could not be created.
    pub(crate) fn push_handler(&self, handler: Option<Py<PyAny>>) {
        lock(&self.handlers).push_back(handler);
    }

    /// Removes the handler of the oldest request that has not been logged.
    pub(crate) fn pop_handler(&self) -> Option<Py<PyAny>> {
        lock(&self.handlers).pop_front().flatten()
    }
}
