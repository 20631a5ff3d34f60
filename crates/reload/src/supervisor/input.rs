//! The inputs that the supervisor's thread waits for.

use super::fd_registry::TrackedMessage;
use crate::process::{ControlMessage, Program};

pub(super) enum Input {
    Signal(i32),
    /// A message from a worker.
    Message(u64, ControlMessage),
    /// A connection that a worker has handed back.
    Connection(u64, TrackedMessage),
    /// A worker has ended, and everything that it sent has been received.
    Exited(u64),
    Command(Command),
}

/// A command of a [`SupervisorHandle`](crate::SupervisorHandle).
pub(super) enum Command {
    Replace(Option<Program>),
    RunFallback {
        program: Program,
        /// The generation that has failed; without one, the fallback runs in any case.
        instead_of: Option<u64>,
    },
    Stop,
}
