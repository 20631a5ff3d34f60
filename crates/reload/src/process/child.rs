//! A child process, spawned or forked.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ExitStatus};

use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};

/// A child process. The system does not reuse its process id until it is [reaped](ChildProcess::reap).
#[derive(Debug)]
pub(crate) enum ChildProcess {
    Spawned(Child),
    Forked(Pid),
}

impl ChildProcess {
    pub(crate) fn pid(&self) -> Pid {
        match self {
            ChildProcess::Spawned(child) => Pid::from_child(child),
            ChildProcess::Forked(pid) => *pid,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid().as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// The pipe that the child writes its stderr to, if there is one.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        match self {
            ChildProcess::Spawned(child) => child.stderr.take(),
            ChildProcess::Forked(_) => None,
        }
    }

    /// Waits for the child's end and reaps it. Must not be called again once it has succeeded.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        match self {
            ChildProcess::Spawned(child) => child.wait(),
            ChildProcess::Forked(pid) => loop {
                match waitpid(Some(*pid), WaitOptions::empty()) {
                    Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
                    Ok(None) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            },
        }
    }
}
