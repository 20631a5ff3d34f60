//! A process that serves a Python application, as the library sees it.

use std::sync::{Arc, OnceLock};

use amboss::{Application, Host, RunError, ServeError, Server, ShutdownHandle, Worker};
use pyo3::prelude::*;

use crate::application::PyApplication;
use crate::raw::attach;
use crate::waiting;

/// Makes its application when it is asked for it, in the process that serves, and waits with an ear for signals.
pub(crate) struct PyHost<F> {
    make: Option<F>,
    shutdown: Option<Arc<OnceLock<ShutdownHandle>>>,
}

impl<F> PyHost<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<PyApplication>,
{
    pub(crate) fn new(make: F) -> PyHost<F> {
        PyHost { make: Some(make), shutdown: None }
    }
}

/// An exception on its way through the library.
fn raised(error: PyErr) -> RunError {
    RunError::Serve(ServeError::Application(attach(|py| crate::failure::failed(py, error))))
}

impl<F> Host for PyHost<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<PyApplication>,
{
    fn application(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        let Some(make) = self.make.take() else { return Err(RunError::Options("this host has served already")) };
        let application = attach(|py| make(py, worker)).map_err(raised)?;
        self.shutdown = Some(application.shutdown.clone());
        Ok(Arc::new(application))
    }

    fn started(&mut self, server: &Server) -> Result<(), RunError> {
        if let Some(shutdown) = &self.shutdown {
            let _ = shutdown.set(server.shutdown_handle());
        }
        Ok(())
    }

    fn serve(&mut self, server: Server) -> Result<(), ServeError> {
        let served = attach(|py| waiting::serve(py, server, waiting::graceful_first));
        match served {
            Ok((_, served)) => served,
            Err(error) => Err(ServeError::Application(attach(|py| crate::failure::failed(py, error)))),
        }
    }
}
