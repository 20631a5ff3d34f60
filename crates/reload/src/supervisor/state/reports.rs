//! The reactions to reports of workers and to their exits.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::interface::{FailureReason, ProcessControl, StateEvent};
use super::machine::{StartGate, SupervisorState};
use super::worker::{StopStage, Worker, WorkerState};

/// The exit code by which a worker that serves asks to be started again at once.
const RESTART_EXIT_CODE: i32 = 3;

impl SupervisorState {
    /// A starting worker has sent a message, so it will also send that it is ready.
    pub(in crate::supervisor) fn worker_uses_protocol(&mut self, id: u64) {
        if let Some(WorkerState::Starting { ready_at, .. }) = self.worker(id).map(|worker| &mut worker.state) {
            *ready_at = None;
        }
    }

    /// A worker asks to be replaced.
    pub(in crate::supervisor) fn request_successor(&mut self, id: u64) {
        if let Some(worker) = self.worker(id) {
            worker.wants_successor = true;
        }
    }

    /// A worker stops without an order, and another one has to take its place.
    pub(in crate::supervisor) fn worker_leaving(&mut self, id: u64, now: Instant) {
        let deadline = Some(now + self.options.drain_timeout);
        if let Some(worker) = self.worker(id).filter(|worker| worker.is_ready()) {
            worker.state = WorkerState::Stopping { stage: StopStage::Finishing, deadline };
        }
    }

    /// A worker serves.
    pub(in crate::supervisor) fn worker_ready(&mut self, id: u64, now: Instant, processes: &mut impl ProcessControl) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        if let WorkerState::Stopping { stage: StopStage::Abandoned, deadline } = &mut worker.state {
            // The worker was ready before it read that it is abandoned, and may have requests to finish.
            *deadline = Some(now + self.options.drain_timeout);
        }
        if !worker.is_starting() {
            return;
        }
        worker.state = WorkerState::Ready { since: now };
        self.successor_backoff.reset();
        let version = worker.version.clone();
        processes.report(StateEvent::Ready { generation: version.generation });
        let newest = self.rolling_restart.as_ref().map(|restart| restart.version.generation);
        if newest == Some(version.generation) {
            let is_old = |worker: &&mut Worker| worker.is_ready() && worker.generation() < version.generation;
            if let Some(old) = self.workers.iter_mut().find(is_old) {
                old.stop(StopStage::Draining, now, &self.options, processes);
            }
        }
        if self.proven.as_ref().is_none_or(|proven| proven.generation < version.generation) {
            self.proven = Some(version);
        }
    }

    /// A worker reports that it has finished.
    pub(in crate::supervisor) fn worker_drained(&mut self, id: u64, now: Instant) {
        let soon = now + self.options.kill_timeout;
        let state = self.worker(id).map(|worker| &mut worker.state);
        if let Some(WorkerState::Stopping { deadline: Some(deadline), .. }) = state {
            *deadline = soon.min(*deadline);
        }
    }

    /// A worker has ended.
    pub(in crate::supervisor) fn worker_exited(
        &mut self,
        id: u64,
        status: ExitStatus,
        now: Instant,
        processes: &mut impl ProcessControl,
    ) {
        let Some(index) = self.workers.iter().position(|worker| worker.id == id) else { return };
        let worker = self.workers.remove(index);
        if self.stopping.is_some() {
            return;
        }
        let generation = worker.generation();
        match worker.state {
            WorkerState::Stopping { .. } => {}
            // Before it serves, it does not ask for a restart: the code ends this way, and would do so again.
            WorkerState::Ready { .. } if status.code() == Some(RESTART_EXIT_CODE) => {
                if !self.restart_limiter.allows(now) {
                    let restart_in = self.backoff.delay_after(Duration::ZERO);
                    self.close_gate_until(now + restart_in);
                    processes.report(StateEvent::TooManyRestarts { restart_in });
                }
            }
            WorkerState::Starting { .. } if self.proven.is_none() && self.is_fatal(status) => {
                processes.report(StateEvent::FatalExit);
                self.stop(status.code().unwrap_or(1), now, processes);
            }
            WorkerState::Ready { .. } if status.success() => {
                processes.report(StateEvent::ApplicationEnded);
                self.stop(0, now, processes);
            }
            WorkerState::Ready { since } => {
                let uptime = now.saturating_duration_since(since);
                let restart_in = match self.start_gate {
                    // Several deaths at once count as one failure.
                    StartGate::ClosedUntil(when) if when > now => when - now,
                    _ => self.backoff.delay_after(uptime),
                };
                self.close_gate_until(now + restart_in);
                let consecutive_failures = self.backoff.consecutive_failures();
                let death = StateEvent::Died { id, generation, status, uptime, consecutive_failures, restart_in };
                processes.report(death);
            }
            WorkerState::Starting { .. } => {
                self.worker_failed(id, generation, FailureReason::Exited(status), now, processes);
            }
        }
    }

    fn is_fatal(&self, status: ExitStatus) -> bool {
        status.code().is_some_and(|code| Some(code) == self.options.fatal_exit_code)
    }
}
