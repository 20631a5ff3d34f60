//! Serving while Python's main thread waits for signals: its handlers run as they do in any Python program.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use amboss::{ServeError, Server, ShutdownHandle};
use pyo3::prelude::*;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;

/// What the server came back with; none when it was left behind by a second interrupt.
pub(crate) type Served = (Server, Result<(), ServeError>);

/// Serves in a thread of its own until the server stops. Meanwhile this thread, when it is Python's main thread, runs
/// signal handlers; an exception in one of them (CTRL+C's KeyboardInterrupt) is given to `interrupted`, which says whether
/// it is to be raised at once.
pub(crate) fn serve(
    py: Python<'_>,
    mut server: Server,
    mut interrupted: impl FnMut(Python<'_>, &ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Served> {
    let handle = server.shutdown_handle();
    let (over, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let thread = thread::Builder::new().name("amboss-serve".into()).spawn(move || {
        let served = server.serve_forever();
        drop(end);
        (server, served)
    })?;
    loop {
        let waited = py.detach(|| poll(&mut [PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN)], None));
        // Before the end is noticed: a signal may have been its cause.
        if let Err(error) = py.check_signals() {
            interrupted(py, &handle, error)?;
        }
        match waited {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    py.detach(|| thread.join()).map_err(|_| pyo3::exceptions::PyRuntimeError::new_err("the server has panicked"))
        .map(Ok)?
}
