//! Keeping the right number of workers: in a rolling restart, for workers that died, and for those that asked for a
//! successor.

use std::time::{Duration, Instant};

use super::interface::{FailureReason, ProcessControl, StateEvent};
use super::machine::{SpareState, StartGate, SupervisorState};
use super::worker::{StopStage, Version, Worker, WorkerState};

/// How long nothing may have been started before a spare is (500 ms): the first requests to the new code go first.
const SPARE_DELAY: Duration = Duration::from_millis(500);

impl SupervisorState {
    /// When [`tick`](SupervisorState::tick) has to be called at the latest.
    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        let gate_opens = match self.start_gate {
            StartGate::ClosedUntil(when) if self.stopping.is_none() => Some(when),
            _ => None,
        };
        let successor = self.successor_at.filter(|_| self.stopping.is_none());
        let spare = match self.spare {
            SpareState::Due(when) if self.stopping.is_none() => Some(when),
            _ => None,
        };
        self.workers.iter().filter_map(Worker::due).chain(gate_opens).chain(successor).chain(spare).min()
    }

    /// Handles expired deadlines, and starts and stops workers until their number is right.
    pub(in crate::supervisor) fn tick(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        self.handle_deadlines(now, processes);
        if self.stopping.is_none() {
            if matches!(self.start_gate, StartGate::ClosedUntil(when) if when <= now) {
                self.start_gate = StartGate::Open;
            }
            self.successor_at = self.successor_at.filter(|&when| when > now);
            self.continue_rolling_restart(now, processes);
            self.adjust_worker_count(now, processes);
            self.request_spare(now, processes);
        }
    }

    /// Starts a spare once nothing has been started for a while.
    fn request_spare(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        if !self.options.spare || self.expects_worker() {
            return;
        }
        match self.spare {
            SpareState::Used => self.spare = SpareState::Due(now + SPARE_DELAY),
            SpareState::Due(when) if when <= now => {
                self.spare = SpareState::Started;
                processes.prepare_spare(&self.program);
            }
            SpareState::Due(_) | SpareState::Started => {}
        }
    }

    fn handle_deadlines(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        let is_due = |worker: &&Worker| worker.due().is_some_and(|due| due <= now);
        let due: Vec<u64> = self.workers.iter().filter(is_due).map(|worker| worker.id).collect();
        for id in due {
            let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { continue };
            match worker.state {
                WorkerState::Starting { ready_at: Some(ready_at), .. } if ready_at <= now => {
                    self.worker_ready(id, now, processes);
                }
                WorkerState::Starting { .. } => {
                    let generation = worker.generation();
                    worker.stop(StopStage::Terminated, now, &self.options, processes);
                    self.worker_failed(id, generation, FailureReason::TooSlow, now, processes);
                }
                WorkerState::Stopping { stage, .. } => {
                    if matches!(stage, StopStage::Draining | StopStage::Finishing) {
                        processes.report(StateEvent::DrainTimeout { id });
                    }
                    worker.stop(stage.next(), now, &self.options, processes);
                }
                WorkerState::Ready { .. } => {}
            }
        }
    }

    fn continue_rolling_restart(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        let Some(restart) = &self.rolling_restart else { return };
        let version = restart.version.clone();
        let old_serves = self.serving().any(|(generation, _)| generation < version.generation);
        let new = self.serving().filter(|(generation, _)| *generation == version.generation).count();
        if new >= self.target {
            let previous = restart.previous;
            self.rolling_restart = None;
            for worker in &mut self.workers {
                if worker.is_ready() && worker.generation() < version.generation {
                    worker.stop(StopStage::Draining, now, &self.options, processes);
                }
            }
            if let Some(old) = previous {
                processes.report(StateEvent::Replaced { old, new: version.generation });
            }
            return;
        }
        let is_proven = self.proven.as_ref().is_some_and(|proven| proven.generation == version.generation);
        // A single worker shows whether the program can start at all, and while an old worker serves there is no hurry.
        let max_starting = if old_serves || !is_proven { 1 } else { self.target - new };
        while self.rolling_restart.is_some()
            && self.start_gate == StartGate::Open
            && self.starting_count() < max_starting
        {
            self.start(&version, now, processes);
        }
    }

    fn adjust_worker_count(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        if self.rolling_restart.is_some() {
            return;
        }
        let Some(version) = self.proven.clone() else { return };
        // A worker that asked for a successor stops once the successor serves.
        while self.serving().count() > self.target {
            let Some(retiring) = self.workers.iter_mut().find(|worker| worker.is_retiring()) else { break };
            retiring.stop(StopStage::Draining, now, &self.options, processes);
        }
        while self.start_gate == StartGate::Open && self.active_count() < self.wanted_count() {
            self.start(&version, now, processes);
        }
        let mut excess = self.active_count().saturating_sub(self.wanted_count());
        while excess > 0 {
            excess -= 1;
            let starting = self.workers.iter().position(Worker::is_starting);
            let Some(index) = starting.or_else(|| self.workers.iter().position(Worker::is_ready)) else { return };
            let stage = if starting.is_some() { StopStage::Abandoned } else { StopStage::Draining };
            self.workers[index].stop(stage, now, &self.options, processes);
        }
    }

    /// How many workers there should be now: one more than the target if a worker has asked for a successor. Workers
    /// that ask at the same time get their successors one after the other.
    fn wanted_count(&self) -> usize {
        let successor = self.successor_at.is_none() && self.workers.iter().any(Worker::is_retiring);
        self.target + usize::from(successor)
    }

    fn starting_count(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_starting()).count()
    }

    /// The number of workers that serve or are starting.
    fn active_count(&self) -> usize {
        self.starting_count() + self.serving().count()
    }

    fn start(&mut self, version: &Version, now: Instant, processes: &mut impl ProcessControl) {
        self.last_id += 1;
        let id = self.last_id;
        self.spare = SpareState::Used;
        match processes.start(id, version.generation, &version.program) {
            Ok(()) => self.workers.push(Worker::new(id, version.clone(), now, &self.options)),
            Err(error) => {
                self.worker_failed(id, version.generation, FailureReason::NotStarted(error), now, processes);
            }
        }
    }
}
