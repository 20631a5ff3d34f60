//! The application side of the contract, in Python: one call is one stay in the interpreter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use amboss::{hijack, AppError, Application, Body, Environ, ShutdownHandle, StartResponse};
use pyo3::exceptions::{PyConnectionError, PyRuntimeError};
use pyo3::prelude::*;

use crate::errors::failed;
use crate::runtime::contextvars::Context;
use crate::runtime::ffi::attach;
use crate::worker::watchdog::{Attended, Overseer};
use crate::wsgi::body::body;
use crate::wsgi::environ::{About, Environs, Kept};
use crate::wsgi::environ_objects::flush_errors;
use crate::wsgi::input::Progress;
use crate::wsgi::start_response::Exchange;
use crate::Log;

/// Something to do after a call, in the same thread.
type After = Box<dyn Fn(Python<'_>) + Send + Sync>;

/// A WSGI application.
pub(crate) struct PyApplication {
    app: Py<PyAny>,
    environs: Environs,
    /// The user's own request handler class.
    handler: Option<Py<PyAny>>,
    log: Log,
    pub(crate) shutdown: Arc<OnceLock<ShutdownHandle>>,
    after: Option<After>,
    overseer: Option<Arc<Overseer>>,
}

impl PyApplication {
    pub(crate) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        handler: Option<Py<PyAny>>,
        about: &About,
    ) -> PyResult<PyApplication> {
        Ok(PyApplication {
            app,
            environs: Environs::new(py, about)?,
            handler,
            log: about.log.clone(),
            shutdown: about.shutdown.clone(),
            after: None,
            overseer: None,
        })
    }

    /// Has something done after each call.
    pub(crate) fn after(&mut self, after: impl Fn(Python<'_>) + Send + Sync + 'static) {
        self.after = Some(Box::new(after));
    }

    /// Has each request timed and counted.
    pub(crate) fn oversee(&mut self, overseer: Arc<Overseer>) {
        self.overseer = Some(overseer);
    }

    fn serve(
        &self,
        py: Python<'_>,
        environ: &mut Environ<'_>,
        start_response: &mut dyn StartResponse,
        attended: Option<&Attended<'_>>,
    ) -> PyResult<Body> {
        let length = environ.input().length();
        let streamed = environ.input().collected().is_none();
        let expects_continue = streamed && environ.get("HTTP_EXPECT").is_some();
        let progress = Progress::new(length, streamed, expects_continue);
        let exchange = Bound::new(py, Exchange::new(progress, attended.and_then(Attended::client_time)))?;
        let (dict, socket) = self.environs.make(py, environ, &exchange)?;
        let dict = match &self.handler {
            None => dict.into_any(),
            Some(class) => {
                let made = class.bind(py).call_method1("_of", (dict,)).and_then(|handler| {
                    let dict = handler.call_method0("make_environ")?;
                    Ok((handler.unbind(), dict))
                });
                let (handler, dict) = match made {
                    Ok((handler, dict)) => (Some(handler), Ok(dict)),
                    Err(error) => (None, Err(error)),
                };
                if let Some(kept) = environ.connection_extensions().get::<Kept>() {
                    let mut handlers = kept.handlers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    handlers.push_back(handler);
                }
                dict?
            }
        };
        let result = exchange.get().lent.lend(py, start_response, environ.input(), || {
            Context::provide(py)?;
            let result = self.app.bind(py).call1((dict, &exchange))?;
            body(py, result, &exchange, socket.as_ref(), &self.log, self.overseer.as_ref())
        });
        if let Some(status) = socket.and_then(|socket| socket.get().end_call(py)) {
            hijack(environ, status);
            // Frameworks have no other way to say that there is nothing more to send, and Werkzeug's server ignores it.
            if result.as_ref().is_err_and(|error| error.is_instance_of::<PyConnectionError>(py)) {
                return Ok(Body::empty());
            }
        } else if exchange.get().is_switching() {
            return Err(PyRuntimeError::new_err(
                "101 was answered by start_response, which can't hand the connection over; write the answer to \
                 environ['werkzeug.socket'] instead (not over TLS), and go on there",
            ));
        }
        result
    }
}

impl Application for PyApplication {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let _running = Running::begin();
        let result = attach(|py| {
            let attended = self.overseer.as_ref().map(|overseer| overseer.attend(py));
            let result = self.serve(py, environ, start_response, attended.as_ref());
            let result = result.map_err(|error| failed(py, error));
            if let Some(after) = &self.after {
                after(py);
            }
            result
        });
        flush_errors();
        result
    }
}

/// Threads of servers that are inside an application.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How many threads of servers are inside an application.
pub(crate) fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// This thread is inside an application.
pub(crate) struct Running(());

impl Running {
    pub(crate) fn begin() -> Running {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Running(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}
