//! The request that the objects of a connection act on: one whose application is being called, or one that is answered in
//! a greenlet.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::from_start_error;
use crate::runtime::finalize::detach;
use crate::wsgi::start_response::StartResponse;
use crate::wsgi::task::Task;

/// The current request of a connection.
pub(crate) enum CurrentRequest {
    Call(Py<StartResponse>),
    Task(Py<Task>),
}

impl CurrentRequest {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> CurrentRequest {
        match self {
            CurrentRequest::Call(request) => CurrentRequest::Call(request.clone_ref(py)),
            CurrentRequest::Task(task) => CurrentRequest::Task(task.clone_ref(py)),
        }
    }

    /// Stops timing the request: on the connection's socket, waiting for the client can't be told from other work.
    pub(crate) fn stop_timing(&self) {
        if let CurrentRequest::Call(request) = self {
            request.get().stop_timing();
        }
    }

    /// Sends early hints.
    pub(crate) fn early_hints(&self, py: Python<'_>, fields: &[(&str, &[u8])]) -> PyResult<()> {
        let request = match self {
            CurrentRequest::Call(request) => request,
            CurrentRequest::Task(task) => return task.get().early_hints(fields),
        };
        match detach(py, || request.get().server.with_detached(|server, _| server.early_hints(fields))) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(from_start_error(&error)),
            None => Err(PyRuntimeError::new_err(
                "early hints must be sent before the response, and the request has been answered",
            )),
        }
    }

    /// Sends the responses to earlier requests, before the application writes to the connection's socket. Returns false if
    /// they have to be waited for.
    pub(crate) fn take_over(&self, py: Python<'_>, status: u16) -> PyResult<bool> {
        let request = match self {
            CurrentRequest::Call(request) => request,
            CurrentRequest::Task(task) => return task.get().take_over(status),
        };
        match detach(py, || request.get().server.with_detached(|server, _| server.flush())) {
            // `None`: the body is being iterated, so the earlier responses have been sent.
            Some(Ok(())) | None => Ok(true),
            Some(Err(error)) => Err(from_start_error(&error)),
        }
    }
}
