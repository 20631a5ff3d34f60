//! Every rule, with processes that only record and a clock of the tests' own.

mod failures;
mod fallback;
mod replacement;
mod spares;
mod stopping;
mod successors;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::*;
use crate::process::Program;
use crate::supervisor::options::{Protocol, SupervisorOptions};

/// Records what it is told.
#[derive(Default)]
struct Recorder {
    lines: Vec<String>,
    /// Whether programs cannot be started.
    refuses: bool,
}

impl ProcessControl for Recorder {
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()> {
        if self.refuses {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.lines.push(format!("start {id} g{generation} {}", program.path.display()));
        Ok(())
    }

    fn prepare_spare(&mut self, program: &Program) {
        self.lines.push(format!("spare of {}", program.path.display()));
    }

    fn command(&mut self, id: u64, command: WorkerCommand) {
        self.lines.push(format!("{command:?} {id}"));
    }

    fn report(&mut self, event: StateEvent) {
        self.lines.push(match event {
            StateEvent::Ready { .. } => return,
            StateEvent::Failed { id, serving, retry_in, reason, .. } => {
                let reason = match reason {
                    FailureReason::NotStarted(_) => "not started",
                    FailureReason::Exited(_) => "exited",
                    FailureReason::TooSlow => "too slow",
                };
                format!("failed {id} {reason} serving={serving} retry={retry_in:?}")
            }
            StateEvent::Died { id, consecutive_failures, restart_in, .. } => {
                format!("died {id} failures={consecutive_failures} retry={restart_in:?}")
            }
            StateEvent::Replaced { old, new } => format!("replaced {old} {new}"),
            StateEvent::TooManyRestarts { restart_in } => format!("too many restarts retry={restart_in:?}"),
            StateEvent::DrainTimeout { id } => format!("drain timeout {id}"),
            StateEvent::ApplicationEnded => "ended".into(),
            StateEvent::FallbackStarting { generation } => format!("fallback g{generation}"),
            StateEvent::FatalExit => "fatal exit".into(),
        });
    }
}

/// The state, its processes and its clock. Every step ends with a tick, as in the supervisor's loop.
struct Harness {
    state: SupervisorState,
    recorder: Recorder,
    now: Instant,
}

const EXIT_0: i32 = 0;
const EXIT_1: i32 = 1 << 8;
const EXIT_3: i32 = 3 << 8;
const KILLED: i32 = 9;

impl Harness {
    fn new(options: SupervisorOptions) -> Harness {
        let state = SupervisorState::new(Program::new("app"), &options);
        let mut harness = Harness { state, recorder: Recorder::default(), now: Instant::now() };
        harness.advance(0);
        harness
    }

    /// A state in which all workers are ready. The record of their start is cleared.
    fn serving(options: SupervisorOptions) -> Harness {
        let workers = options.workers as u64;
        let mut harness = Harness::new(options);
        (1..=workers).for_each(|id| harness.ready(id));
        harness.recorder.lines.clear();
        harness
    }

    fn advance(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.state.tick(self.now, &mut self.recorder);
    }

    fn ready(&mut self, id: u64) {
        self.state.worker_ready(id, self.now, &mut self.recorder);
        self.advance(0);
    }

    fn exited(&mut self, id: u64, status: i32) {
        self.state.worker_exited(id, ExitStatus::from_raw(status), self.now, &mut self.recorder);
        self.advance(0);
    }

    fn replace(&mut self, path: Option<&str>) {
        self.state.replace(path.map(Program::new), self.now, &mut self.recorder);
        self.advance(0);
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        assert_eq!(std::mem::take(&mut self.recorder.lines), lines);
    }

    /// How long the supervisor sleeps if nothing happens.
    fn next_wakeup(&self) -> Option<Duration> {
        self.state.next_deadline().map(|when| when.saturating_duration_since(self.now))
    }
}

fn options(workers: usize, retry: bool) -> SupervisorOptions {
    SupervisorOptions { workers, retry, ..SupervisorOptions::default() }
}
