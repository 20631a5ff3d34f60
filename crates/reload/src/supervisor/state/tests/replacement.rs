//! Starting and replacing workers.

use super::*;

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
fn a_newer_replacement_abandons_one_that_is_starting() {
    let mut harness = Harness::serving(options(1, false));
    harness.replace(Some("new"));
    harness.replace(Some("newer"));
    harness.expect(&["start 2 g2 new", "Abandon 2", "start 3 g3 newer"]);
    // The exit of an abandoned worker does not count as a failure, and its ready message is ignored.
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
