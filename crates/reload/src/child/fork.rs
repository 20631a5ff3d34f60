//! Children made by a fork: copies of this process, with what it has in memory.
//!
//! The fork itself is the embedder's, since a copy of a process with several threads has only one of them, and nobody
//! else knows whether that is good enough. This room prepares what the copy serves on, and what it has to let go of.

use std::any::Any;
use std::fmt;
use std::io::{self, StderrLock, StdoutLock, Write as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use rustix::process::Pid;

use super::process::Process;
use crate::control::Control;
use crate::inherited::{became_a_child, end_with};
use crate::supervisor::{have_usual_signals, let_handlers_finish};

/// How a process is forked.
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

/// What a forked child serves on. In the child it is to be [entered](Forked::enter), in the parent dropped.
#[derive(Debug)]
pub struct Forked {
    listeners: Vec<OwnedFd>,
    control: OwnedFd,
    generation: u64,
    /// The supervisor's descriptors, by the numbers that their copies have in the child.
    of_the_supervisor: Vec<RawFd>,
    supervisor: Pid,
    kill_with_parent: bool,
    /// Another thread that writes at the moment of the fork would never finish in the copy, where it doesn't exist.
    _writing: (StdoutLock<'static>, StderrLock<'static>),
}

/// A forked child that knows that it is one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Entered {
    /// The listening sockets.
    pub listeners: Vec<OwnedFd>,
    /// The way to the supervisor.
    pub control: Control,
    /// Counts the replacements, from 1.
    pub generation: u64,
}

impl Forked {
    /// Makes this process, the copy, a supervisor's child: closes what belongs to the supervisor, gives the supervisor's
    /// signals their usual effect again, and on Linux asks to be ended with the supervisor.
    ///
    /// CTRL+C has no effect from now on, and USR1 neither, unless somebody listens to them.
    ///
    /// # Errors
    /// When the supervisor has ended meanwhile.
    pub fn enter(self) -> io::Result<Entered> {
        // The file of a number that nobody in this process uses: its owners are the supervisor's, which does not run here.
        for number in self.of_the_supervisor {
            let _ = nix::unistd::close(number);
        }
        became_a_child();
        have_usual_signals()?;
        end_with(Some(self.supervisor), self.kill_with_parent)?;
        let control = Control::new(UnixStream::from(self.control))?;
        Ok(Entered { listeners: self.listeners, control, generation: self.generation })
    }
}

/// Forks this process. `of_the_supervisor` are descriptors that the copy is not to keep.
pub(super) fn fork(
    forker: &Forker,
    kill_with_parent: bool,
    listeners: &[OwnedFd],
    generation: u64,
    mut of_the_supervisor: Vec<RawFd>,
) -> io::Result<(Process, Option<UnixStream>)> {
    let (ours, theirs) = UnixStream::pair()?;
    of_the_supervisor.push(ours.as_raw_fd());
    of_the_supervisor.extend(listeners.iter().map(AsRawFd::as_raw_fd));
    let forked = Forked {
        listeners: listeners.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?,
        control: theirs.into(),
        generation,
        of_the_supervisor,
        supervisor: rustix::process::getpid(),
        kill_with_parent,
        _writing: (io::stdout().lock(), io::stderr().lock()),
    };
    let supervisor = forked.supervisor;
    let_handlers_finish();
    let result = catch_unwind(AssertUnwindSafe(|| (forker.0)(forked)));
    if rustix::process::getpid() != supervisor {
        // A second supervisor would begin to work here.
        let _ = writeln!(io::stderr(), "A forked child has to end by itself; ending it.");
        std::process::exit(1);
    }
    let pid = result.unwrap_or_else(|panic| Err(io::Error::other(words(&*panic).to_owned())))?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("what forks has returned no process id"))?;
    Ok((Process::Forked(pid), Some(ours)))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("what forks has panicked")
}
