//! The fallback for a program that cannot start.

use super::*;

impl Harness {
    fn run_fallback(&mut self, instead_of: Option<u64>) {
        self.state.run_fallback(Program::new("page"), instead_of, self.now, &mut self.recorder);
        self.advance(0);
    }
}

#[test]
fn a_fallback_serves_until_the_program_is_replaced() {
    let mut harness = Harness::serving(options(1, false));
    harness.run_fallback(None);
    harness.ready(2);
    harness.expect(&["fallback g2", "start 2 g2 page", "Drain 1", "replaced 1 2"]);
    harness.exited(2, KILLED);
    harness.advance(100);
    harness.expect(&["died 2 failures=1 retry=100ms", "start 3 g2 page"]);
    harness.replace(None);
    harness.expect(&["Abandon 3", "start 4 g3 app"]);
}

#[test]
fn a_fallback_for_a_generation_that_is_being_replaced_does_not_run() {
    let mut harness = Harness::serving(options(1, false));
    harness.replace(None);
    harness.exited(2, EXIT_1);
    harness.recorder.lines.clear();
    harness.replace(None);
    harness.run_fallback(Some(2));
    harness.expect(&["start 3 g3 app"]);
    harness.exited(3, EXIT_1);
    harness.run_fallback(Some(3));
    harness.expect(&["failed 3 exited serving=true retry=None", "fallback g4", "start 4 g4 page"]);
}

#[test]
fn a_fallback_for_an_old_generation_runs_if_no_newer_one_is_starting() {
    let mut harness = Harness::serving(options(1, false));
    harness.replace(None);
    harness.exited(2, EXIT_1);
    harness.exited(1, KILLED);
    harness.advance(100);
    harness.exited(3, EXIT_1);
    harness.recorder.lines.clear();
    harness.run_fallback(Some(1));
    harness.expect(&["fallback g3", "start 4 g3 page"]);
}
