//! A process that serves a Python application, as the library sees it.

use std::sync::{Arc, OnceLock};

use amboss::{Application, Host, RunError, ServeError, Server, Settings, ShutdownHandle, Worker};
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

use crate::errors::failed;
use crate::runtime::ffi::attach;
use crate::runtime::main_thread as waiting;
use crate::runtime::thread_stack as stack;
use crate::wsgi::application::PyApplication;

/// Has signals stop a server.
type FollowSignals = Box<dyn FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send>;

/// Makes its application when it is asked for it, in the process that serves, and waits with an ear for signals.
pub(crate) struct PyHost<F> {
    make: Option<F>,
    signals: Option<FollowSignals>,
    shutdown: Option<Arc<OnceLock<ShutdownHandle>>>,
}

impl<F> PyHost<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<PyApplication>,
{
    pub(crate) fn new(make: F) -> PyHost<F> {
        PyHost { make: Some(make), signals: None, shutdown: None }
    }

    /// With something to do about signals before it serves.
    pub(crate) fn with_signals(
        mut self,
        follow: impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static,
    ) -> PyHost<F> {
        self.signals = Some(Box::new(follow));
        self
    }
}

/// An exception on its way through the library: one that ends a program with a code ends it with that code.
pub(crate) fn raised(error: PyErr) -> RunError {
    attach(|py| {
        let code = error.is_instance_of::<PySystemExit>(py).then(|| error.value(py).getattr("code")?.extract());
        match code {
            Some(Ok(code)) => RunError::Exit(code),
            Some(PyResult::Err(_)) | None => RunError::Serve(ServeError::Application(failed(py, error))),
        }
    })
}

impl<F> Host for PyHost<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<PyApplication>,
{
    fn application(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        let Some(make) = self.make.take() else { return Err(RunError::Options("this host has served already")) };
        let application = attach(|py| {
            py.import("amboss._startup_report")?.call_method1("taken_over", (worker.server_fd(),))?;
            make(py, worker)
        });
        let application = application.map_err(raised)?;
        self.shutdown = Some(application.shutdown.clone());
        Ok(Arc::new(application))
    }

    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        // The application may have called `threading.stack_size` while it was imported.
        settings.thread_stack_size = Some(attach(stack::size));
        Ok(())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        if let Some(shutdown) = &self.shutdown {
            let _ = shutdown.set(server.shutdown_handle());
        }
        self.signals.take().map_or(Ok(()), |follow| follow(server.shutdown_handle(), worker)).map_err(raised)
    }

    fn serve(&mut self, server: Server) -> Result<(), ServeError> {
        waiting::flatten(attach(|py| waiting::serve(py, server, waiting::graceful_first)))
    }
}
