//! Programs that speak for one that can't start.

use super::*;

impl Stage {
    fn stand_in(&mut self, instead_of: Option<u64>) {
        self.machine.stand_in(Program::new("page"), instead_of, self.now, &mut self.script);
        self.pass(0);
    }
}

#[test]
fn a_stand_in_speaks_until_the_wanted_program_is_replaced() {
    let mut stage = Stage::serving(options(1, false));
    stage.stand_in(None);
    stage.ready(2);
    stage.expect(&["g2 stands in", "start 2 g2 page", "Drain 1", "swapped 1 2"]);
    stage.exited(2, KILLED);
    stage.pass(100);
    stage.expect(&["died 2 row=1 again=100ms", "start 3 g2 page"]);
    stage.replace(None);
    stage.expect(&["Abandon 3", "start 4 g3 app"]);
}

#[test]
fn a_stand_in_for_what_is_being_replaced_already_comes_too_late() {
    let mut stage = Stage::serving(options(1, false));
    stage.replace(None);
    stage.exited(2, EXIT_1);
    stage.script.lines.clear();
    stage.replace(None);
    stage.stand_in(Some(2));
    stage.expect(&["start 3 g3 app"]);
    stage.exited(3, EXIT_1);
    stage.stand_in(Some(3));
    stage.expect(&["failed 3 exited serving=true again=None", "g4 stands in", "start 4 g4 page"]);
}

#[test]
fn a_stand_in_for_an_old_child_that_can_not_be_started_again_comes_when_nothing_newer_is_on_its_way() {
    let mut stage = Stage::serving(options(1, false));
    stage.replace(None);
    stage.exited(2, EXIT_1);
    stage.exited(1, KILLED);
    stage.pass(100);
    stage.exited(3, EXIT_1);
    stage.script.lines.clear();
    stage.stand_in(Some(1));
    stage.expect(&["g3 stands in", "start 4 g3 page"]);
}
