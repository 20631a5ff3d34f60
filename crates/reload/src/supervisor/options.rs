//! The supervisor's settings, each with its unit and its reason.

use std::os::fd::RawFd;
use std::time::Duration;

/// How a supervisor treats its children.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Children that serve beside each other; at least 1. TTIN and TTOU change it.
    pub workers: usize,
    /// How to know that a child is ready, and how to stop it.
    pub protocol: Protocol,
    /// What happens when a program can't be started and nothing serves. True: it is tried again, later and later; right
    /// where only time can mend it. False: the next [`replace`](super::SupervisorHandle::replace) is waited for; right
    /// where a changed file can.
    pub retry: bool,
    /// The exit code by which the first child says that no other could start, either (none): the supervisor ends with it.
    /// Once a child was ready it counts as any other.
    pub give_up: Option<i32>,
    /// How long a child may take to be ready (60 s): longer than any sane import, shorter than patience.
    pub start_deadline: Duration,
    /// How long a child may take to finish what it runs (30 s), before SIGTERM.
    pub drain_deadline: Duration,
    /// How long a child may take to obey SIGTERM (2 s), before SIGKILL.
    pub kill_deadline: Duration,
    /// The wait before a child that died is started again (100 ms): unnoticed once, no load when it dies again.
    pub first_delay: Duration,
    /// The wait doubles up to this (5 s): soon enough after somebody has mended the cause.
    pub longest_delay: Duration,
    /// A child that was ready for so long was healthy (10 s): its death has nothing to do with earlier ones.
    pub healthy_after: Duration,
    /// Exit code 3 asks for a restart. So many within [`again_within`](Options::again_within) are granted at once (5); a
    /// program that asks more often does nothing else.
    pub again: usize,
    /// See [`again`](Options::again) (1 s).
    pub again_within: Duration,
    /// Connections kept while nobody can serve them (1024); beyond, the oldest are closed. They cost a descriptor each:
    /// never more than half of those that the process may have.
    pub keep_connections: usize,
    /// Listen to signals (true) while running: INT, TERM, QUIT, HUP, TTIN, TTOU, USR1.
    pub signals: bool,
    /// Descriptors of this process that a [forked](crate::child::Program::forked) child is not to keep, besides those of
    /// the supervisor (none): copies of the listening sockets would hold the port.
    pub private: Vec<RawFd>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: 1,
            protocol: Protocol::Control,
            retry: true,
            give_up: None,
            start_deadline: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            kill_deadline: Duration::from_secs(2),
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(5),
            healthy_after: Duration::from_secs(10),
            again: 5,
            again_within: Duration::from_secs(1),
            keep_connections: 1024,
            signals: true,
            private: Vec::new(),
        }
    }
}

impl Options {
    /// The same, with nothing longer than a century: the clock's instants end somewhere.
    pub(super) fn bounded(&self) -> Options {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let mut options = self.clone();
        for duration in [
            &mut options.start_deadline,
            &mut options.drain_deadline,
            &mut options.kill_deadline,
            &mut options.first_delay,
            &mut options.longest_delay,
            &mut options.healthy_after,
            &mut options.again_within,
        ] {
            *duration = LONGEST.min(*duration);
        }
        if let Protocol::None { settled } | Protocol::Either { settled } = &mut options.protocol {
            *settled = LONGEST.min(*settled);
        }
        options
    }
}

/// How to know that a child is ready, and how to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// The child speaks over its control socket, see [`control`](crate::control).
    Control,
    /// The child knows nothing of control sockets and gets none: it is ready when it is still alive after `settled`,
    /// and SIGTERM stops it.
    None {
        /// See [`Protocol::SETTLED`].
        settled: Duration,
    },
    /// The child may be either: it gets a control socket, and is ready when it says so, or when it has said nothing and
    /// is still alive after `settled`. It is spoken to only when it has spoken.
    Either {
        /// See [`Protocol::SETTLED`].
        settled: Duration,
    },
}

impl Protocol {
    /// How long a program is watched before it counts as ready (500 ms): long enough for a syntax error to end it.
    pub const SETTLED: Duration = Duration::from_millis(500);

    pub(super) fn settled(self) -> Option<Duration> {
        match self {
            Protocol::Control => None,
            Protocol::None { settled } | Protocol::Either { settled } => Some(settled),
        }
    }

    pub(super) fn has_control(self) -> bool {
        !matches!(self, Protocol::None { .. })
    }
}
