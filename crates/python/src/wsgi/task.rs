//! A request that is answered in a greenlet: what the driver in `amboss/_greenlets.py` calls.
//!
//! The hub of gevent or eventlet owns the thread, and the server is its guest ([`amboss::Guest`]). No method here waits, and
//! none calls Python code that may switch greenlets: PyO3 does not allow a Rust frame on a stack that a switch moves away.
//! Where the client is slow, a method says so, and the driver waits and calls again. The server is not borrowed while
//! Python objects are made or released, because the collector may run `__del__` methods, which may do anything.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use amboss::{AppError, DetachedId, Guest, Log, StartError, StartErrorKind, WriteProgress};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::errors::{from_start_error, AppException, InputError};
use crate::runtime::sync::lock;
use crate::wsgi::convert::{body_block, join, not_iterable};
use crate::wsgi::error_stream::flush_errors;
use crate::wsgi::file_wrapper::FileWrapper;
use crate::wsgi::head::{answered, exception_of, with_head};
use crate::wsgi::werkzeug_response::is_single_block;

/// The largest number of bytes that one read of a request body returns.
const MAX_READ: usize = 64 * 1024;

/// The request handlers of a connection whose requests have not been logged.
pub(crate) type Handlers = Arc<Mutex<VecDeque<Option<Py<PyAny>>>>>;

/// The server of a process whose requests run in greenlets, as its requests see it.
pub(crate) struct TaskHost {
    /// The library whose hub drives the server.
    pub(crate) library: &'static str,
    pub(crate) log: Arc<dyn Log>,
    /// `None` before the server is a guest, and after it has stopped.
    guest: Mutex<Option<Arc<Guest>>>,
    /// The thread of the hub.
    thread: OnceLock<ThreadId>,
    /// The requests that have arrived since the last poll.
    arrived: Mutex<Vec<Py<Task>>>,
    /// The requests that have not ended.
    running: Mutex<HashMap<DetachedId, Py<Task>>>,
    /// Whether a request has ended since the last call of [`take_ended`](TaskHost::take_ended).
    has_ended: AtomicBool,
}

impl TaskHost {
    pub(crate) fn new(library: &'static str, log: Arc<dyn Log>) -> TaskHost {
        TaskHost {
            library,
            log,
            guest: Mutex::default(),
            thread: OnceLock::new(),
            arrived: Mutex::default(),
            running: Mutex::default(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Sets the server; `None` closes it.
    pub(crate) fn set_guest(&self, guest: Option<Guest>) {
        let _previous = std::mem::replace(&mut *lock(&self.guest), guest.map(Arc::new));
    }

    /// Makes the calling thread the one of the hub, unless there is one.
    pub(crate) fn enter_thread(&self) {
        self.thread.get_or_init(|| thread::current().id());
    }

    /// Returns the server, for calls in the thread of the hub.
    pub(crate) fn guest(&self) -> PyResult<Arc<Guest>> {
        let here = Some(&thread::current().id());
        match &*lock(&self.guest) {
            Some(guest) if self.thread.get() == here => Ok(guest.clone()),
            None => Err(PyRuntimeError::new_err("the server has stopped")),
            Some(_) => Err(PyRuntimeError::new_err(format!(
                "a request belongs to the thread whose {} hub serves it; other threads can't use it",
                self.library
            ))),
        }
    }

    /// Adds a request that has arrived.
    pub(crate) fn add(&self, id: DetachedId, task: Py<Task>, again: Py<Task>) {
        lock(&self.arrived).push(task);
        let _replaced = lock(&self.running).insert(id, again);
    }

    /// Whether requests have arrived since the last call of [`take_arrived`](TaskHost::take_arrived).
    pub(crate) fn has_arrived(&self) -> bool {
        !lock(&self.arrived).is_empty()
    }

    /// Takes the requests that have arrived since the last call.
    pub(crate) fn take_arrived(&self) -> Vec<Py<Task>> {
        std::mem::take(&mut *lock(&self.arrived))
    }

    /// Returns the requests with these keys that have not ended.
    pub(crate) fn running(&self, py: Python<'_>, ids: &[DetachedId]) -> Vec<Py<Task>> {
        let running = lock(&self.running);
        ids.iter().filter_map(|id| running.get(id)).map(|task| task.clone_ref(py)).collect()
    }

    /// Whether a request has ended since the last call.
    pub(crate) fn take_ended(&self) -> bool {
        self.has_ended.swap(false, Ordering::Relaxed)
    }

    fn end(&self, id: DetachedId) -> Option<Py<Task>> {
        self.has_ended.store(true, Ordering::Relaxed);
        lock(&self.running).remove(&id)
    }
}

/// What a request has besides its environ.
pub(crate) struct TaskParts {
    pub(crate) app: Py<PyAny>,
    /// The user's `WSGIRequestHandler` class.
    pub(crate) handler_class: Option<Py<PyAny>>,
    pub(crate) handlers: Handlers,
    /// Whether the request has a body.
    pub(crate) has_body: bool,
}

/// A request that is answered in a greenlet.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Task {
    host: Arc<TaskHost>,
    id: DetachedId,
    /// Taken by the greenlet, because the environ refers to this request: a cycle would never be freed.
    environ: Mutex<Option<Py<PyDict>>>,
    parts: OnceLock<TaskParts>,
    /// Whether the response has ended.
    is_over: AtomicBool,
    /// Whether the last status was 101.
    switching_protocols: AtomicBool,
    /// Whether the application writes the response to the connection's socket.
    hijacked: AtomicBool,
}

impl Task {
    pub(crate) fn new(host: Arc<TaskHost>, id: DetachedId) -> Task {
        Task {
            host,
            id,
            environ: Mutex::default(),
            parts: OnceLock::new(),
            is_over: AtomicBool::new(false),
            switching_protocols: AtomicBool::new(false),
            hijacked: AtomicBool::new(false),
        }
    }

    /// Completes the request, before its greenlet begins.
    pub(crate) fn complete(&self, environ: Py<PyDict>, parts: TaskParts) {
        *lock(&self.environ) = Some(environ);
        let _ = self.parts.set(parts);
    }

    fn parts(&self) -> PyResult<&TaskParts> {
        self.parts.get().ok_or_else(|| PyRuntimeError::new_err("the request is not complete"))
    }

    /// Returns the server; an error if the response has ended.
    fn guest(&self) -> PyResult<Arc<Guest>> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("the request has been answered"));
        }
        self.host.guest()
    }

    /// Returns the name of the library whose hub serves the request.
    pub(crate) fn library(&self) -> &'static str {
        self.host.library
    }

    /// Sends early hints.
    pub(crate) fn early_hints(&self, fields: &[(&str, &[u8])]) -> PyResult<()> {
        self.guest()?.early_hints(self.id, fields).map_err(|error| from_start_error(&error))
    }

    /// Lets the application write to the connection's socket. Returns false if the earlier responses have to be sent first.
    pub(crate) fn take_over(&self, status: u16) -> PyResult<bool> {
        let is_ready = self.guest()?.hijack(self.id, status).map_err(|error| from_start_error(&error))?;
        self.hijacked.store(true, Ordering::Relaxed);
        Ok(is_ready)
    }

    /// Ends the response once; false if it has ended already.
    fn end(&self) -> bool {
        let is_first = !self.is_over.swap(true, Ordering::Relaxed);
        if is_first {
            // A reference beside that of the caller.
            drop(self.host.end(self.id));
            flush_errors();
        }
        is_first
    }

    fn check_protocol(&self) -> PyResult<()> {
        let is_lost = self.switching_protocols.load(Ordering::Relaxed) && !self.hijacked.load(Ordering::Relaxed);
        if is_lost {
            return Err(PyRuntimeError::new_err(SWITCHING_PROTOCOLS));
        }
        Ok(())
    }
}

/// The application, the environ, whether there is a body, and the user's handler class.
type Opened = (Py<PyAny>, Py<PyDict>, bool, Option<Py<PyAny>>);

/// The message for an application that responds 101 without taking over the socket.
pub(crate) const SWITCHING_PROTOCOLS: &str =
    "status 101 was passed to start_response, which can't hand over the connection; write the response to \
     environ['werkzeug.socket'] instead (not over TLS), and continue there";

#[pymethods]
impl Task {
    /// Returns the application, the environ, whether the request has a body, and the user's handler class. Called once.
    fn open(&self, py: Python<'_>) -> PyResult<Opened> {
        let parts = self.parts()?;
        let environ = lock(&self.environ).take();
        let environ = environ.ok_or_else(|| PyRuntimeError::new_err("the request has been opened already"))?;
        let handler_class = parts.handler_class.as_ref().map(|class| class.clone_ref(py));
        Ok((parts.app.clone_ref(py), environ, parts.has_body, handler_class))
    }

    #[getter]
    fn is_hijacked(&self) -> bool {
        self.hijacked.load(Ordering::Relaxed)
    }

    /// Sets the handler that logs the request, `None` for one that could not be created.
    fn set_handler(&self, handler: Option<Py<PyAny>>) -> PyResult<()> {
        lock(&self.parts()?.handlers).push_back(handler);
        Ok(())
    }

    /// Sets the head of the response (PEP 3333's `start_response`).
    #[pyo3(signature = (status, headers, exc_info = None, /))]
    fn begin(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let too_late = |info: Option<&Bound<'_, PyAny>>| info.map_or_else(|| Ok(answered()), exception_of);
        let exc_info = exc_info.filter(|info| !info.is_none());
        if self.is_over.load(Ordering::Relaxed) {
            return Err(too_late(exc_info.as_ref())?);
        }
        let guest = self.guest()?;
        let begun = with_head(status, headers, |status, fields| {
            self.switching_protocols.store(status.starts_with("101"), Ordering::Relaxed);
            guest.begin(self.id, status, fields, exc_info.is_some())
        })?;
        match begun {
            Ok(()) => Ok(()),
            Err(error) => Err(match error.kind() {
                StartErrorKind::HeadSent => too_late(exc_info.as_ref())?,
                // The client has gone, which the application learns from its first write.
                StartErrorKind::Io(_) => return Ok(()),
                _ => crate::wsgi::head::from_begin_error(&error),
            }),
        }
    }

    /// Sends a block at once. True if the response takes more, False if its client has to be waited for first, None if it
    /// needs no more. `is_result`: whether the block is one of the result, and not of a call of PEP 3333's `write`.
    #[pyo3(signature = (block, is_result = false))]
    fn write(&self, block: &Bound<'_, PyAny>, is_result: bool) -> PyResult<Option<bool>> {
        let block = body_block(block)?;
        self.check_protocol()?;
        if self.is_over.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("write was called after the request was answered"));
        }
        match self.guest()?.write(self.id, block.as_bytes()) {
            Err(error) if is_result && matches!(error.kind(), StartErrorKind::NotStarted) => {
                Err(PyRuntimeError::new_err("the application returned without calling start_response"))
            }
            written => progress(written),
        }
    }

    /// Whether the response takes more, and a file has been sent.
    fn is_ready(&self) -> PyResult<bool> {
        self.guest()?.is_ready(self.id).map_err(|error| from_start_error(&error))
    }

    /// Sends the file of a wrapper. True when it has been sent, False if that has to be waited for, None if the response
    /// has to be written in blocks.
    fn send_file(&self, py: Python<'_>, wrapper: &Bound<'_, FileWrapper>) -> PyResult<Option<bool>> {
        let Some(file) = wrapper.get().sendable_file(py)? else { return Ok(None) };
        match self.guest()?.send_file(self.id, file) {
            Ok(None) => Ok(None),
            Ok(Some(state)) => Ok(Some(state != WriteProgress::Full)),
            Err(error) => Err(from_start_error(&error)),
        }
    }

    /// Reads up to `size` bytes of the request body. Returns those that have arrived, b"" at the end of the body, and None if
    /// its client has to be waited for.
    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(PyValueError::new_err("the body can't be read any more: its request has been answered"));
        }
        let mut piece = vec![0; size.min(MAX_READ)];
        match self.guest()?.read(self.id, &mut piece) {
            Ok(count) => Ok(count.map(|count| PyBytes::new(py, &piece[..count]))),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(InputError::new_err("the client closed the connection before the request body was complete"))
            }
            Err(error) => Err(InputError::new_err(error.to_string())),
        }
    }

    /// Whether the result is a response of one block without work that is left for its `close()`.
    fn is_single_block(&self, result: &Bound<'_, PyAny>) -> bool {
        is_single_block(result)
    }

    /// Returns the exception for a result that is not iterable.
    fn not_iterable(&self, result: &Bound<'_, PyAny>) -> Py<PyAny> {
        not_iterable(result).into_value(result.py()).into_any()
    }

    /// Ends the response with its last block. `at_once`: whether it is sent now, and not with those of other requests.
    #[pyo3(signature = (block = None, at_once = false))]
    fn finish(&self, block: Option<&Bound<'_, PyAny>>, at_once: bool) -> PyResult<()> {
        let block = block.map(body_block).transpose()?;
        self.check_protocol()?;
        let guest = self.guest()?;
        if self.end() {
            guest.finish(self.id, block.map_or(&[], |block| block.as_bytes()), at_once);
        }
        Ok(())
    }

    /// Ends the response with the blocks of a list or tuple. False if they have to be written one by one.
    fn finish_with(&self, blocks: &Bound<'_, PyAny>) -> PyResult<bool> {
        let blocks: Vec<_> = match blocks.cast_exact::<PyList>() {
            Ok(list) => list.iter().collect(),
            Err(_) => blocks.cast_exact::<PyTuple>()?.iter().collect(),
        };
        let joined = match &blocks[..] {
            [] => Some(Vec::new()),
            [single] => {
                self.finish(Some(single), false)?;
                return Ok(true);
            }
            _ => join(&blocks)?,
        };
        let Some(joined) = joined else { return Ok(false) };
        self.check_protocol()?;
        let guest = self.guest()?;
        if self.end() {
            guest.finish(self.id, &joined, false);
        }
        Ok(true)
    }

    /// Ends the response because the application has raised an exception, whose traceback is `text`. `report` is the report
    /// for the debugger's pages.
    #[pyo3(signature = (error, text, report = None))]
    fn fail(
        &self,
        py: Python<'_>,
        error: Bound<'_, PyAny>,
        text: Bound<'_, PyString>,
        report: Option<String>,
    ) -> PyResult<()> {
        // A lone surrogate in the text does not make this fail.
        let text = text.to_string_lossy().into_owned();
        let error: AppError = Box::new(AppException::reported(py, PyErr::from_value(error), text, report));
        let guest = self.guest()?;
        if self.end() {
            guest.fail(self.id, error);
        }
        Ok(())
    }

    /// Writes an error to the server's log.
    fn log_error(&self, text: Bound<'_, PyString>) {
        self.host.log.error(&text.to_string_lossy());
    }
}

/// Converts the result of a write.
fn progress(written: Result<WriteProgress, StartError>) -> PyResult<Option<bool>> {
    match written {
        Ok(WriteProgress::Ready) => Ok(Some(true)),
        Ok(WriteProgress::Full) => Ok(Some(false)),
        Ok(WriteProgress::Complete) => Ok(None),
        Err(error) => Err(from_start_error(&error)),
    }
}
