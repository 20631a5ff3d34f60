//! What an application returned, as the body of an answer: its blocks, and its `close()`.

use std::io::Read;
use std::sync::Arc;

use amboss::{AppError, Body};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};

use crate::errors::{failed, traceback};
use crate::runtime::contextvars::Context;
use crate::runtime::ffi::attach;
use crate::runtime::finalize::detach;
use crate::worker::watchdog::Overseer;
use crate::wsgi::application::Running;
use crate::wsgi::environ_objects::flush_errors;
use crate::wsgi::file_wrapper::FileWrapper;
use crate::wsgi::socket::ConnectionSocket;
use crate::wsgi::start_response::{block, kind, Exchange};
use crate::wsgi::werkzeug_response as werkzeug;
use crate::Log;

/// What is left of a request's body up to this size is kept for an application that reads it while it is iterated:
/// what the server has read ahead in any case.
const KEPT: u64 = 16 * 1024;

/// Blocks of a list or tuple are joined up to this size in all: one length in front, one write, and a client of HTTP/1.0
/// keeps its connection.
const JOINED: usize = 64 * 1024;

/// Makes a body of what the application returned; its first block is asked for here, since `start_response` may come as
/// late as that.
pub(crate) fn body<'py>(
    py: Python<'py>,
    result: Bound<'py, PyAny>,
    exchange: &Bound<'py, Exchange>,
    socket: Option<&Bound<'py, ConnectionSocket>>,
    log: &Log,
    overseer: Option<&Arc<Overseer>>,
) -> PyResult<Body> {
    // Lists and tuples know what they hold, and have no `close`.
    let all = if let Ok(list) = result.cast_exact::<PyList>() {
        Some(list.iter().collect())
    } else if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        Some(tuple.iter().collect())
    } else {
        None
    };
    if let Some(joined) = all.map(|all: Vec<_>| joined(&all)).transpose()?.flatten() {
        return Ok(Body::from(joined));
    }
    if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
        match wrapper.get().system_file(py) {
            Ok(Some(file)) => {
                let mut closing = Closing::new(result.unbind(), log.clone());
                return Ok(Body::file(file).on_close(move || closing.close()));
            }
            Ok(None) => {}
            Err(error) => {
                Closing::new(result.unbind(), log.clone()).close_attached(py);
                return Err(error);
            }
        }
    }
    let is_single = werkzeug::is_single(&result);
    let mut blocks = Blocks::new(py, result, log, overseer.cloned())?;
    match blocks.first(py) {
        Ok(None) => Ok(blocks.only_close(py, socket)),
        Err(error) => {
            blocks.finish(py);
            Err(error)
        }
        Ok(Some(first)) if is_single => {
            let whole = Body::from(first.as_bytes().to_vec());
            blocks.finish(py);
            Ok(whole)
        }
        Ok(Some(first)) => {
            if !spare_input(py, exchange) {
                // The application may want to read while it is iterated, and can do so only for as long as it is called.
                if let Err(error) = write_all(py, &mut blocks, first, exchange.get()) {
                    blocks.finish(py);
                    return Err(error);
                }
                return Ok(blocks.only_close(py, socket));
            }
            blocks.first = Some(first.as_bytes().to_vec());
            blocks.keep(socket);
            blocks.context = Some(Context::take(py));
            Ok(Body::try_iter(blocks))
        }
    }
}

/// All blocks in one, unless there is none or they are too many; anything but bytes is left for whoever sends them one by one.
fn joined(blocks: &[Bound<'_, PyAny>]) -> PyResult<Option<Vec<u8>>> {
    if let [single] = blocks {
        return Ok(Some(block(single)?.as_bytes().to_vec()));
    }
    let mut joined = Vec::new();
    for block in blocks {
        match block.cast_exact::<PyBytes>() {
            Ok(block) if joined.len() + block.as_bytes().len() <= JOINED => joined.extend_from_slice(block.as_bytes()),
            _ => return Ok(None),
        }
    }
    Ok((!blocks.is_empty()).then_some(joined))
}

/// Is nothing left of the request's body that the application could read later? A little is kept for it.
fn spare_input(py: Python<'_>, exchange: &Bound<'_, Exchange>) -> bool {
    let exchange = exchange.get();
    match exchange.progress.left() {
        Some(0) => true,
        // The client sends nothing before the application reads, which it may never do.
        _ if exchange.progress.is_awaited() => false,
        Some(left) if left <= KEPT => {
            let read = detach(py, || {
                exchange.lent.with_detached(|_, input| {
                    let mut rest = Vec::new();
                    input.read_to_end(&mut rest).map(|_| rest)
                })
            });
            // A broken body is for those who read it to notice.
            if let Some(Ok(rest)) = read {
                exchange.progress.keep(rest);
                return true;
            }
            false
        }
        _ => false,
    }
}

fn write_all(py: Python<'_>, blocks: &mut Blocks, first: Bound<'_, PyBytes>, exchange: &Exchange) -> PyResult<()> {
    exchange.write(py, first.as_any())?;
    while let Some(next) = blocks.ask(py)? {
        exchange.write(py, next.as_any())?;
    }
    Ok(())
}

/// The object whose `close()` is owed, once.
struct Closing {
    object: Option<Py<PyAny>>,
    log: Log,
}

impl Closing {
    fn new(object: Py<PyAny>, log: Log) -> Closing {
        Closing { object: Some(object), log }
    }

    fn close(&mut self) {
        if self.object.is_some() {
            attach(|py| self.close_attached(py));
            flush_errors();
        }
    }

    fn close_attached(&mut self, py: Python<'_>) {
        let Some(object) = self.object.take() else { return };
        let closed = object.bind(py).getattr_opt("close").and_then(|close| match close {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        });
        if let Err(error) = closed {
            // Too late to change the answer.
            let text = traceback(py, &error);
            detach(py, || self.log.error(&format!("error in the response's close(): {text}")));
        }
    }
}

/// The blocks of an iterable, and its `close()` behind them.
struct Blocks {
    first: Option<Vec<u8>>,
    iterator: Option<Py<PyIterator>>,
    closing: Closing,
    overseer: Option<Arc<Overseer>>,
    /// Where it runs once the call is over.
    context: Option<Context>,
    /// The request's `werkzeug.socket`, which ends with the body.
    socket: Option<Py<ConnectionSocket>>,
}

impl Blocks {
    fn new(py: Python<'_>, result: Bound<'_, PyAny>, log: &Log, overseer: Option<Arc<Overseer>>) -> PyResult<Blocks> {
        let mut closing = Closing::new(result.clone().unbind(), log.clone());
        match result.try_iter() {
            Ok(iterator) => Ok(Blocks {
                first: None,
                iterator: Some(iterator.unbind()),
                closing,
                overseer,
                context: None,
                socket: None,
            }),
            Err(error) => {
                closing.close_attached(py);
                if error.is_instance_of::<PyTypeError>(py) && result.getattr_opt("__iter__")?.is_none() {
                    let mut sentence = format!(
                        "the application must return an iterable of bytes, such as [b'...'], not {}",
                        kind(&result)
                    );
                    if result.is_callable() {
                        sentence.push_str("; if it makes the application, name what it returns: module:factory(...)");
                    }
                    return Err(PyTypeError::new_err(sentence));
                }
                Err(error)
            }
        }
    }

    /// The next block; `None` at the end.
    fn ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let Some(iterator) = &self.iterator else { return Ok(None) };
        match iterator.bind(py).clone().next() {
            None => Ok(None),
            Some(next) => block(&next?).map(|block| Some(block.clone())),
        }
    }

    /// The first block that is not empty.
    fn first<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        loop {
            match self.ask(py)? {
                Some(block) if block.as_bytes().is_empty() => {}
                Some(block) => return Ok(Some(block)),
                None => return Ok(None),
            }
        }
    }

    /// Nothing more to send, but perhaps a `close()` to call when the client has what was sent.
    fn only_close(mut self, py: Python<'_>, socket: Option<&Bound<'_, ConnectionSocket>>) -> Body {
        self.iterator = None;
        let object = self.closing.object.as_ref();
        if object.is_some_and(|object| matches!(object.bind(py).hasattr("close"), Ok(false))) {
            self.closing.object = None;
            return Body::empty();
        }
        self.keep(socket);
        self.context = Some(Context::take(py));
        Body::empty().on_close(move || drop(self))
    }

    /// Runs the application's code when its call is over.
    fn later<R>(&mut self, run: impl FnOnce(&mut Blocks, Python<'_>) -> R) -> R {
        let _running = Running::begin();
        let (overseer, context) = (self.overseer.clone(), self.context.take());
        let result = attach(|py| {
            let _attended = overseer.as_ref().map(|overseer| overseer.timed(py));
            let result = match &context {
                Some(context) => context.run(py, || run(self, py)),
                None => run(self, py),
            };
            self.context = context;
            result
        });
        // Others are served here before the next block is asked for.
        flush_errors();
        result
    }

    /// The request goes on until this body is finished.
    fn keep(&mut self, socket: Option<&Bound<'_, ConnectionSocket>>) {
        self.socket = socket.map(|socket| {
            socket.get().keep_for_body();
            socket.clone().unbind()
        });
    }

    fn finish(&mut self, py: Python<'_>) {
        self.iterator = None;
        self.closing.close_attached(py);
        if let Some(socket) = self.socket.take() {
            socket.get().end(py);
        }
    }
}

impl Iterator for Blocks {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        self.iterator.as_ref()?;
        self.later(|blocks, py| match blocks.ask(py) {
            Ok(Some(block)) => Some(Ok(block.as_bytes().to_vec())),
            // `close()` can wait until the client has its answer.
            Ok(None) => {
                blocks.iterator = None;
                None
            }
            Err(error) => {
                blocks.finish(py);
                Some(Err(failed(py, error)))
            }
        })
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        if self.iterator.is_some() || self.closing.object.is_some() || self.socket.is_some() {
            self.later(Blocks::finish);
        }
    }
}
