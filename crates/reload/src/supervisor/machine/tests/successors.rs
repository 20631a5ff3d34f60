//! Children that ask to be replaced.

use super::*;

impl Stage {
    fn asks(&mut self, id: u64) {
        self.machine.wants_successor(id);
        self.pass(0);
    }
}

#[test]
fn who_asks_serves_until_another_is_ready_and_asking_twice_is_asking_once() {
    let mut stage = Stage::serving(options(1, true));
    stage.asks(1);
    stage.asks(1);
    stage.expect(&["start 2 g1 app"]);
    assert_eq!(stage.machine.serving().collect::<Vec<_>>(), [(1, 1)]);
    stage.ready(2);
    stage.expect(&["Drain 1"]);
    // It is on its way.
    stage.asks(1);
    stage.exited(1, EXIT_0);
    stage.expect(&[]);
    assert_eq!(stage.machine.serving().collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(stage.sleeps(), None);
    assert_eq!(stage.machine.backoff.row(), 0);
    stage.asks(2);
    stage.expect(&["start 3 g1 app"]);
}

#[test]
fn who_leaves_has_another_in_its_place_at_once_and_its_end_is_no_news() {
    let mut stage = Stage::serving(options(1, false));
    stage.machine.leaves(1, stage.now);
    stage.pass(0);
    stage.expect(&["start 2 g1 app"]);
    stage.exited(1, EXIT_0);
    stage.ready(2);
    stage.expect(&[]);
    assert_eq!(stage.machine.serving().collect::<Vec<_>>(), [(1, 2)]);
}

#[test]
fn several_that_ask_at_once_are_replaced_one_after_the_other() {
    let mut stage = Stage::serving(options(3, false));
    for id in [3, 1] {
        stage.asks(id);
    }
    stage.expect(&["start 4 g1 app"]);
    stage.ready(4);
    stage.expect(&["Drain 1", "start 5 g1 app"]);
    stage.ready(5);
    stage.expect(&["Drain 3"]);
    assert_eq!(stage.machine.serving().map(|(_, id)| id).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn who_asks_while_it_starts_serves_first() {
    let mut stage = Stage::new(options(1, true));
    stage.asks(1);
    stage.expect(&["start 1 g1 app"]);
    stage.ready(1);
    stage.expect(&["start 2 g1 app"]);
    stage.ready(2);
    stage.expect(&["Drain 1"]);
}

#[test]
fn a_successor_that_can_not_start_is_tried_again_and_the_old_one_keeps_serving() {
    for retry in [true, false] {
        let mut stage = Stage::serving(options(2, retry));
        stage.asks(2);
        stage.exited(3, EXIT_1);
        stage.expect(&["start 3 g1 app", "failed 3 exited serving=true again=Some(100ms)"]);
        assert_eq!(stage.sleeps(), Some(Duration::from_millis(100)));
        // It has nothing to do with those that die.
        stage.exited(1, KILLED);
        stage.expect(&["died 1 row=1 again=100ms"]);
        stage.pass(100);
        stage.expect(&["start 4 g1 app", "start 5 g1 app"]);
        stage.ready(4);
        stage.expect(&[]);
        stage.ready(5);
        stage.expect(&["Drain 2"]);
    }
}

#[test]
fn a_successor_that_can_not_even_be_executed_is_tried_again_later_and_later() {
    let mut stage = Stage::serving(options(1, true));
    stage.script.refuses = true;
    stage.asks(1);
    stage.expect(&["failed 2 not started serving=true again=Some(100ms)"]);
    stage.pass(100);
    stage.expect(&["failed 3 not started serving=true again=Some(200ms)"]);
    stage.script.refuses = false;
    stage.pass(200);
    stage.ready(4);
    stage.expect(&["start 4 g1 app", "Drain 1"]);
}

#[test]
fn a_successor_that_is_too_slow_is_ended_and_another_tried() {
    let mut stage = Stage::serving(options(1, true));
    stage.asks(1);
    stage.pass(60_000);
    stage.expect(&["start 2 g1 app", "Terminate 2", "failed 2 too slow serving=true again=Some(100ms)"]);
    stage.pass(100);
    stage.expect(&["start 3 g1 app"]);
}

#[test]
fn who_asks_and_dies_is_replaced_by_its_successor() {
    let mut stage = Stage::serving(options(1, true));
    stage.asks(1);
    stage.exited(1, KILLED);
    stage.expect(&["start 2 g1 app", "died 1 row=1 again=100ms"]);
    stage.ready(2);
    stage.pass(100);
    stage.expect(&[]);
}

#[test]
fn new_code_is_successor_enough() {
    let mut stage = Stage::serving(options(2, false));
    stage.asks(1);
    stage.replace(Some("new"));
    stage.expect(&["start 3 g1 app", "Abandon 3", "start 4 g2 new"]);
    stage.asks(2);
    stage.ready(4);
    stage.ready(5);
    stage.expect(&["Drain 1", "start 5 g2 new", "Drain 2", "swapped 1 2"]);
    // But not when it does not start.
    stage.asks(4);
    stage.replace(Some("broken"));
    stage.exited(7, EXIT_1);
    stage.expect(&[
        "start 6 g2 new",
        "Abandon 6",
        "start 7 g3 broken",
        "failed 7 exited serving=true again=Some(100ms)",
    ]);
    stage.pass(100);
    stage.ready(8);
    stage.expect(&["start 8 g2 new", "Drain 4"]);
}

#[test]
fn fewer_workers_send_those_away_that_want_to_go() {
    let mut stage = Stage::serving(options(2, true));
    stage.asks(2);
    stage.machine.remove_worker();
    stage.pass(0);
    stage.expect(&["start 3 g1 app", "Drain 2", "Abandon 3"]);
}

#[test]
fn nobody_is_replaced_while_everybody_stops() {
    let mut stage = Stage::serving(options(1, true));
    stage.machine.stop(0, stage.now, &mut stage.script);
    stage.asks(1);
    stage.expect(&["Stop 1"]);
    stage.exited(1, EXIT_0);
    assert_eq!(stage.machine.outcome(), Some(0));
}
