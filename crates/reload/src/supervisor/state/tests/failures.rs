//! Workers that die, ask for a restart, or exit.

use super::*;

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
}

/// Code that ends this way while it is imported would do so again and again.
#[test]
fn exit_code_3_before_the_worker_serves_is_a_failure() {
    let mut harness = Harness::serving(options(1, false));
    harness.replace(None);
    harness.expect(&["start 2 g2 app"]);
    harness.exited(2, EXIT_3);
    harness.expect(&["failed 2 exited serving=true retry=None"]);
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
