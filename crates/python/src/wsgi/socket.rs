//! `werkzeug.socket`: the connection's socket, for protocols that take over the connection (WebSocket).
//!
//! The object in the environ creates a Python socket on first use, so a request that does not use it needs no
//! descriptor. The first write takes over the connection, see [`amboss::hijack`]. The socket is valid only during its
//! request: afterwards the connection may serve the client's next request, and nothing else may be written to it.

use std::os::fd::IntoRawFd;
use std::sync::{Mutex, MutexGuard};

use amboss::Client;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::runtime::sync::lock;
use crate::wsgi::current_request::CurrentRequest;

/// The connection's socket during one request.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct ConnectionSocket {
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The current request; `None` when it is over.
    request: Option<CurrentRequest>,
    /// The Python sockets that were created for the current request.
    sockets: Vec<Py<PyAny>>,
    /// The status that the application has sent (0 if unknown); `None` until the application takes over the connection.
    taken_over: Option<u16>,
    /// Whether the request runs in a greenlet.
    is_task: bool,
    /// Whether the responses to earlier requests have to be sent before the application can write.
    waits_for_earlier: bool,
    /// Whether the response body is iterated after the application's call, so that the request continues.
    has_body: bool,
}

impl ConnectionSocket {
    pub(crate) fn new(client: Client) -> ConnectionSocket {
        ConnectionSocket { client, state: Mutex::default() }
    }

    /// Makes an object for another request of the same connection.
    pub(crate) fn for_next_request(&self) -> ConnectionSocket {
        ConnectionSocket::new(self.client.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Begins a request.
    pub(crate) fn begin(&self, request: CurrentRequest) {
        let is_task = matches!(request, CurrentRequest::Task(_));
        let state = State { request: Some(request), is_task, ..State::default() };
        // The old state is dropped after the lock is released, because that may run Python code.
        let _previous = std::mem::replace(&mut *self.state(), state);
    }

    /// Extends the request beyond the application's call, until [`end`](ConnectionSocket::end).
    pub(crate) fn keep_for_body(&self) {
        self.state().has_body = true;
    }

    /// Ends the application's call. If the application has taken over the connection, returns the status of its
    /// response.
    pub(crate) fn end_call(&self, py: Python<'_>) -> Option<u16> {
        let (taken_over, has_body) = {
            let state = self.state();
            (state.taken_over, state.has_body)
        };
        if taken_over.is_some() || !has_body {
            self.end(py);
            // Another thread may have written to the socket in the meantime.
            return self.state().taken_over;
        }
        None
    }

    /// Ends the request: closes its sockets.
    pub(crate) fn end(&self, py: Python<'_>) {
        let (request, sockets) = {
            let mut state = self.state();
            (state.request.take(), std::mem::take(&mut state.sockets))
        };
        for socket in &sockets {
            // This fails if the application has closed the descriptor by its number.
            let _ = socket.call_method0(py, "_end");
        }
        drop((request, sockets));
    }

    /// Returns the most recent socket if it is still open, else a new one; a closed one when the request is over.
    fn socket<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (last, is_over) = slf.get().last_socket(py);
        if is_over {
            return match slf.get().state().is_task {
                true => py.import("amboss._task_socket")?.call_method1("closed", (slf,)),
                false => socket_class(py)?.call_method1("closed", (slf,)),
            };
        }
        if let Some(last) = last {
            let last = last.into_bound(py);
            if last.call_method0("fileno")?.extract::<i32>()? >= 0 {
                return Ok(last);
            }
        }
        ConnectionSocket::open(slf)
    }

    /// Returns the most recent socket, and whether the request is over.
    fn last_socket(&self, py: Python<'_>) -> (Option<Py<PyAny>>, bool) {
        let state = self.state();
        (state.sockets.last().map(|socket| socket.clone_ref(py)), state.request.is_none())
    }
}

fn request_is_over() -> PyErr {
    PyOSError::new_err("the request that this socket belonged to is over")
}

#[pymethods]
impl ConnectionSocket {
    /// Forwards everything else to the connection's socket.
    fn __getattr__<'py>(slf: &Bound<'py, ConnectionSocket>, name: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ConnectionSocket::socket(slf)?.getattr(name.cast_into::<PyString>()?)
    }

    fn __enter__<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        ConnectionSocket::socket(slf)?.call_method0("__enter__")
    }

    #[pyo3(signature = (*exc_info))]
    fn __exit__(slf: &Bound<'_, ConnectionSocket>, exc_info: &Bound<'_, PyTuple>) -> PyResult<()> {
        ConnectionSocket::socket(slf)?.call_method1("__exit__", exc_info).map(drop)
    }

    fn __repr__(slf: &Bound<'_, ConnectionSocket>) -> PyResult<String> {
        let py = slf.py();
        match slf.get().last_socket(py) {
            (Some(last), _) => Ok(last.bind(py).repr()?.to_string()),
            (None, true) => Ok("<socket of a request that is over>".into()),
            (None, false) => Ok("<socket of the connection, not used yet>".into()),
        }
    }

    /// Creates a Python socket with its own descriptor.
    fn open<'py>(slf: &Bound<'py, ConnectionSocket>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let request = match &this.state().request {
            Some(request) => request.clone_ref(py),
            None => return Err(request_is_over()),
        };
        request.stop_timing();
        let descriptor = match this.client.socket() {
            Ok(Some(socket)) => socket,
            Ok(None) => return Err(PyOSError::new_err("the connection's socket can't be used directly over TLS")),
            Err(error) => return Err(error.into()),
        };
        let socket = match &request {
            CurrentRequest::Call(_) => socket_class(py)?.call1((slf, descriptor.into_raw_fd()))?,
            CurrentRequest::Task(task) => {
                let open = py.import("amboss._task_socket")?.getattr("open_socket")?;
                open.call1((slf, task.get().library(), descriptor.into_raw_fd()))?
            }
        };
        let is_over = {
            let mut state = this.state();
            state.sockets.push(socket.clone().unbind());
            state.request.is_none()
        };
        if is_over {
            // Another thread has ended the request in the meantime.
            this.end(py);
            return Err(request_is_over());
        }
        Ok(socket)
    }

    /// Ends the request, and returns the sockets that its greenlet has to close.
    fn end_task(&self) -> Vec<Py<PyAny>> {
        let (request, sockets) = {
            let mut state = self.state();
            (state.request.take(), std::mem::take(&mut state.sockets))
        };
        drop(request);
        sockets
    }

    /// Whether the application has taken over the connection.
    fn is_taken_over(&self) -> bool {
        self.state().taken_over.is_some()
    }

    /// Takes over the connection. Called before every write; the first call sends the responses to earlier requests.
    /// False if the application has to wait for these, and then to call this again.
    fn take_over(&self, py: Python<'_>, status: u16) -> PyResult<bool> {
        let request = {
            let mut state = self.state();
            let Some(request) = &state.request else { return Err(request_is_over()) };
            let request = (state.taken_over.is_none() || state.waits_for_earlier).then(|| request.clone_ref(py));
            state.taken_over.get_or_insert(status);
            request
        };
        let Some(request) = request else { return Ok(true) };
        let is_ready = request.take_over(py, status)?;
        self.state().waits_for_earlier = !is_ready;
        Ok(is_ready)
    }
}

/// Returns the class of the Python sockets.
fn socket_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || PyResult::Ok(py.import("amboss._socket")?.getattr("RequestSocket")?.unbind()))?;
    Ok(class.bind(py))
}
