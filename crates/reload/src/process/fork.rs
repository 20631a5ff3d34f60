//! Children made by a fork: copies of this process, with everything that it has in memory.
//!
//! The embedder calls `fork` itself. A forked copy of a process has only one of its threads, and only the embedder
//! knows whether that is safe. This module prepares the sockets that the child serves on, and closes in the child what
//! belongs to the supervisor.

use std::any::Any;
use std::fmt;
use std::io::{self, StderrLock, StdoutLock, Write as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use rustix::process::Pid;

use super::child::ChildProcess;
use super::control::ControlSocket;
use super::inherited::mark_as_forked_child;
use super::parent_death::die_with_parent;
use super::signals::{restore_default_signals, wait_for_running_handlers};

/// The embedder's function that forks this process.
#[derive(Clone)]
pub(super) struct Forker(Arc<dyn Fn(Forked) -> io::Result<u32> + Send + Sync>);

impl Forker {
    pub(super) fn new(fork: impl Fn(Forked) -> io::Result<u32> + Send + Sync + 'static) -> Forker {
        Forker(Arc::new(fork))
    }
}

impl fmt::Debug for Forker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forker").finish_non_exhaustive()
    }
}

impl PartialEq for Forker {
    fn eq(&self, other: &Forker) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Forker {}

/// The sockets of a forked child. The child calls [`enter`](Forked::enter); the parent drops its copy.
#[derive(Debug)]
pub struct Forked {
    listeners: Vec<OwnedFd>,
    control: OwnedFd,
    generation: u64,
    /// The descriptors of the supervisor that the child has to close.
    close_in_child: Vec<RawFd>,
    supervisor: Pid,
    kill_with_parent: bool,
    /// Held during the fork. A lock that another thread holds at that moment would never be released in the child,
    /// where that thread does not exist.
    _output_locks: (StdoutLock<'static>, StderrLock<'static>),
}

/// What a forked child serves on, after [`Forked::enter`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ForkedChild {
    /// The listening sockets.
    pub listeners: Vec<OwnedFd>,
    /// The control socket.
    pub control: ControlSocket,
    /// Counts the replacements, from 1.
    pub generation: u64,
}

impl Forked {
    /// Makes this process, the copy, a supervisor's child: closes the supervisor's descriptors, restores the default
    /// effect of the supervisor's signals, and on Linux asks to be ended when the supervisor dies.
    ///
    /// From then on SIGINT (CTRL+C) and SIGUSR1 have no effect, unless the application handles them.
    ///
    /// # Errors
    /// The supervisor has ended in the meantime, or a system call fails.
    pub fn enter(self) -> io::Result<ForkedChild> {
        // The owners of these numbers belong to the supervisor, which does not run in this process.
        for number in self.close_in_child {
            let _ = nix::unistd::close(number);
        }
        mark_as_forked_child();
        restore_default_signals()?;
        die_with_parent(Some(self.supervisor), self.kill_with_parent)?;
        let control = ControlSocket::new(UnixStream::from(self.control))?;
        Ok(ForkedChild { listeners: self.listeners, control, generation: self.generation })
    }
}

/// Forks this process. The child closes the descriptors in `close_in_child`, the listening sockets' originals and the
/// supervisor's end of the control socket.
pub(super) fn fork(
    forker: &Forker,
    kill_with_parent: bool,
    listeners: &[OwnedFd],
    generation: u64,
    mut close_in_child: Vec<RawFd>,
) -> io::Result<(ChildProcess, Option<UnixStream>)> {
    let (ours, theirs) = UnixStream::pair()?;
    close_in_child.push(ours.as_raw_fd());
    close_in_child.extend(listeners.iter().map(AsRawFd::as_raw_fd));
    let forked = Forked {
        listeners: listeners.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?,
        control: theirs.into(),
        generation,
        close_in_child,
        supervisor: rustix::process::getpid(),
        kill_with_parent,
        _output_locks: (io::stdout().lock(), io::stderr().lock()),
    };
    let supervisor = forked.supervisor;
    wait_for_running_handlers();
    let result = catch_unwind(AssertUnwindSafe(|| (forker.0)(forked)));
    if rustix::process::getpid() != supervisor {
        // Returning would run a second supervisor in the child.
        let _ = writeln!(io::stderr(), "The fork function returned in the child process; ending the process.");
        std::process::exit(1);
    }
    let pid = result.unwrap_or_else(|panic| Err(io::Error::other(panic_message(&*panic).to_owned())))?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the fork function has returned an invalid process id"))?;
    Ok((ChildProcess::Forked(pid), Some(ours)))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the fork function has panicked")
}
