//! `werkzeug.socket`: the connection's socket, for protocols that take the connection over (WebSocket).
//!
//! The object in the environ makes a Python socket when it is used; a request that doesn't use it costs no descriptor.
//! The first write takes the connection over, see [`amboss::hijack`]. The socket lives as long as its request: afterwards
//! the connection may be serving the client's next one, and nothing may be written there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use amboss::{Client, StartResponse};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::runtime::finalize::detach;
use crate::wsgi::start_response::{start_error, Exchange};

/// The connection's socket, during one request.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct ConnectionSocket {
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The request that runs; `None` when it is over.
    exchange: Option<Py<Exchange>>,
    /// The Python sockets that were made for it.
    sockets: Vec<Py<PyAny>>,
    /// The application has taken the connection over; the status that it has sent, or 0.
    taken: Option<u16>,
    /// The response body is iterated after the call, and belongs to the request.
    has_body: bool,
}

impl ConnectionSocket {
    pub(crate) fn new(client: Client) -> ConnectionSocket {
        ConnectionSocket { client, state: Mutex::default() }
    }

    /// The same connection's, for another request.
    pub(crate) fn renewed(&self) -> ConnectionSocket {
        ConnectionSocket::new(self.client.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub(crate) fn begin(&self, exchange: &Bound<'_, Exchange>) {
        let begun = State { exchange: Some(exchange.clone().unbind()), ..State::default() };
        // Dropped without the lock: that may run Python code.
        let _ended = std::mem::replace(&mut *self.state(), begun);
    }

    /// The request goes on after the application's call, until [`end`](ConnectionSocket::end).
    pub(crate) fn keep_for_body(&self) {
        self.state().has_body = true;
    }

    /// The application's call is over. The status of its own answer, if it has taken the connection over.
    pub(crate) fn end_call(&self, py: Python<'_>) -> Option<u16> {
        let (taken, has_body) = {
            let state = self.state();
            (state.taken, state.has_body)
        };
        if taken.is_some() || !has_body {
            self.end(py);
            // Another thread may have written to it meanwhile.
            return self.state().taken;
        }
        None
    }

    /// The request is over: its sockets are dead from now on.
    pub(crate) fn end(&self, py: Python<'_>) {
        let (exchange, sockets) = {
            let mut state = self.state();
            (state.exchange.take(), std::mem::take(&mut state.sockets))
        };
        for socket in &sockets {
            // It fails when the application has closed the descriptor behind the socket's back.
            let _ = socket.call_method0(py, "_end");
        }
        drop((exchange, sockets));
    }

    /// The socket that was made last and is still open, or a new one; a closed one when the request is over.
    fn socket<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (last, is_over) = {
            let state = slf.get().state();
            (state.sockets.last().map(|socket| socket.clone_ref(py)), state.exchange.is_none())
        };
        if is_over {
            return class(py)?.call_method1("ended", (slf,));
        }
        if let Some(last) = last {
            let last = last.into_bound(py);
            if last.call_method0("fileno")?.extract::<i32>()? >= 0 {
                return Ok(last);
            }
        }
        ConnectionSocket::open(slf)
    }
}

fn over() -> PyErr {
    PyOSError::new_err("the request that this socket belonged to is over")
}

#[pymethods]
impl ConnectionSocket {
    /// Behaves like the socket of the connection.
    fn __getattr__<'py>(slf: &Bound<'py, ConnectionSocket>, name: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ConnectionSocket::socket(slf)?.getattr(name.cast_into::<pyo3::types::PyString>()?)
    }

    fn __enter__<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        ConnectionSocket::socket(slf)?.call_method0("__enter__")
    }

    #[pyo3(signature = (*raised))]
    fn __exit__(slf: &Bound<'_, ConnectionSocket>, raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        ConnectionSocket::socket(slf)?.call_method1("__exit__", raised).map(drop)
    }

    fn __repr__(slf: &Bound<'_, ConnectionSocket>) -> PyResult<String> {
        let py = slf.py();
        let (last, is_over) = {
            let state = slf.get().state();
            (state.sockets.last().map(|socket| socket.clone_ref(py)), state.exchange.is_none())
        };
        match last {
            Some(last) => Ok(last.bind(py).repr()?.to_string()),
            None if is_over => Ok("<socket of a request that is over>".into()),
            None => Ok("<socket of the connection, not used yet>".into()),
        }
    }

    /// A Python socket with a descriptor of its own.
    fn open<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        use std::os::fd::IntoRawFd;
        let py = slf.py();
        let this = slf.get();
        match &this.state().exchange {
            Some(exchange) => exchange.get().stop_timing(),
            None => return Err(over()),
        }
        let descriptor = match this.client.socket() {
            Ok(Some(socket)) => socket,
            Ok(None) => return Err(PyOSError::new_err("over TLS the connection's socket is of no use")),
            Err(error) => return Err(error.into()),
        };
        let socket = class(py)?.call1((slf, descriptor.into_raw_fd()))?;
        let is_over = {
            let mut state = this.state();
            state.sockets.push(socket.clone().unbind());
            state.exchange.is_none()
        };
        if is_over {
            // The request has ended in another thread.
            this.end(py);
            return Err(over());
        }
        Ok(socket)
    }

    /// Has the application taken the connection over?
    fn is_taken(&self) -> bool {
        self.state().taken.is_some()
    }

    /// Takes the connection over; called before each write. The first time, the answers to earlier requests go first.
    fn take(&self, py: Python<'_>, status: u16) -> PyResult<()> {
        let exchange = {
            let mut state = self.state();
            let Some(exchange) = &state.exchange else { return Err(over()) };
            let exchange = state.taken.is_none().then(|| exchange.clone_ref(py));
            state.taken.get_or_insert(status);
            exchange
        };
        let Some(exchange) = exchange else { return Ok(()) };
        let flush = |start_response: &mut dyn StartResponse| start_response.flush();
        match detach(py, || exchange.get().lent.with_detached(|start_response, _| flush(start_response))) {
            // While a body is iterated, they have left.
            Some(Ok(())) | None => Ok(()),
            Some(Err(error)) => Err(start_error(error)),
        }
    }
}

/// The class of the Python sockets.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || PyResult::Ok(py.import("amboss._socket")?.getattr("RequestSocket")?.unbind()))?;
    Ok(class.bind(py))
}
