//! Calls a WSGI application for each request.
//!
//! A call enters the interpreter once: it builds the environ, calls the application and takes the first block of the
//! result. Later blocks are produced when the client has room for them.

use std::sync::Arc;

use amboss::{hijack, AppError, Application, Body, Environ, Log};
use pyo3::exceptions::{PyConnectionError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::to_app_error;
use crate::runtime::contextvars::Context;
use crate::runtime::ffi::attach;
use crate::worker::in_flight::InFlight;
use crate::worker::watchdog::{RequestGuard, Watchdog};
use crate::wsgi::body::make_body;
use crate::wsgi::connection_state::ConnectionState;
use crate::wsgi::current_request::CurrentRequest;
use crate::wsgi::environ::{EnvironBuilder, RequestInput, ServerInfo};
use crate::wsgi::error_stream::flush_errors;
use crate::wsgi::input::Input;
use crate::wsgi::input_progress::InputProgress;
use crate::wsgi::start_response::StartResponse;
use crate::wsgi::task::SWITCHING_PROTOCOLS;

/// A function that runs after each call, in the same thread.
pub(crate) type AfterCall = Arc<dyn Fn(Python<'_>) + Send + Sync>;

/// A WSGI application.
pub(crate) struct PyApplication {
    app: Py<PyAny>,
    environs: EnvironBuilder,
    /// The user's `WSGIRequestHandler` class.
    handler_class: Option<Py<PyAny>>,
    log: Arc<dyn Log>,
    after_call: Option<AfterCall>,
    /// Times and counts requests.
    watchdog: Option<Arc<Watchdog>>,
}

impl PyApplication {
    pub(crate) fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        handler_class: Option<Py<PyAny>>,
        server: &ServerInfo,
        after_call: Option<AfterCall>,
        watchdog: Option<Arc<Watchdog>>,
    ) -> PyResult<PyApplication> {
        Ok(PyApplication {
            app,
            environs: EnvironBuilder::new(py, server)?,
            handler_class,
            log: server.log.clone(),
            after_call,
            watchdog,
        })
    }

    fn serve(
        &self,
        py: Python<'_>,
        environ: &mut Environ<'_>,
        start_response: &mut dyn amboss::StartResponse,
        guard: Option<&RequestGuard<'_>>,
    ) -> PyResult<Body> {
        let length = environ.input().length();
        let streamed = environ.input().collected().is_none();
        let expects_continue = streamed && environ.get("HTTP_EXPECT").is_some();
        let progress = InputProgress::new(length, streamed, expects_continue);
        let timer = guard.and_then(RequestGuard::client_wait_timer);
        let request = Bound::new(py, StartResponse::new(progress, timer))?;
        let input = match request.get().progress.left() {
            Some(0) => RequestInput::Empty,
            _ => RequestInput::Body(Py::new(py, Input::new(request.clone().unbind()))?),
        };
        let current = CurrentRequest::Call(request.clone().unbind());
        let (dict, socket) = self.environs.build(py, environ, &current, input)?;
        let dict = match &self.handler_class {
            None => dict.into_any(),
            Some(class) => handle_environ(class.bind(py), dict, environ)?,
        };
        let result = request.get().server.lend(py, start_response, environ.input(), || {
            Context::ensure(py)?;
            let result = self.app.bind(py).call1((dict, &request))?;
            make_body(py, result, &request, socket.as_ref(), &self.log, self.watchdog.as_ref())
        });
        if let Some(status) = socket.and_then(|socket| socket.get().end_call(py)) {
            hijack(environ, status);
            // Frameworks raise ConnectionError to say that nothing more is to be sent, which Werkzeug's server ignores.
            if result.as_ref().is_err_and(|error| error.is_instance_of::<PyConnectionError>(py)) {
                return Ok(Body::empty());
            }
        } else if request.get().is_switching_protocols() {
            return Err(PyRuntimeError::new_err(SWITCHING_PROTOCOLS));
        }
        result
    }
}

/// Creates the user's request handler for a request, and returns the environ that it makes.
fn handle_environ<'py>(
    class: &Bound<'py, PyAny>,
    dict: Bound<'py, PyDict>,
    environ: &mut Environ<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let created = class.call_method1("_for_environ", (dict,)).and_then(|handler| {
        let dict = handler.call_method0("make_environ")?;
        Ok((handler.unbind(), dict))
    });
    let (handler, dict) = match created {
        Ok((handler, dict)) => (Some(handler), Ok(dict)),
        Err(error) => (None, Err(error)),
    };
    if let Some(state) = environ.connection_extensions().get::<ConnectionState>() {
        state.push_handler(handler);
    }
    dict
}

impl Application for PyApplication {
    fn call(
        &self,
        environ: &mut Environ<'_>,
        start_response: &mut dyn amboss::StartResponse,
    ) -> Result<Body, AppError> {
        let _in_flight = InFlight::begin();
        let result = attach(|py| {
            let guard = self.watchdog.as_ref().map(|watchdog| watchdog.begin_request(py));
            let result = self.serve(py, environ, start_response, guard.as_ref());
            let result = result.map_err(|error| to_app_error(py, error));
            if let Some(after_call) = &self.after_call {
                after_call(py);
            }
            result
        });
        flush_errors();
        result
    }
}
