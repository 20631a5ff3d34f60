//! Workers that ask to be replaced.

use super::*;

impl Harness {
    fn request_successor(&mut self, id: u64) {
        self.state.request_successor(id);
        self.advance(0);
    }
}

#[test]
fn a_worker_serves_until_its_successor_is_ready_and_a_second_request_changes_nothing() {
    let mut harness = Harness::serving(options(1, true));
    harness.request_successor(1);
    harness.request_successor(1);
    harness.expect(&["start 2 g1 app"]);
    assert_eq!(harness.state.serving().collect::<Vec<_>>(), [(1, 1)]);
    harness.ready(2);
    harness.expect(&["Drain 1"]);
    // The worker is stopping already.
    harness.request_successor(1);
    harness.exited(1, EXIT_0);
    harness.expect(&[]);
    assert_eq!(harness.state.serving().collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(harness.next_wakeup(), None);
    assert_eq!(harness.state.backoff.consecutive_failures(), 0);
    harness.request_successor(2);
    harness.expect(&["start 3 g1 app"]);
}

#[test]
fn a_worker_that_leaves_is_replaced_at_once_and_its_end_is_not_reported() {
    let mut harness = Harness::serving(options(1, false));
    harness.state.worker_leaving(1, harness.now);
    harness.advance(0);
    harness.expect(&["start 2 g1 app"]);
    harness.exited(1, EXIT_0);
    harness.ready(2);
    harness.expect(&[]);
    assert_eq!(harness.state.serving().collect::<Vec<_>>(), [(1, 2)]);
}

#[test]
fn workers_that_ask_at_the_same_time_are_replaced_one_after_the_other() {
    let mut harness = Harness::serving(options(3, false));
    for id in [3, 1] {
        harness.request_successor(id);
    }
    harness.expect(&["start 4 g1 app"]);
    harness.ready(4);
    harness.expect(&["Drain 1", "start 5 g1 app"]);
    harness.ready(5);
    harness.expect(&["Drain 3"]);
    assert_eq!(harness.state.serving().map(|(_, id)| id).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn a_worker_that_asks_while_it_starts_gets_its_successor_once_it_is_ready() {
    let mut harness = Harness::new(options(1, true));
    harness.request_successor(1);
    harness.expect(&["start 1 g1 app"]);
    harness.ready(1);
    harness.expect(&["start 2 g1 app"]);
    harness.ready(2);
    harness.expect(&["Drain 1"]);
}

#[test]
fn a_successor_that_cannot_start_is_retried_and_the_old_worker_keeps_serving() {
    for retry in [true, false] {
        let mut harness = Harness::serving(options(2, retry));
        harness.request_successor(2);
        harness.exited(3, EXIT_1);
        harness.expect(&["start 3 g1 app", "failed 3 exited serving=true retry=Some(100ms)"]);
        assert_eq!(harness.next_wakeup(), Some(Duration::from_millis(100)));
        // Deaths are delayed independently.
        harness.exited(1, KILLED);
        harness.expect(&["died 1 failures=1 retry=100ms"]);
        harness.advance(100);
        harness.expect(&["start 4 g1 app", "start 5 g1 app"]);
        harness.ready(4);
        harness.expect(&[]);
        harness.ready(5);
        harness.expect(&["Drain 2"]);
    }
}

#[test]
fn a_successor_that_cannot_be_executed_is_retried_with_growing_delays() {
    let mut harness = Harness::serving(options(1, true));
    harness.recorder.refuses = true;
    harness.request_successor(1);
    harness.expect(&["failed 2 not started serving=true retry=Some(100ms)"]);
    harness.advance(100);
    harness.expect(&["failed 3 not started serving=true retry=Some(200ms)"]);
    harness.recorder.refuses = false;
    harness.advance(200);
    harness.ready(4);
    harness.expect(&["start 4 g1 app", "Drain 1"]);
}

#[test]
fn a_successor_that_is_too_slow_is_terminated_and_retried() {
    let mut harness = Harness::serving(options(1, true));
    harness.request_successor(1);
    harness.advance(60_000);
    harness.expect(&["start 2 g1 app", "Terminate 2", "failed 2 too slow serving=true retry=Some(100ms)"]);
    harness.advance(100);
    harness.expect(&["start 3 g1 app"]);
}

#[test]
fn a_worker_that_asks_and_dies_is_replaced_by_its_successor() {
    let mut harness = Harness::serving(options(1, true));
    harness.request_successor(1);
    harness.exited(1, KILLED);
    harness.expect(&["start 2 g1 app", "died 1 failures=1 retry=100ms"]);
    harness.ready(2);
    harness.advance(100);
    harness.expect(&[]);
}

#[test]
fn a_rolling_restart_fulfils_requests_for_a_successor() {
    let mut harness = Harness::serving(options(2, false));
    harness.request_successor(1);
    harness.replace(Some("new"));
    harness.expect(&["start 3 g1 app", "Abandon 3", "start 4 g2 new"]);
    harness.request_successor(2);
    harness.ready(4);
    harness.ready(5);
    harness.expect(&["Drain 1", "start 5 g2 new", "Drain 2", "replaced 1 2"]);
    // If the new code does not start, the restart is over, and the worker gets a successor with its own code.
    harness.request_successor(4);
    harness.replace(Some("broken"));
    harness.exited(7, EXIT_1);
    harness.expect(&[
        "start 6 g2 new",
        "Abandon 6",
        "start 7 g3 broken",
        "failed 7 exited serving=true retry=Some(100ms)",
    ]);
    harness.advance(100);
    harness.ready(8);
    harness.expect(&["start 8 g2 new", "Drain 4"]);
}

#[test]
fn a_worker_that_asked_for_a_successor_is_removed_first() {
    let mut harness = Harness::serving(options(2, true));
    harness.request_successor(2);
    harness.state.remove_worker();
    harness.advance(0);
    harness.expect(&["start 3 g1 app", "Drain 2", "Abandon 3"]);
}

#[test]
fn no_worker_is_replaced_while_the_supervisor_stops() {
    let mut harness = Harness::serving(options(1, true));
    harness.state.stop(0, harness.now, &mut harness.recorder);
    harness.request_successor(1);
    harness.expect(&["Stop 1"]);
    harness.exited(1, EXIT_0);
    assert_eq!(harness.state.exit_code(), Some(0));
}
