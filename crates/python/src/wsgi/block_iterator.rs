//! The blocks of an iterable that an application has returned, and the call of its `close()`.

use std::sync::Arc;

use amboss::{AppError, Body, Log};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator};

use crate::errors::{format_traceback, to_app_error};
use crate::runtime::contextvars::Context;
use crate::runtime::ffi::attach;
use crate::runtime::finalize::detach;
use crate::worker::in_flight::InFlight;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::convert::{body_block, not_iterable};
use crate::wsgi::error_stream::flush_errors;
use crate::wsgi::socket::ConnectionSocket;

/// An object whose `close()` must be called exactly once.
pub(crate) struct CloseOnce {
    object: Option<Py<PyAny>>,
    log: Arc<dyn Log>,
}

impl CloseOnce {
    pub(crate) fn new(object: Py<PyAny>, log: Arc<dyn Log>) -> CloseOnce {
        CloseOnce { object: Some(object), log }
    }

    /// Calls `close()` from a thread that is not attached to the interpreter.
    pub(crate) fn close_detached(&mut self) {
        if self.object.is_some() {
            attach(|py| self.close(py));
            flush_errors();
        }
    }

    /// Calls `close()`, unless it has been called.
    pub(crate) fn close(&mut self, py: Python<'_>) {
        let Some(object) = self.object.take() else { return };
        let closed = object.bind(py).getattr_opt("close").and_then(|close| match close {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        });
        if let Err(error) = closed {
            // The response can't be changed any more.
            let traceback = format_traceback(py, &error);
            detach(py, || self.log.error(&format!("error in the response's close(): {traceback}")));
        }
    }
}

/// The blocks of an iterable. Dropping it calls the iterable's `close()`.
pub(crate) struct BlockIterator {
    /// The first block, which was produced during the application's call.
    first: Option<Vec<u8>>,
    iterator: Option<Py<PyIterator>>,
    close: CloseOnce,
    watchdog: Option<Arc<Watchdog>>,
    /// The context in which blocks are produced after the application's call.
    context: Option<Context>,
    /// The request's `werkzeug.socket`, which is closed when the body ends.
    socket: Option<Py<ConnectionSocket>>,
}

impl BlockIterator {
    pub(crate) fn new(
        py: Python<'_>,
        result: Bound<'_, PyAny>,
        log: &Arc<dyn Log>,
        watchdog: Option<Arc<Watchdog>>,
    ) -> PyResult<BlockIterator> {
        let mut close = CloseOnce::new(result.clone().unbind(), log.clone());
        match result.try_iter() {
            Ok(iterator) => Ok(BlockIterator {
                first: None,
                iterator: Some(iterator.unbind()),
                close,
                watchdog,
                context: None,
                socket: None,
            }),
            Err(error) => {
                close.close(py);
                if error.is_instance_of::<PyTypeError>(py) && result.getattr_opt("__iter__")?.is_none() {
                    return Err(not_iterable(&result));
                }
                Err(error)
            }
        }
    }

    /// Produces the next block; `None` at the end.
    pub(crate) fn next_block<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let Some(iterator) = &self.iterator else { return Ok(None) };
        match iterator.bind(py).clone().next() {
            None => Ok(None),
            Some(next) => body_block(&next?).map(|block| Some(block.clone())),
        }
    }

    /// Produces the next block that is not empty.
    pub(crate) fn next_non_empty<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        loop {
            match self.next_block(py)? {
                Some(block) if block.as_bytes().is_empty() => {}
                Some(block) => return Ok(Some(block)),
                None => return Ok(None),
            }
        }
    }

    /// Makes a body of `first` and the blocks after it. They are produced after the application's call, in its context.
    pub(crate) fn into_body(
        mut self,
        py: Python<'_>,
        first: &Bound<'_, PyBytes>,
        socket: Option<&Bound<'_, ConnectionSocket>>,
    ) -> Body {
        self.first = Some(first.as_bytes().to_vec());
        self.keep_socket(socket);
        self.context = Some(Context::take(py));
        Body::try_iter(self)
    }

    /// Makes an empty body that calls `close()`, if there is one, after everything has been sent.
    pub(crate) fn into_close_only(mut self, py: Python<'_>, socket: Option<&Bound<'_, ConnectionSocket>>) -> Body {
        self.iterator = None;
        let object = self.close.object.as_ref();
        if object.is_some_and(|object| matches!(object.bind(py).hasattr("close"), Ok(false))) {
            self.close.object = None;
            return Body::empty();
        }
        self.keep_socket(socket);
        self.context = Some(Context::take(py));
        Body::empty().on_close(move || drop(self))
    }

    /// Ends the body: calls `close()` and ends the request's socket.
    pub(crate) fn finish(&mut self, py: Python<'_>) {
        self.iterator = None;
        self.close.close(py);
        if let Some(socket) = self.socket.take() {
            socket.get().end(py);
        }
    }

    /// Keeps the request's socket valid until this body is finished.
    fn keep_socket(&mut self, socket: Option<&Bound<'_, ConnectionSocket>>) {
        self.socket = socket.map(|socket| {
            socket.get().keep_for_body();
            socket.clone().unbind()
        });
    }

    /// Runs the application's code after its call has ended.
    fn run_after_call<R>(&mut self, run: impl FnOnce(&mut BlockIterator, Python<'_>) -> R) -> R {
        let _in_flight = InFlight::begin();
        let (watchdog, context) = (self.watchdog.clone(), self.context.take());
        let result = attach(|py| {
            let _guard = watchdog.as_ref().map(|watchdog| watchdog.resume_request(py));
            let result = match &context {
                Some(context) => context.run(py, || run(self, py)),
                None => run(self, py),
            };
            self.context = context;
            result
        });
        // This thread serves other requests before it produces the next block.
        flush_errors();
        result
    }
}

impl Iterator for BlockIterator {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        self.iterator.as_ref()?;
        self.run_after_call(|blocks, py| match blocks.next_block(py) {
            Ok(Some(block)) => Some(Ok(block.as_bytes().to_vec())),
            // `close()` is called after the client has received the response.
            Ok(None) => {
                blocks.iterator = None;
                None
            }
            Err(error) => {
                blocks.finish(py);
                Some(Err(to_app_error(py, error)))
            }
        })
    }
}

impl Drop for BlockIterator {
    fn drop(&mut self) {
        if self.iterator.is_some() || self.close.object.is_some() || self.socket.is_some() {
            self.run_after_call(BlockIterator::finish);
        }
    }
}
