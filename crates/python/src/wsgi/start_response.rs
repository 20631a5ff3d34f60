//! `start_response` and `write` of one request.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use amboss::{AppError, StartError};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use crate::runtime::ffi::{latin1_bytes, Lent};
use crate::runtime::finalize::detach;
use crate::worker::watchdog::ClientTime;
use crate::wsgi::input::Progress;
use crate::ClientDisconnected;

/// Most answers have no more header fields than this.
const FEW: usize = 8;

/// A request while the application answers it. Called with status and headers it is `start_response`, which returns it;
/// called with bytes it is `write`. One object less for each request.
#[pyclass(frozen, module = "amboss._amboss", name = "StartResponse")]
pub(crate) struct Exchange {
    pub(crate) lent: Lent,
    pub(crate) progress: Progress,
    /// The status that was set last is 101.
    switching: AtomicBool,
    /// What tells the watch over running requests that the client is waited for.
    client_time: Option<ClientTime>,
}

impl Exchange {
    pub(crate) fn new(progress: Progress, client_time: Option<ClientTime>) -> Exchange {
        Exchange { lent: Lent::default(), progress, switching: AtomicBool::new(false), client_time }
    }

    /// Runs what may wait for the client, which is not the application's time.
    pub(crate) fn with_client<R>(&self, run: impl FnOnce() -> R) -> R {
        let _wait = self.client_time.as_ref().map(ClientTime::begin);
        run()
    }

    /// The application has the connection's socket: from now on nobody can tell whose time passes.
    pub(crate) fn stop_timing(&self) {
        if let Some(client_time) = &self.client_time {
            client_time.give_up();
        }
    }

    /// Has the application answered 101, after which the connection speaks another protocol?
    pub(crate) fn is_switching(&self) -> bool {
        self.switching.load(Ordering::Relaxed)
    }

    fn start(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let status = status.cast::<PyString>().map_err(|_| {
            PyTypeError::new_err(format!("the status must be a str like '200 OK', not {}", kind(status)))
        })?;
        let status = native(status, "the status")?;
        let status = std::str::from_utf8(&status).map_err(|_| PyValueError::new_err("the status must be ASCII"))?;
        let pairs = pairs(headers)?;
        let mut texts = SmallVec::<[_; FEW]>::with_capacity(pairs.len());
        for (name, value) in &pairs {
            texts.push((native(name, "the name of a header")?, native(value, "the value of a header")?));
        }
        let mut fields = SmallVec::<[(&str, &[u8]); FEW]>::with_capacity(texts.len());
        for (name, value) in &texts {
            let name = std::str::from_utf8(name)
                .map_err(|_| PyValueError::new_err(format!("a header's name must be ASCII, which {name:?} is not")))?;
            fields.push((name, value));
        }
        // What it was matters to Python alone, which keeps it.
        let error: Option<AppError> = exc_info.as_ref().map(|_| "replaced".into());
        let begun = self.lent.with(py, |start_response, _| start_response.begin(status, &fields, error.as_ref()));
        match begun {
            Some(Ok(())) => {
                self.switching.store(status.starts_with("101"), Ordering::Relaxed);
                Ok(())
            }
            Some(Err(StartError::Twice)) => Err(PyRuntimeError::new_err(
                "start_response was called a second time without exc_info; give it sys.exc_info() to replace the first",
            )),
            Some(Err(error @ StartError::Response(_))) => Err(PyValueError::new_err(error.to_string())),
            // After the call the head has been sent, or is about to be.
            Some(Err(StartError::HeadSent)) | None => Err(match exc_info {
                Some(exc_info) => raise(&exc_info)?,
                None => PyRuntimeError::new_err("start_response was called after the request was answered"),
            }),
            Some(Err(error)) => Err(start_error(error)),
        }
    }

    /// Sends a block now. Blocks while the client takes its time, not the interpreter.
    pub(crate) fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = block(data)?;
        let bytes = data.as_bytes();
        let write = || self.lent.with_detached(|start_response, _| start_response.write(bytes));
        let written = detach(py, || self.with_client(write));
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(start_error(error)),
            None => Err(PyRuntimeError::new_err("write was called after the request was answered")),
        }
    }
}

#[pymethods]
impl Exchange {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Exchange>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Exchange>> {
        let py = slf.py();
        let mut exc_info = None;
        if let Some(kwargs) = kwargs {
            for (name, value) in kwargs {
                if name.cast::<PyString>().is_ok_and(|name| name == "exc_info") {
                    exc_info = Some(value);
                } else {
                    return Err(PyTypeError::new_err(format!("start_response has no parameter {name}")));
                }
            }
        }
        match args.len() {
            1 if exc_info.is_none() => slf.get().write(py, &args.get_item(0)?)?,
            2 | 3 => {
                if args.len() == 3 {
                    exc_info = Some(args.get_item(2)?);
                }
                let exc_info = exc_info.filter(|info| !info.is_none());
                slf.get().start(py, &args.get_item(0)?, &args.get_item(1)?, exc_info)?;
            }
            _ => {
                return Err(PyTypeError::new_err(
                    "start_response takes a status, a list of headers and perhaps exc_info; write takes bytes",
                ))
            }
        }
        Ok(slf.clone())
    }
}

/// The name of an object's type, for sentences.
pub(crate) fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}

/// A block of a body.
pub(crate) fn block<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    object.cast::<PyBytes>().map_err(|_| {
        let hint = if object.is_instance_of::<PyString>() { "; encode it" } else { "" };
        PyTypeError::new_err(format!("a block of the body must be bytes, not {}{hint}", kind(object)))
    })
}

pub(crate) type Pair<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

/// The fields of a head, as PEP 3333 has them.
pub(crate) fn pairs<'py>(headers: &Bound<'py, PyAny>) -> PyResult<SmallVec<[Pair<'py>; FEW]>> {
    let wrong =
        |what: String| PyTypeError::new_err(format!("headers must be a list of (name, value) tuples of str, {what}"));
    let pair = |item: Bound<'py, PyAny>| -> PyResult<Pair<'py>> {
        let Ok(pair) = item.cast::<PyTuple>() else { return Err(wrong(format!("not of {}", kind(&item)))) };
        if pair.len() != 2 {
            return Err(wrong(format!("not tuples of {}", pair.len())));
        }
        let text = |index| {
            let item = pair.get_item(index)?;
            item.cast_into::<PyString>().map_err(|error| wrong(format!("not of {}", kind(&error.into_inner()))))
        };
        Ok((text(0)?, text(1)?))
    };
    if let Ok(list) = headers.cast::<PyList>() {
        list.iter().map(pair).collect()
    } else if let Ok(tuple) = headers.cast::<PyTuple>() {
        tuple.iter().map(pair).collect()
    } else {
        Err(wrong(format!("not {}", kind(headers))))
    }
}

/// The bytes of a native string.
pub(crate) fn native<'a>(text: &'a Bound<'_, PyString>, what: &str) -> PyResult<std::borrow::Cow<'a, [u8]>> {
    latin1_bytes(text).ok_or_else(|| {
        PyValueError::new_err(format!("{what} has characters beyond latin-1 ({text:?}); encode them (PEP 3333)"))
    })
}

/// The exception of an `exc_info`, with its traceback.
fn raise(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let exc_info = exc_info.cast::<PyTuple>().map_err(|_| {
        PyTypeError::new_err(format!("exc_info must be a tuple as of sys.exc_info(), not {}", kind(exc_info)))
    })?;
    let value = exc_info.get_item(1)?;
    let value = value.call_method1("with_traceback", (exc_info.get_item(2)?,))?;
    Ok(PyErr::from_value(value))
}

pub(crate) fn start_error(error: StartError) -> PyErr {
    match error {
        StartError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            ClientDisconnected::new_err("the client takes its answer too slowly")
        }
        StartError::Io(error) => ClientDisconnected::new_err(format!("the client has left: {error}")),
        error @ StartError::Response(_) => PyValueError::new_err(error.to_string()),
        error => PyRuntimeError::new_err(error.to_string()),
    }
}
