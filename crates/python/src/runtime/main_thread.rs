//! Runs a server while Python's main thread waits for signals, so that signal handlers run as in any Python program.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use amboss::{ServeError, Server, ShutdownHandle};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};

use crate::runtime::finalize::detach;
use crate::runtime::thread_stack;

/// The server, unless it had to be abandoned, and the result of the function that ran it.
pub(crate) type Outcome<R> = (Option<Server>, Result<R, ServeError>);

/// How long to wait for a server after its shutdown deadline. A server with a thread pool returns soon after the
/// deadline; a server that runs requests in its own thread returns only when the application does.
const ABANDON_AFTER: Duration = Duration::from_secs(2);

/// Serves in a separate thread until the server stops. See [`run_in_thread`].
pub(crate) fn serve_forever(
    py: Python<'_>,
    server: Server,
    on_exception: impl FnMut(&ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Outcome<()>> {
    run_in_thread(py, server, Server::serve_forever, on_exception)
}

/// Runs a server in a separate thread. In the meantime this thread runs Python's signal handlers, if it is Python's
/// main thread.
///
/// An exception of a signal handler is passed to `on_exception`. If that returns an error, this function returns at
/// once and abandons the server. It also abandons the server if the application is still running [`ABANDON_AFTER`]
/// after the shutdown deadline.
pub(crate) fn run_in_thread<R: Default + Send + 'static>(
    py: Python<'_>,
    mut server: Server,
    run: impl FnOnce(&mut Server) -> Result<R, ServeError> + Send + 'static,
    mut on_exception: impl FnMut(&ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Outcome<R>> {
    let handle = server.shutdown_handle();
    let (log, deadline) = (server.settings().log.clone(), server.settings().timeouts.shutdown);
    let (done, done_signal) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let done_signal = DoneSignal(done_signal);
    // Opened before the server starts: its clients may use up all file descriptors.
    let wakeup = WakeupPipe::new(py)?;
    // A server with one thread calls the application here, and so does a thread pool that can't start its threads.
    let builder = thread::Builder::new().name("amboss-serve".into()).stack_size(thread_stack::size(py));
    let thread = builder.spawn(move || {
        let _done_signal = done_signal;
        let result = run(&mut server);
        (Some(server), result)
    })?;
    let mut is_done = Ok(false);
    let mut abandon_at = None;
    loop {
        wakeup.drain();
        // Signals are checked before the first wait, because one that arrived before the pipe was installed has left no
        // byte in it; and before the end of the server is handled, because a signal may have caused that end.
        if let Err(error) = py.check_signals() {
            on_exception(&handle, error)?;
        }
        match is_done {
            Ok(true) => break,
            Ok(false) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if abandon_at.is_none() && handle.is_requested() {
            abandon_at = Instant::now().checked_add(deadline.saturating_add(ABANDON_AFTER));
        }
        let left = abandon_at.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            log.error(&format!("abandoned a request that was still running {deadline:?} after shutdown was requested"));
            return Ok((None, Ok(R::default())));
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let (done, woken) = (done.as_fd(), wakeup.reader.as_fd());
        is_done = detach(py, || {
            let mut both = [done, woken].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            poll(&mut both, left.as_ref()).map(|_| !both[0].revents().is_empty())
        });
    }
    drop(wakeup);
    detach(py, || thread.join())
        .map_err(|_| PyRuntimeError::new_err("the server has panicked; its log contains the panic message"))
}

/// Signals the end of a thread by writing a byte, even if the thread panicked. Closing the pipe would not be enough: a
/// process that the application has forked may hold it open.
struct DoneSignal(OwnedFd);

impl Drop for DoneSignal {
    fn drop(&mut self) {
        // This fails if the reader is closed, so there is no thread to notify.
        let _ = rustix::io::write(&self.0, &[1]);
    }
}

/// A pipe that is installed with `signal.set_wakeup_fd`: each signal writes a byte. A signal interrupts a system call
/// only if that call is blocked already, and only in the thread that receives the signal. Without the pipe, the main
/// thread would miss a signal that arrives a moment too early, or in another thread.
struct WakeupPipe<'py> {
    py: Python<'py>,
    reader: OwnedFd,
    _writer: OwnedFd,
    /// The descriptor that was installed before; `None` if this is not Python's main thread.
    previous: Option<i32>,
}

impl<'py> WakeupPipe<'py> {
    fn new(py: Python<'py>) -> PyResult<WakeupPipe<'py>> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reader, writer) = pipe_with(flags).map_err(io::Error::from)?;
        let previous = match set_wakeup_fd(py, writer.as_raw_fd()) {
            Ok(previous) => Some(previous),
            Err(error) if error.is_instance_of::<PyValueError>(py) => None,
            Err(error) => return Err(error),
        };
        Ok(WakeupPipe { py, reader, _writer: writer, previous })
    }

    /// Empties the pipe.
    fn drain(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }
}

impl Drop for WakeupPipe<'_> {
    fn drop(&mut self) {
        if let Some(previous) = self.previous {
            // This can't fail: Python has accepted this descriptor before.
            let _ = set_wakeup_fd(self.py, previous);
        }
    }
}

fn set_wakeup_fd(py: Python<'_>, number: i32) -> PyResult<i32> {
    let options = [("warn_on_full_buffer", false)].into_py_dict(py)?;
    py.import("signal")?.call_method("set_wakeup_fd", (number,), Some(&options))?.extract()
}

/// Handles an exception of a signal handler: the first CTRL+C stops the server gracefully, the second one at once; any
/// other exception stops the server and is raised.
pub(crate) fn stop_gracefully_first(handle: &ShutdownHandle, error: PyErr) -> PyResult<()> {
    let is_interrupt = Python::attach(|py| error.is_instance_of::<PyKeyboardInterrupt>(py));
    let is_first = !handle.is_requested();
    handle.shutdown();
    if is_interrupt && is_first {
        let _ =
            writeln!(io::stderr(), "Stopping when the running requests are done; press CTRL+C again to stop at once.");
        return Ok(());
    }
    Err(error)
}

/// Handles an exception of a signal handler: stops the server and raises the exception.
pub(crate) fn stop_at_once(handle: &ShutdownHandle, error: PyErr) -> PyResult<()> {
    handle.shutdown();
    Err(error)
}
