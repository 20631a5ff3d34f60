//! The interface of the rules: the processes that they control, and the events that they report.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::process::Program;

/// Starts and stops processes on behalf of the rules.
pub(in crate::supervisor) trait ProcessControl {
    /// Starts a program as the worker `id`.
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()>;
    /// Starts a spare of a program, in place of any other spare.
    fn prepare_spare(&mut self, program: &Program);
    fn command(&mut self, id: u64, command: WorkerCommand);
    fn report(&mut self, event: StateEvent);
}

/// A command to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum WorkerCommand {
    /// Hand idle connections back, finish the running requests, and exit.
    Drain,
    /// The same as `Drain`, for a worker that has not reported that it is ready. Its report may be on the way.
    Abandon,
    /// Finish the running requests, and exit.
    Stop,
    Terminate,
    Kill,
    ReopenLogs,
}

/// What has happened.
#[derive(Debug)]
pub(in crate::supervisor) enum StateEvent {
    Ready {
        generation: u64,
    },
    Failed {
        id: u64,
        generation: u64,
        reason: FailureReason,
        /// Whether another worker serves.
        serving: bool,
        retry_in: Option<Duration>,
    },
    Died {
        id: u64,
        generation: u64,
        status: ExitStatus,
        uptime: Duration,
        consecutive_failures: u32,
        restart_in: Duration,
    },
    /// A rolling restart is complete.
    Replaced {
        old: u64,
        new: u64,
    },
    FallbackStarting {
        generation: u64,
    },
    TooManyRestarts {
        restart_in: Duration,
    },
    /// A worker has not finished in time.
    DrainTimeout {
        id: u64,
    },
    /// A worker that was ready has exited with code 0.
    ApplicationEnded,
    /// The first worker has exited with the fatal exit code.
    FatalExit,
}

/// Why a worker counts as failed.
#[derive(Debug)]
pub(in crate::supervisor) enum FailureReason {
    NotStarted(io::Error),
    Exited(ExitStatus),
    TooSlow,
}
