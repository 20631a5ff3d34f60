//! Serving while Python's main thread waits for signals: its handlers run as they do in any Python program.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use amboss::{ServeError, Server, ShutdownHandle};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;

use crate::failure::failed;
use crate::raw::attach;

/// What a server came back with.
pub(crate) type Served<R> = (Server, Result<R, ServeError>);

/// Serves in a thread of its own until the server stops. See [`wait_for`].
pub(crate) fn serve(
    py: Python<'_>,
    server: Server,
    interrupted: impl FnMut(&ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Served<()>> {
    wait_for(py, server, Server::serve_forever, interrupted)
}

/// Lets a server run in a thread of its own. Meanwhile this one, if it is Python's main thread, runs signal handlers; what
/// they raise is given to `interrupted`, which raises it on when it is not to be waited any longer: the server is left
/// behind then.
pub(crate) fn wait_for<R: Send + 'static>(
    py: Python<'_>,
    mut server: Server,
    run: impl FnOnce(&mut Server) -> Result<R, ServeError> + Send + 'static,
    mut interrupted: impl FnMut(&ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Served<R>> {
    let handle = server.shutdown_handle();
    let (over, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let thread = thread::Builder::new().name("amboss-serve".into()).spawn(move || {
        let served = run(&mut server);
        drop(end);
        (server, served)
    })?;
    loop {
        let waited = py.detach(|| poll(&mut [PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN)], None));
        // Before the end is noticed: a signal may have been its cause.
        if let Err(error) = py.check_signals() {
            interrupted(&handle, error)?;
        }
        match waited {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    py.detach(|| thread.join()).map_err(|_| PyRuntimeError::new_err("the server has panicked; its log says where"))
}

/// What a server came back with, where an exception is a failure like another.
pub(crate) fn flatten<R>(served: PyResult<Served<R>>) -> Result<R, ServeError> {
    match served {
        Ok((_, served)) => served,
        Err(error) => Err(ServeError::Application(attach(|py| failed(py, error)))),
    }
}

/// The first CTRL+C stops gracefully, the second at once; any other exception is raised, and the server stops.
pub(crate) fn graceful_first(handle: &ShutdownHandle, error: PyErr) -> PyResult<()> {
    let interrupt = Python::attach(|py| error.is_instance_of::<PyKeyboardInterrupt>(py));
    let first = !handle.is_requested();
    handle.shutdown();
    if interrupt && first {
        eprintln!("Stopping when the running requests are done; press CTRL+C again to stop at once.");
        return Ok(());
    }
    Err(error)
}

/// Whatever a signal handler raises is raised.
pub(crate) fn at_once(handle: &ShutdownHandle, error: PyErr) -> PyResult<()> {
    handle.shutdown();
    Err(error)
}
