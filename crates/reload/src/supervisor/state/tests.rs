//! Every rule, with processes that only record and a clock of the tests' own.

mod fallback;
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

    /// A state in which all workers are ready, without the record of how they became so.
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

/// An `Instant` overflows long before the longest duration.
#[test]
fn the_longest_durations_do_not_overflow() {
    let longest = SupervisorOptions {
        start_timeout: Duration::MAX,
        drain_timeout: Duration::MAX,
        kill_timeout: Duration::MAX,
        restart_delay: Duration::MAX,
        max_restart_delay: Duration::MAX,
        healthy_after: Duration::MAX,
        restart_limit_interval: Duration::MAX,
        protocol: Protocol::Detect { ready_after: Duration::MAX },
        ..options(2, true)
    };
    let mut harness = Harness::serving(longest);
    // Each of these starts a timer.
    harness.exited(1, KILLED);
    harness.replace(Some("next"));
    harness.state.stop(0, harness.now, &mut harness.recorder);
    assert!(harness.next_wakeup().is_some_and(|next_wakeup| next_wakeup > Duration::from_secs(365 * 24 * 3600)));
}

fn options(workers: usize, retry: bool) -> SupervisorOptions {
    SupervisorOptions { workers, retry, ..SupervisorOptions::default() }
}

#[test]
fn a_single_worker_is_started_first_and_the_others_together_once_it_is_ready() {
    let mut harness = Harness::new(options(3, true));
    harness.expect(&["start 1 g1 app"]);
    harness.ready(1);
    harness.expect(&["start 2 g1 app", "start 3 g1 app"]);
    harness.ready(3);
    harness.ready(2);
    harness.expect(&[]);
    assert_eq!(harness.next_wakeup(), None, "no timer runs while nothing happens");
}

#[test]
fn an_old_worker_stops_only_when_its_replacement_is_ready() {
    let mut harness = Harness::serving(options(1, true));
    harness.replace(None);
    harness.expect(&["start 2 g2 app"]);
    harness.ready(2);
    harness.expect(&["Drain 1", "replaced 1 2"]);
    assert_eq!(harness.state.serving().collect::<Vec<_>>(), [(2, 2)]);
    harness.exited(1, EXIT_0);
    harness.expect(&[]);
    assert_eq!(harness.next_wakeup(), None);
}

#[test]
fn several_workers_are_replaced_one_by_one() {
    let mut harness = Harness::serving(options(3, true));
    harness.replace(Some("new"));
    harness.expect(&["start 4 g2 new"]);
    harness.ready(4);
    harness.expect(&["Drain 1", "start 5 g2 new"]);
    harness.ready(5);
    harness.expect(&["Drain 2", "start 6 g2 new"]);
    harness.ready(6);
    harness.expect(&["Drain 3", "replaced 1 2"]);
}

#[test]
fn a_broken_replacement_does_not_stop_the_old_workers() {
    for retry in [true, false] {
        let mut harness = Harness::serving(options(2, retry));
        harness.replace(Some("broken"));
        harness.expect(&["start 3 g2 broken"]);
        harness.exited(3, EXIT_1);
        harness.expect(&["failed 3 exited serving=true retry=None"]);
        assert_eq!(harness.next_wakeup(), None);
        // If an old worker dies, the old version is started again.
        harness.exited(1, KILLED);
        harness.advance(100);
        harness.expect(&["died 1 failures=1 retry=100ms", "start 4 g1 app"]);
        harness.ready(4);
        harness.replace(None);
        harness.expect(&["start 5 g3 broken"]);
    }
}

#[test]
fn a_replacement_that_is_too_slow_has_failed_and_is_terminated() {
    let mut harness = Harness::serving(options(1, true));
    harness.replace(None);
    harness.advance(59_999);
    harness.expect(&["start 2 g2 app"]);
    harness.advance(1);
    harness.expect(&["Terminate 2", "failed 2 too slow serving=true retry=None"]);
    harness.advance(2000);
    harness.expect(&["Kill 2"]);
    harness.exited(2, KILLED);
    harness.expect(&[]);
    // A ready message that comes too late is ignored.
    harness.ready(2);
    assert_eq!(harness.state.serving().count(), 1);
}

#[test]
fn without_an_old_worker_a_failed_start_is_retried_or_waits_for_new_code() {
    let mut harness = Harness::new(options(1, true));
    harness.exited(1, EXIT_1);
    harness.expect(&["start 1 g1 app", "failed 1 exited serving=false retry=Some(100ms)"]);
    harness.advance(100);
    harness.exited(2, EXIT_1);
    harness.expect(&["start 2 g1 app", "failed 2 exited serving=false retry=Some(200ms)"]);
    assert!(harness.state.expects_worker());

    let mut harness = Harness::new(options(1, false));
    harness.exited(1, EXIT_1);
    harness.expect(&["start 1 g1 app", "failed 1 exited serving=false retry=None"]);
    harness.advance(3_600_000);
    harness.expect(&[]);
    assert_eq!(harness.next_wakeup(), None);
    assert!(!harness.state.expects_worker());
    harness.replace(None);
    harness.expect(&["start 2 g2 app"]);
}

#[test]
fn a_program_that_cannot_be_started_has_failed() {
    let state = SupervisorState::new(Program::new("nowhere"), &options(2, true));
    let recorder = Recorder { refuses: true, ..Recorder::default() };
    let mut harness = Harness { state, recorder, now: Instant::now() };
    harness.advance(0);
    harness.expect(&["failed 1 not started serving=false retry=Some(100ms)"]);
    harness.advance(100);
    harness.expect(&["failed 2 not started serving=false retry=Some(200ms)"]);
}

#[test]
fn a_worker_that_died_is_restarted_with_growing_delays() {
    let mut harness = Harness::serving(options(1, false));
    harness.exited(1, KILLED);
    harness.expect(&["died 1 failures=1 retry=100ms"]);
    harness.advance(99);
    harness.expect(&[]);
    harness.advance(1);
    harness.ready(2);
    harness.exited(2, EXIT_1);
    harness.advance(200);
    harness.expect(&["start 2 g1 app", "died 2 failures=2 retry=200ms", "start 3 g1 app"]);
    harness.ready(3);
    harness.advance(10_000);
    harness.exited(3, EXIT_1);
    harness.expect(&["died 3 failures=1 retry=100ms"]);
}

#[test]
fn several_deaths_at_once_count_as_one_failure() {
    let mut harness = Harness::serving(options(3, true));
    harness.exited(1, KILLED);
    harness.exited(2, KILLED);
    harness.exited(3, KILLED);
    harness.expect(&[
        "died 1 failures=1 retry=100ms",
        "died 2 failures=1 retry=100ms",
        "died 3 failures=1 retry=100ms",
    ]);
    harness.advance(100);
    harness.expect(&["start 4 g1 app", "start 5 g1 app", "start 6 g1 app"]);
}

#[test]
fn new_code_is_not_delayed_by_the_back_off_of_the_old() {
    let mut harness = Harness::serving(options(1, true));
    harness.exited(1, KILLED);
    harness.replace(None);
    harness.expect(&["died 1 failures=1 retry=100ms", "start 2 g2 app"]);
    harness.ready(2);
    harness.expect(&["replaced 1 2"]);
}

#[test]
fn exit_code_3_restarts_at_once() {
    let mut harness = Harness::serving(options(1, false));
    for id in 1..=5 {
        harness.exited(id, EXIT_3);
        harness.ready(id + 1);
        harness.expect(&[&format!("start {} g1 app", id + 1)]);
    }
    harness.exited(6, EXIT_3);
    harness.expect(&["too many restarts retry=100ms"]);
    harness.advance(100);
    harness.expect(&["start 7 g1 app"]);
    // Also before the worker is ready, and in a rolling restart.
    harness.advance(1000);
    harness.exited(7, EXIT_3);
    harness.expect(&["start 8 g1 app"]);
    harness.ready(8);
    harness.replace(None);
    harness.exited(9, EXIT_3);
    harness.expect(&["start 9 g2 app", "start 10 g2 app"]);
}

#[test]
fn exit_code_0_of_a_ready_worker_stops_all_workers() {
    let mut harness = Harness::serving(options(2, true));
    harness.exited(1, EXIT_0);
    harness.expect(&["ended", "Stop 2"]);
    assert_eq!(harness.state.exit_code(), None);
    harness.exited(2, EXIT_0);
    assert_eq!(harness.state.exit_code(), Some(0));
}

#[test]
fn the_fatal_exit_code_of_the_first_worker_ends_the_supervisor() {
    let options = SupervisorOptions { fatal_exit_code: Some(1), ..options(2, true) };
    let mut harness = Harness::new(options.clone());
    harness.exited(1, EXIT_1);
    harness.expect(&["start 1 g1 app", "fatal exit"]);
    assert_eq!(harness.state.exit_code(), Some(1));
    let mut harness = Harness::serving(options);
    harness.replace(None);
    harness.exited(3, EXIT_1);
    harness.expect(&["start 3 g2 app", "failed 3 exited serving=true retry=None"]);
    assert_eq!(harness.state.exit_code(), None);
}

#[test]
fn a_newer_replacement_abandons_one_that_is_starting() {
    let mut harness = Harness::serving(options(1, false));
    harness.replace(Some("new"));
    harness.replace(Some("newer"));
    harness.expect(&["start 2 g2 new", "Abandon 2", "start 3 g3 newer"]);
    // The end of an abandoned worker is no failure, and its ready message is ignored.
    harness.ready(2);
    harness.exited(2, EXIT_1);
    harness.expect(&[]);
    harness.ready(3);
    harness.expect(&["Drain 1", "replaced 1 3"]);
}

#[test]
fn a_worker_that_became_ready_before_it_was_abandoned_has_time_to_finish() {
    let mut harness = Harness::new(options(1, false));
    harness.replace(None);
    harness.ready(1);
    harness.expect(&["start 1 g1 app", "Abandon 1", "start 2 g2 app"]);
    assert_eq!(harness.state.serving().count(), 0);
    harness.ready(2);
    harness.advance(29_999);
    harness.expect(&[]);
    harness.advance(1);
    harness.expect(&["Terminate 1"]);
    // An abandoned worker that is not ready is terminated early.
    harness.replace(None);
    harness.replace(None);
    harness.advance(2000);
    harness.expect(&["start 3 g3 app", "Abandon 3", "start 4 g4 app", "Kill 1", "Terminate 3"]);
}

#[test]
fn workers_can_be_added_and_removed_but_one_remains() {
    let mut harness = Harness::serving(options(1, true));
    harness.state.add_worker();
    harness.advance(0);
    harness.expect(&["start 2 g1 app"]);
    harness.ready(2);
    harness.state.remove_worker();
    harness.advance(0);
    harness.expect(&["Drain 1"]);
    harness.state.remove_worker();
    harness.advance(0);
    harness.expect(&[]);
    assert_eq!(harness.state.worker_count(), 1);
    // A worker that is not ready yet is removed first.
    harness.state.add_worker();
    harness.advance(0);
    harness.state.remove_worker();
    harness.advance(0);
    harness.expect(&["start 3 g1 app", "Abandon 3"]);
}

#[test]
fn removing_workers_during_a_rolling_restart_completes_it_with_the_new_workers() {
    let mut harness = Harness::serving(options(3, true));
    harness.replace(None);
    harness.ready(4);
    harness.expect(&["start 4 g2 app", "Drain 1", "start 5 g2 app"]);
    harness.state.remove_worker();
    harness.state.remove_worker();
    harness.advance(0);
    harness.expect(&["Drain 2", "Drain 3", "replaced 1 2", "Abandon 5"]);
}

#[test]
fn a_worker_that_does_not_stop_is_terminated_and_then_killed() {
    let mut harness = Harness::serving(options(1, true));
    harness.replace(None);
    harness.ready(2);
    harness.recorder.lines.clear();
    harness.advance(30_000);
    harness.expect(&["drain timeout 1", "Terminate 1"]);
    harness.advance(2000);
    harness.expect(&["Kill 1"]);
    assert_eq!(harness.next_wakeup(), None);
}

#[test]
fn a_worker_that_has_drained_must_exit_soon() {
    let mut harness = Harness::serving(options(1, true));
    harness.replace(None);
    harness.ready(2);
    harness.state.worker_drained(1, harness.now);
    harness.recorder.lines.clear();
    assert_eq!(harness.next_wakeup(), Some(Duration::from_secs(2)));
    harness.advance(2000);
    harness.expect(&["drain timeout 1", "Terminate 1"]);
}

#[test]
fn the_first_interrupt_stops_gracefully_and_a_second_one_at_once() {
    let mut harness = Harness::serving(options(2, true));
    harness.replace(None);
    harness.recorder.lines.clear();
    harness.state.interrupt(harness.now, &mut harness.recorder);
    harness.expect(&["Stop 1", "Stop 2", "Terminate 3"]);
    // Two interrupts within 300 ms count as one.
    harness.now += Duration::from_millis(299);
    harness.state.interrupt(harness.now, &mut harness.recorder);
    harness.expect(&[]);
    harness.now += Duration::from_millis(1);
    harness.state.interrupt(harness.now, &mut harness.recorder);
    harness.expect(&["Kill 1", "Kill 2", "Kill 3"]);
    for id in 1..=3 {
        assert_eq!(harness.state.exit_code(), None);
        harness.exited(id, KILLED);
    }
    assert_eq!(harness.state.exit_code(), Some(130));
    harness.expect(&[]);
}

#[test]
fn nothing_is_started_while_stopping() {
    let mut harness = Harness::serving(options(2, true));
    harness.state.stop(0, harness.now, &mut harness.recorder);
    harness.replace(None);
    harness.state.add_worker();
    harness.exited(1, KILLED);
    harness.advance(1000);
    harness.expect(&["Stop 1", "Stop 2"]);
    harness.advance(29_000);
    harness.expect(&["drain timeout 2", "Terminate 2"]);
    harness.exited(2, KILLED);
    assert_eq!(harness.state.exit_code(), Some(0));
}

#[test]
fn a_silent_program_is_ready_after_a_time() {
    let protocol = Protocol::SignalsOnly { ready_after: Duration::from_millis(500) };
    let mut harness = Harness::new(SupervisorOptions { protocol, ..options(1, false) });
    assert_eq!(harness.next_wakeup(), Some(Duration::from_millis(500)));
    harness.advance(500);
    assert_eq!(harness.state.serving().count(), 1);
    harness.replace(None);
    harness.advance(499);
    harness.exited(2, EXIT_0);
    harness.expect(&["start 1 g1 app", "start 2 g2 app", "failed 2 exited serving=true retry=None"]);
}

#[test]
fn a_program_that_has_sent_a_message_is_ready_only_when_it_says_so() {
    let protocol = Protocol::Detect { ready_after: Duration::from_millis(500) };
    let mut harness = Harness::new(SupervisorOptions { protocol, ..options(1, false) });
    harness.state.worker_uses_protocol(1);
    harness.advance(500);
    assert_eq!(harness.state.serving().count(), 0);
    harness.ready(1);
    assert_eq!(harness.state.serving().count(), 1);
    harness.state.worker_uses_protocol(1);
    assert_eq!(harness.state.serving().count(), 1);
}

#[test]
fn a_missing_worker_that_cannot_start_is_retried_while_the_others_serve() {
    let mut harness = Harness::serving(options(2, true));
    harness.exited(1, KILLED);
    harness.advance(100);
    harness.exited(3, EXIT_1);
    harness.expect(&[
        "died 1 failures=1 retry=100ms",
        "start 3 g1 app",
        "failed 3 exited serving=true retry=Some(200ms)",
    ]);
    harness.advance(200);
    harness.expect(&["start 4 g1 app"]);
}
