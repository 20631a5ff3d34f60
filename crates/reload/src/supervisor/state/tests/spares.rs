//! When a spare is started.

use super::*;

fn with_spare() -> SupervisorOptions {
    SupervisorOptions { spare: true, ..options(1, false) }
}

#[test]
fn a_spare_is_started_half_a_second_after_the_last_start() {
    let mut it = Harness::new(with_spare());
    it.expect(&["start 1 g1 app"]);
    it.advance(5_000);
    it.expect(&[]);
    it.ready(1);
    assert_eq!(it.next_wakeup(), Some(Duration::from_millis(500)));
    it.advance(499);
    it.expect(&[]);
    it.advance(1);
    it.expect(&["spare of app"]);
    assert_eq!(it.next_wakeup(), None);
    it.replace(None);
    it.expect(&["start 2 g2 app"]);
    it.advance(5_000);
    it.expect(&[]);
    it.ready(2);
    it.recorder.lines.clear();
    it.advance(499);
    it.expect(&[]);
    // One more save in the meantime begins the wait again.
    it.replace(None);
    it.ready(3);
    it.recorder.lines.clear();
    it.advance(499);
    it.expect(&[]);
    it.advance(1);
    it.expect(&["spare of app"]);
}

#[test]
fn there_is_a_spare_for_the_save_that_repairs_the_program() {
    let mut it = Harness::new(with_spare());
    it.exited(1, EXIT_1);
    it.recorder.lines.clear();
    it.advance(500);
    it.expect(&["spare of app"]);
}

#[test]
fn no_spare_is_started_unless_it_is_asked_for_or_while_the_supervisor_stops() {
    let mut it = Harness::serving(options(1, false));
    it.advance(60_000);
    it.expect(&[]);
    let mut it = Harness::serving(with_spare());
    it.state.stop(0, it.now, &mut it.recorder);
    assert_ne!(it.next_wakeup(), Some(Duration::from_millis(500)));
    it.advance(600);
    it.expect(&["Stop 1"]);
}
