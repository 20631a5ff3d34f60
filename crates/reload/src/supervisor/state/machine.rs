//! The state that all rules share.

use std::time::{Duration, Instant};

use super::interface::{FailureReason, ProcessControl, StateEvent};
use super::worker::{Version, Worker};
use crate::process::Program;
use crate::supervisor::backoff::{Backoff, RestartLimiter};
use crate::supervisor::options::SupervisorOptions;

/// A replacement of all workers.
#[derive(Debug)]
pub(super) struct RollingRestart {
    pub(super) version: Version,
    /// The generation that served before.
    pub(super) previous: Option<u64>,
}

/// Whether missing workers may be started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StartGate {
    Open,
    ClosedUntil(Instant),
    /// Only a replacement can help.
    ClosedUntilReplaced,
}

/// The spare for the next start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SpareState {
    /// There is none since the last start.
    Used,
    /// One is started at this time, unless a worker is started before.
    Due(Instant),
    Started,
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) exit_code: i32,
    pub(super) since: Instant,
}

/// The current workers and the target that the rules work towards.
pub(in crate::supervisor) struct SupervisorState {
    pub(super) options: SupervisorOptions,
    /// The number of workers that should serve.
    pub(super) target: usize,
    pub(super) workers: Vec<Worker>,
    pub(super) last_id: u64,
    pub(super) last_generation: u64,
    /// The program to serve. A fallback does not change it.
    pub(super) program: Program,
    /// The newest version of which a worker was ready.
    pub(super) proven: Option<Version>,
    pub(super) rolling_restart: Option<RollingRestart>,
    pub(super) start_gate: StartGate,
    pub(super) backoff: Backoff,
    /// When a successor that could not start is tried again.
    pub(super) successor_at: Option<Instant>,
    /// The delays of successors, which are independent of deaths.
    pub(super) successor_backoff: Backoff,
    pub(super) restart_limiter: RestartLimiter,
    pub(super) stopping: Option<Stopping>,
    pub(super) spare: SpareState,
}

impl SupervisorState {
    pub(in crate::supervisor) fn new(program: Program, options: &SupervisorOptions) -> SupervisorState {
        let options = options.bounded();
        let backoff = || Backoff::new(options.restart_delay, options.max_restart_delay, options.healthy_after);
        let mut state = SupervisorState {
            target: options.workers.max(1),
            workers: Vec::new(),
            last_id: 0,
            last_generation: 0,
            program: program.clone(),
            proven: None,
            rolling_restart: None,
            start_gate: StartGate::Open,
            backoff: backoff(),
            successor_at: None,
            successor_backoff: backoff(),
            restart_limiter: RestartLimiter::new(options.restart_limit, options.restart_limit_interval),
            stopping: None,
            spare: SpareState::Used,
            options,
        };
        state.begin_rolling_restart(program);
        state
    }

    pub(super) fn begin_rolling_restart(&mut self, program: Program) {
        self.last_generation += 1;
        let version = Version { generation: self.last_generation, program };
        let previous = self.proven.as_ref().map(|proven| proven.generation);
        self.rolling_restart = Some(RollingRestart { version, previous });
        self.start_gate = StartGate::Open;
        self.backoff.reset();
        self.successor_at = None;
        self.successor_backoff.reset();
    }

    /// The exit code, once everything has ended.
    pub(in crate::supervisor) fn exit_code(&self) -> Option<i32> {
        self.stopping.as_ref().filter(|_| self.workers.is_empty()).map(|stopping| stopping.exit_code)
    }

    pub(in crate::supervisor) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The number of workers that should serve.
    pub(in crate::supervisor) fn worker_count(&self) -> usize {
        self.target
    }

    /// The workers that serve: generation and id.
    pub(in crate::supervisor) fn serving(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.workers.iter().filter(|worker| worker.is_ready()).map(|worker| (worker.generation(), worker.id))
    }

    /// Whether another worker may become ready without a command or a signal.
    pub(in crate::supervisor) fn expects_worker(&self) -> bool {
        self.start_gate != StartGate::ClosedUntilReplaced
            && (self.rolling_restart.is_some() || self.workers.iter().any(Worker::is_starting))
    }

    pub(super) fn worker(&mut self, id: u64) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    pub(super) fn close_gate_until(&mut self, when: Instant) {
        self.start_gate = match self.start_gate {
            StartGate::ClosedUntil(other) if other > when => StartGate::ClosedUntil(other),
            _ => StartGate::ClosedUntil(when),
        };
    }

    /// A worker has failed before it was ready: decides whether and when another is started.
    pub(super) fn worker_failed(
        &mut self,
        id: u64,
        generation: u64,
        reason: FailureReason,
        now: Instant,
        processes: &mut impl ProcessControl,
    ) {
        let serving = self.serving().count();
        if serving > 0 {
            self.rolling_restart = None;
        }
        let mut retry_in = None;
        if serving < self.target {
            if self.options.retry {
                let delay = self.backoff.delay_after(Duration::ZERO);
                self.close_gate_until(now + delay);
                retry_in = Some(delay);
            } else {
                self.start_gate = StartGate::ClosedUntilReplaced;
            }
        } else if self.workers.iter().any(Worker::is_retiring) {
            let delay = self.successor_backoff.delay_after(Duration::ZERO);
            self.successor_at = Some(now + delay);
            retry_in = Some(delay);
        }
        processes.report(StateEvent::Failed { id, generation, reason, serving: serving > 0, retry_in });
    }
}
