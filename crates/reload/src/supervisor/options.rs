//! The supervisor's settings, each with its default, unit and reason.

use std::os::fd::RawFd;
use std::time::Duration;

/// The settings of a [`Supervisor`](crate::Supervisor).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorOptions {
    /// The number of workers that serve at the same time (1); at least 1. SIGTTIN and SIGTTOU change it.
    pub workers: usize,
    /// How the supervisor knows that a worker is ready, and how it stops a worker.
    pub protocol: Protocol,
    /// Whether a program that cannot be started is retried when nothing serves (true). With true, retries follow with
    /// growing delays, which suits causes that only time can fix. With false, the supervisor waits for the next
    /// [`replace`](crate::SupervisorHandle::replace), which suits causes that a changed file can fix.
    pub retry: bool,
    /// The exit code by which the first worker says that no other could start either (none). The supervisor then exits
    /// with this code. Once a worker was ready, the code has no special meaning.
    pub fatal_exit_code: Option<i32>,
    /// How long a worker may take until it is ready (60 s): longer than any reasonable import.
    pub start_timeout: Duration,
    /// How long a worker may take to finish its requests (30 s) before it gets SIGTERM.
    pub drain_timeout: Duration,
    /// How long a worker may take to end after SIGTERM (2 s) before it gets SIGKILL.
    pub kill_timeout: Duration,
    /// How long the supervisor waits before it replaces a worker that died (100 ms): too short to notice once, long
    /// enough not to load the machine if it keeps happening.
    pub restart_delay: Duration,
    /// The maximum to which the delay doubles (5 s): once the cause is fixed, the next retry follows soon.
    pub max_restart_delay: Duration,
    /// How long a worker must have been ready to count as healthy (10 s). Its death then does not count as a repetition
    /// of earlier ones.
    pub healthy_after: Duration,
    /// The maximum number of immediate restarts, which a worker requests by exit code 3, within
    /// [`restart_limit_interval`](SupervisorOptions::restart_limit_interval) (5).
    pub restart_limit: usize,
    /// The interval of [`restart_limit`](SupervisorOptions::restart_limit) (1 s).
    pub restart_limit_interval: Duration,
    /// The maximum number of connections that are held while no worker can take them (1024); beyond that, the oldest
    /// are closed. Each needs a descriptor, so at most half of the process's descriptor limit is used.
    pub max_held_connections: usize,
    /// Whether a spare is kept: a worker that is started ahead of time, prepares itself, and waits until the supervisor
    /// needs a worker (false). For programs whose start takes long and mostly depends on code that rarely changes. The
    /// program has to know about spares: see [`Inherited::is_spare`](crate::Inherited::is_spare). A spare that exits, or
    /// is not prepared when it is needed, costs nothing but its own time. Not for [forked](crate::Program::forked)
    /// programs, whose start is short.
    pub spare: bool,
    /// Whether signals are handled while the supervisor runs (true): INT, TERM, QUIT, HUP, TTIN, TTOU, USR1.
    pub handle_signals: bool,
    /// Descriptors of this process that a [forked](crate::Program::forked) worker closes, in addition to the
    /// supervisor's own (none). A copy of a listening socket, for example, would keep the port open.
    pub close_in_fork: Vec<RawFd>,
}

impl Default for SupervisorOptions {
    fn default() -> SupervisorOptions {
        SupervisorOptions {
            workers: 1,
            protocol: Protocol::Control,
            retry: true,
            fatal_exit_code: None,
            start_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            kill_timeout: Duration::from_secs(2),
            restart_delay: Duration::from_millis(100),
            max_restart_delay: Duration::from_secs(5),
            healthy_after: Duration::from_secs(10),
            restart_limit: 5,
            restart_limit_interval: Duration::from_secs(1),
            max_held_connections: 1024,
            spare: false,
            handle_signals: true,
            close_in_fork: Vec::new(),
        }
    }
}

impl SupervisorOptions {
    /// The same settings with no duration longer than a century, because adding a longer one to an `Instant` may
    /// overflow.
    pub(super) fn bounded(&self) -> SupervisorOptions {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let mut options = self.clone();
        for duration in [
            &mut options.start_timeout,
            &mut options.drain_timeout,
            &mut options.kill_timeout,
            &mut options.restart_delay,
            &mut options.max_restart_delay,
            &mut options.healthy_after,
            &mut options.restart_limit_interval,
        ] {
            *duration = LONGEST.min(*duration);
        }
        if let Protocol::SignalsOnly { ready_after } | Protocol::Detect { ready_after } = &mut options.protocol {
            *ready_after = LONGEST.min(*ready_after);
        }
        options
    }
}

/// How the supervisor knows that a worker is ready, and how it stops a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// The worker uses its [`ControlSocket`](crate::ControlSocket).
    Control,
    /// The worker gets no control socket. It is ready if it is still alive after `ready_after`, and SIGTERM stops it.
    SignalsOnly {
        /// See [`Protocol::READY_AFTER`].
        ready_after: Duration,
    },
    /// The worker gets a control socket and may use it. It is ready when it says so, or if it has sent nothing and is
    /// still alive after `ready_after`. The supervisor sends messages only to a worker that has sent one.
    Detect {
        /// See [`Protocol::READY_AFTER`].
        ready_after: Duration,
    },
}

impl Protocol {
    /// How long a silent program must be alive to count as ready (500 ms): long enough for a syntax error to end it. A
    /// program that ends earlier has failed to start, whatever its exit code.
    pub const READY_AFTER: Duration = Duration::from_millis(500);

    pub(super) fn ready_after(self) -> Option<Duration> {
        match self {
            Protocol::Control => None,
            Protocol::SignalsOnly { ready_after } | Protocol::Detect { ready_after } => Some(ready_after),
        }
    }

    pub(super) fn has_control_socket(self) -> bool {
        !matches!(self, Protocol::SignalsOnly { .. })
    }
}
