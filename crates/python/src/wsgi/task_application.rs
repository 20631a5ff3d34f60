//! A WSGI application whose requests are answered in greenlets. A call only builds the environ.

use std::sync::Arc;

use amboss::{AppError, Application, Body, Environ, StartResponse};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::to_app_error;
use crate::runtime::ffi::attach;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::connection_state::ConnectionState;
use crate::wsgi::current_request::CurrentRequest;
use crate::wsgi::environ::{EnvironBuilder, RequestInput, ServerInfo};
use crate::wsgi::task::{Task, TaskHost, TaskParts};

/// A WSGI application whose requests are answered in greenlets.
pub(crate) struct TaskApplication {
    host: Arc<TaskHost>,
    app: Py<PyAny>,
    environs: EnvironBuilder,
    /// The user's `WSGIRequestHandler` class.
    handler_class: Option<Py<PyAny>>,
    watchdog: Option<Arc<Watchdog>>,
}

impl TaskApplication {
    pub(crate) fn new(
        py: Python<'_>,
        host: Arc<TaskHost>,
        app: Py<PyAny>,
        handler_class: Option<Py<PyAny>>,
        server: &ServerInfo,
        watchdog: Option<Arc<Watchdog>>,
    ) -> PyResult<TaskApplication> {
        Ok(TaskApplication { host, app, environs: EnvironBuilder::new(py, server)?, handler_class, watchdog })
    }

    fn begin(
        &self,
        py: Python<'_>,
        environ: &mut Environ<'_>,
        start_response: &mut dyn StartResponse,
    ) -> PyResult<Body> {
        let Some(id) = start_response.detach(Vec::new()) else {
            return Err(PyRuntimeError::new_err("something around the application needs its response during the call"));
        };
        let has_body = environ.input().length() != Some(0);
        let task = Py::new(py, Task::new(self.host.clone(), id))?;
        let current = CurrentRequest::Task(task.clone_ref(py));
        let input = if has_body { RequestInput::Later } else { RequestInput::Empty };
        let (dict, _) = self.environs.build(py, environ, &current, input)?;
        let Some(state) = environ.connection_extensions().get::<ConnectionState>() else {
            return Err(PyRuntimeError::new_err("the connection has no state"));
        };
        let parts = TaskParts {
            app: self.app.clone_ref(py),
            handler_class: self.handler_class.as_ref().map(|class| class.clone_ref(py)),
            handlers: state.handlers(),
            has_body,
        };
        task.get().complete(dict.unbind(), parts);
        self.host.add(id, task.clone_ref(py), task);
        if let Some(watchdog) = &self.watchdog {
            watchdog.count_request();
        }
        Ok(Body::empty())
    }
}

impl Application for TaskApplication {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        attach(|py| self.begin(py, environ, start_response).map_err(|error| to_app_error(py, error)))
    }
}
