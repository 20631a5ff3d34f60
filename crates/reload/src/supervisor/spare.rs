//! A spare: a worker that was started ahead of time and waits until it is needed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use crate::process::{self, ChildProcess, ControlMessage, ControlSocket, Program};

/// How long a spare may check whether it is up to date (1 s). The supervisor waits for it, which takes a few milliseconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// A spare. Dropping it ends the process.
pub(super) struct Spare {
    program: Program,
    /// `None` once the spare is a worker.
    process: Option<ChildProcess>,
    control: UnixStream,
}

impl Spare {
    /// Starts a spare of a program that is executed. Its output is read when it has become a worker.
    pub(super) fn start(program: &Program, listeners: &[OwnedFd]) -> io::Result<Spare> {
        let mut spare = program.clone();
        spare.env.push((process::SPARE.into(), "true".into()));
        let (process, control) = process::start(&spare, listeners, 0, true, Vec::new())?;
        let Some(control) = control else { return Err(io::ErrorKind::Unsupported.into()) };
        Ok(Spare { program: program.clone(), process: Some(process), control })
    }

    /// Whether it is a spare of this program.
    pub(super) fn is_of(&self, program: &Program) -> bool {
        self.program == *program
    }

    /// Makes the spare a worker of a generation. Returns its process and the supervisor's end of its control socket; `None`
    /// if it is not prepared or out of date.
    pub(super) fn activate(mut self, generation: u64) -> Option<(ChildProcess, UnixStream)> {
        self.ask(generation).ok().filter(|accepted| *accepted)?;
        Some((self.process.take()?, self.control.try_clone().ok()?))
    }

    fn ask(&self, generation: u64) -> io::Result<bool> {
        let mut readable = [PollFd::new(&self.control, PollFlags::IN)];
        if poll(&mut readable, Some(&Timespec::default()))? == 0 {
            return Ok(false);
        }
        let mut control = ControlSocket::new(self.control.try_clone()?)?;
        self.control.set_read_timeout(Some(CHECK_TIMEOUT))?;
        if !matches!(control.receive()?, Some(ControlMessage::Waiting)) {
            return Ok(false);
        }
        control.send(&ControlMessage::Start { generation })?;
        let has_accepted = matches!(control.receive()?, Some(ControlMessage::Accepted));
        self.control.set_read_timeout(None)?;
        Ok(has_accepted)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            let _ = process.reap();
        }
    }
}
