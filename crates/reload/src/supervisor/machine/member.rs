//! One child, and how far it is.

use std::time::Instant;

use super::{Options, Order, Version, World};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) version: Version,
    pub(super) state: State,
    /// It has asked to be replaced.
    pub(super) wants_successor: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Starting {
        deadline: Instant,
        /// When being alive means being ready.
        settled: Option<Instant>,
    },
    Ready {
        since: Instant,
    },
    /// It takes no connections any more, and its end is expected.
    Leaving {
        step: Step,
        /// When patience ends; never after SIGKILL.
        until: Option<Instant>,
    },
}

/// How a child was asked to leave, each way less polite than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Drained,
    Stopped,
    /// As drained, but it is not known to do anything yet: less patience.
    Abandoned,
    Terminated,
    Killed,
}

impl Step {
    pub(super) fn next(self) -> Step {
        match self {
            Step::Drained | Step::Stopped | Step::Abandoned => Step::Terminated,
            Step::Terminated | Step::Killed => Step::Killed,
        }
    }
}

impl Member {
    pub(super) fn new(id: u64, version: Version, now: Instant, options: &Options) -> Member {
        let deadline = now + options.start_deadline;
        let settled = options.protocol.settled().map(|settled| now + settled);
        Member { id, version, state: State::Starting { deadline, settled }, wants_successor: false }
    }

    pub(super) fn generation(&self) -> u64 {
        self.version.generation
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// It serves, and only until there is another for it.
    pub(super) fn is_retiring(&self) -> bool {
        self.is_ready() && self.wants_successor
    }

    /// When something has to be done about it.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Starting { deadline, settled } => Some(settled.map_or(deadline, |settled| settled.min(deadline))),
            State::Ready { .. } => None,
            State::Leaving { until, .. } => until,
        }
    }

    /// Tells it to leave.
    pub(super) fn leave(&mut self, step: Step, now: Instant, options: &Options, world: &mut impl World) {
        let (order, until) = match step {
            Step::Drained => (Order::Drain, Some(now + options.drain_deadline)),
            Step::Stopped => (Order::Stop, Some(now + options.drain_deadline)),
            Step::Abandoned => (Order::Abandon, Some(now + options.kill_deadline)),
            Step::Terminated => (Order::Terminate, Some(now + options.kill_deadline)),
            Step::Killed => (Order::Kill, None),
        };
        self.state = State::Leaving { step, until };
        world.order(self.id, order);
    }
}
