//! A child as a process, however it was made.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ExitStatus};

use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};

/// Collected once, by [`collect`](Process::collect); until then its id is its own.
#[derive(Debug)]
pub(crate) enum Process {
    Spawned(Child),
    Forked(Pid),
}

impl Process {
    pub(crate) fn pid(&self) -> Pid {
        match self {
            Process::Spawned(child) => Pid::from_child(child),
            Process::Forked(pid) => *pid,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid().as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// The pipe that it writes its errors to, if it has one.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        match self {
            Process::Spawned(child) => child.stderr.take(),
            Process::Forked(_) => None,
        }
    }

    /// Waits for its end. To be called until it was successful.
    pub(crate) fn collect(&mut self) -> io::Result<ExitStatus> {
        match self {
            Process::Spawned(child) => child.wait(),
            Process::Forked(pid) => loop {
                match waitpid(Some(*pid), WaitOptions::empty()) {
                    Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
                    Ok(None) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            },
        }
    }
}
