//! The commands that the supervisor gets from signals and handles.

use std::time::{Duration, Instant};

use super::interface::{ProcessControl, StateEvent, WorkerCommand};
use super::machine::{Stopping, SupervisorState};
use super::worker::{StopStage, WorkerState};
use crate::process::Program;

/// Two interrupts within this time count as one (300 ms): a terminal and a program in it may both send the signal.
const SAME_INTERRUPT: Duration = Duration::from_millis(300);

/// The exit code after SIGINT, as shells report it.
const EXIT_CODE_AFTER_INTERRUPT: i32 = 130;

impl SupervisorState {
    /// Replaces all workers with workers of another program, or of the same one.
    pub(in crate::supervisor) fn replace(
        &mut self,
        program: Option<Program>,
        now: Instant,
        processes: &mut impl ProcessControl,
    ) {
        if let Some(program) = program {
            self.program = program;
        }
        self.restart_with(self.program.clone(), now, processes);
    }

    /// Replaces all workers by a fallback, until the next replacement. Does nothing if a generation newer than
    /// `instead_of` is being started.
    pub(in crate::supervisor) fn run_fallback(
        &mut self,
        program: Program,
        instead_of: Option<u64>,
        now: Instant,
        processes: &mut impl ProcessControl,
    ) {
        let newest = self.rolling_restart.as_ref().map(|restart| restart.version.generation);
        if self.stopping.is_some() || instead_of.is_some_and(|generation| newest > Some(generation)) {
            return;
        }
        self.restart_with(program, now, processes);
        processes.report(StateEvent::FallbackStarting { generation: self.last_generation });
    }

    fn restart_with(&mut self, program: Program, now: Instant, processes: &mut impl ProcessControl) {
        if self.stopping.is_some() {
            return;
        }
        for worker in self.workers.iter_mut().filter(|worker| worker.is_starting()) {
            worker.stop(StopStage::Abandoned, now, &self.options, processes);
        }
        self.begin_rolling_restart(program);
    }

    pub(in crate::supervisor) fn add_worker(&mut self) {
        self.target += 1;
    }

    pub(in crate::supervisor) fn remove_worker(&mut self) {
        self.target = (self.target - 1).max(1);
    }

    /// Lets every worker finish its running requests, and then ends.
    pub(in crate::supervisor) fn stop(&mut self, exit_code: i32, now: Instant, processes: &mut impl ProcessControl) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { exit_code, since: now });
        for worker in &mut self.workers {
            match worker.state {
                WorkerState::Starting { .. } => worker.stop(StopStage::Terminated, now, &self.options, processes),
                WorkerState::Ready { .. } => worker.stop(StopStage::Finishing, now, &self.options, processes),
                // No worker can take its connections any more. Its deadline stays.
                WorkerState::Stopping { stage: StopStage::Draining | StopStage::Abandoned, .. } => {
                    processes.command(worker.id, WorkerCommand::Stop);
                }
                WorkerState::Stopping { .. } => {}
            }
        }
    }

    /// Handles CTRL+C: stops gracefully, and at once when it is repeated.
    pub(in crate::supervisor) fn interrupt(&mut self, now: Instant, processes: &mut impl ProcessControl) {
        match &self.stopping {
            None => self.stop(0, now, processes),
            Some(stopping) if now.saturating_duration_since(stopping.since) < SAME_INTERRUPT => {}
            Some(_) => self.kill_all(EXIT_CODE_AFTER_INTERRUPT, now, processes),
        }
    }

    /// Kills all workers, and then ends.
    pub(in crate::supervisor) fn kill_all(
        &mut self,
        exit_code: i32,
        now: Instant,
        processes: &mut impl ProcessControl,
    ) {
        self.stopping = Some(Stopping { exit_code, since: now });
        for worker in &mut self.workers {
            worker.stop(StopStage::Killed, now, &self.options, processes);
        }
    }

    pub(in crate::supervisor) fn reopen_logs(&self, processes: &mut impl ProcessControl) {
        for worker in &self.workers {
            processes.command(worker.id, WorkerCommand::ReopenLogs);
        }
    }
}
