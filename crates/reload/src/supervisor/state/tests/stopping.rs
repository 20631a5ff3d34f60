//! Adding, removing and stopping workers.

use super::*;

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
