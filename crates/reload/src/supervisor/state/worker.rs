//! One worker and its state.

use std::time::Instant;

use super::interface::{ProcessControl, WorkerCommand};
use crate::process::Program;
use crate::supervisor::options::SupervisorOptions;

/// A program, and the generation of the workers that run it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) generation: u64,
    pub(super) program: Program,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) version: Version,
    pub(super) state: WorkerState,
    /// Whether the worker has asked to be replaced.
    pub(super) wants_successor: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WorkerState {
    Starting {
        deadline: Instant,
        /// When the worker counts as ready if it is still alive.
        ready_at: Option<Instant>,
    },
    Ready {
        since: Instant,
    },
    /// The worker takes no more connections and is expected to end.
    Stopping {
        stage: StopStage,
        /// When the next stage is due; never after SIGKILL.
        deadline: Option<Instant>,
    },
}

/// How a worker was asked to stop, in the order of escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopStage {
    Draining,
    Finishing,
    /// Draining, but with a shorter deadline, because the worker is not known to serve anything yet.
    Abandoned,
    Terminated,
    Killed,
}

impl StopStage {
    pub(super) fn next(self) -> StopStage {
        match self {
            StopStage::Draining | StopStage::Finishing | StopStage::Abandoned => StopStage::Terminated,
            StopStage::Terminated | StopStage::Killed => StopStage::Killed,
        }
    }
}

impl Worker {
    pub(super) fn new(id: u64, version: Version, now: Instant, options: &SupervisorOptions) -> Worker {
        let deadline = now + options.start_timeout;
        let ready_at = options.protocol.ready_after().map(|ready_after| now + ready_after);
        Worker { id, version, state: WorkerState::Starting { deadline, ready_at }, wants_successor: false }
    }

    pub(super) fn generation(&self) -> u64 {
        self.version.generation
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, WorkerState::Starting { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, WorkerState::Ready { .. })
    }

    /// Whether the worker serves only until its successor is ready.
    pub(super) fn is_retiring(&self) -> bool {
        self.is_ready() && self.wants_successor
    }

    /// When the worker needs attention.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            WorkerState::Starting { deadline, ready_at } => {
                Some(ready_at.map_or(deadline, |ready_at| ready_at.min(deadline)))
            }
            WorkerState::Ready { .. } => None,
            WorkerState::Stopping { deadline, .. } => deadline,
        }
    }

    /// Tells the worker to stop.
    pub(super) fn stop(
        &mut self,
        stage: StopStage,
        now: Instant,
        options: &SupervisorOptions,
        processes: &mut impl ProcessControl,
    ) {
        let (command, deadline) = match stage {
            StopStage::Draining => (WorkerCommand::Drain, Some(now + options.drain_timeout)),
            StopStage::Finishing => (WorkerCommand::Stop, Some(now + options.drain_timeout)),
            StopStage::Abandoned => (WorkerCommand::Abandon, Some(now + options.kill_timeout)),
            StopStage::Terminated => (WorkerCommand::Terminate, Some(now + options.kill_timeout)),
            StopStage::Killed => (WorkerCommand::Kill, None),
        };
        self.state = WorkerState::Stopping { stage, deadline };
        processes.command(self.id, command);
    }
}
