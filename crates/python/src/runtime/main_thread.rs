//! Serving while Python's main thread waits for signals: its handlers run as they do in any Python program.

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

use crate::errors::failed;
use crate::runtime::ffi::attach;
use crate::runtime::finalize::detach;
use crate::runtime::thread_stack as stack;

/// A server, unless it had to be left behind, and what it came back with.
pub(crate) type Served<R> = (Option<Server>, Result<R, ServeError>);

/// How much longer than until the deadline of a stop a server is waited for. Where threads run requests it comes back soon
/// after that; one that runs them itself does not as long as the application doesn't.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

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
/// behind then. So it is when the application has not come back long after the server was told to stop.
pub(crate) fn wait_for<R: Default + Send + 'static>(
    py: Python<'_>,
    mut server: Server,
    run: impl FnOnce(&mut Server) -> Result<R, ServeError> + Send + 'static,
    mut interrupted: impl FnMut(&ShutdownHandle, PyErr) -> PyResult<()>,
) -> PyResult<Served<R>> {
    let handle = server.shutdown_handle();
    let (log, deadline) = (server.settings().log.clone(), server.settings().timeouts.shutdown);
    let (over, end) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let end = End(end);
    // Before clients can have taken all descriptors.
    let wakeup = Wakeup::new(py)?;
    // One request at a time runs here, and so does everything when the system gives no further thread.
    let builder = thread::Builder::new().name("amboss-serve".into()).stack_size(stack::size(py));
    let thread = builder.spawn(move || {
        let _end = end;
        let served = run(&mut server);
        (Some(server), served)
    })?;
    let mut waited = Ok(false);
    let mut give_up = None;
    loop {
        wakeup.forget();
        // Before the first wait, since one that came before the pipe was there has left nothing in it; and before the end is
        // noticed, since a signal may have been its cause.
        if let Err(error) = py.check_signals() {
            interrupted(&handle, error)?;
        }
        match waited {
            Ok(true) => break,
            Ok(false) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if give_up.is_none() && handle.is_requested() {
            give_up = Instant::now().checked_add(deadline.saturating_add(LEFT_BEHIND));
        }
        let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            log.error(&format!(
                "left a request behind that was not done {deadline:?} after the server was told to stop"
            ));
            return Ok((None, Ok(R::default())));
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let (over, woken) = (over.as_fd(), wakeup.noted.as_fd());
        waited = detach(py, || {
            let mut both = [over, woken].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            poll(&mut both, left.as_ref()).map(|_| !both[0].revents().is_empty())
        });
    }
    drop(wakeup);
    detach(py, || thread.join()).map_err(|_| PyRuntimeError::new_err("the server has panicked; its log says where"))
}

/// Says that a thread is over, also one that panicked. By a byte: a process that the application has forked may hold the
/// pipe open.
struct End(OwnedFd);

impl Drop for End {
    fn drop(&mut self) {
        // Nobody is there to be told when the other side is closed.
        let _ = rustix::io::write(&self.0, &[1]);
    }
}

/// Has each signal leave a byte in a pipe. A signal interrupts only who waits already, and only the thread it is delivered
/// to; without this, one that comes a moment too early, or to another thread, is noted by nobody.
struct Wakeup<'py> {
    py: Python<'py>,
    noted: OwnedFd,
    _noting: OwnedFd,
    /// Where they were noted before; `None` when this is not the thread that runs handlers.
    before: Option<i32>,
}

impl<'py> Wakeup<'py> {
    fn new(py: Python<'py>) -> PyResult<Wakeup<'py>> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (noted, noting) = pipe_with(flags).map_err(io::Error::from)?;
        let before = match set_wakeup_fd(py, noting.as_raw_fd()) {
            Ok(before) => Some(before),
            Err(error) if error.is_instance_of::<PyValueError>(py) => None,
            Err(error) => return Err(error),
        };
        Ok(Wakeup { py, noted, _noting: noting, before })
    }

    /// What was noted is seen to now.
    fn forget(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.noted, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }
}

impl Drop for Wakeup<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // It was good before.
            let _ = set_wakeup_fd(self.py, before);
        }
    }
}

fn set_wakeup_fd(py: Python<'_>, number: i32) -> PyResult<i32> {
    let options = [("warn_on_full_buffer", false)].into_py_dict(py)?;
    py.import("signal")?.call_method("set_wakeup_fd", (number,), Some(&options))?.extract()
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
        let _ =
            writeln!(io::stderr(), "Stopping when the running requests are done; press CTRL+C again to stop at once.");
        return Ok(());
    }
    Err(error)
}

/// Whatever a signal handler raises is raised.
pub(crate) fn at_once(handle: &ShutdownHandle, error: PyErr) -> PyResult<()> {
    handle.shutdown();
    Err(error)
}
