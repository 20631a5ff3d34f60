//! Every rule, with a world and a clock of our own.

mod standing_in;
mod successors;

use super::*;
use std::os::unix::process::ExitStatusExt;

/// Writes down what it is told.
#[derive(Default)]
struct Script {
    lines: Vec<String>,
    refuses: bool,
}

impl World for Script {
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()> {
        if self.refuses {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.lines.push(format!("start {id} g{generation} {}", program.path.display()));
        Ok(())
    }

    fn order(&mut self, id: u64, order: Order) {
        self.lines.push(format!("{order:?} {id}"));
    }

    fn tell(&mut self, notice: Notice) {
        self.lines.push(match notice {
            Notice::Ready { .. } => return,
            Notice::Failed { id, serving, again_in, why, .. } => {
                let why = match why {
                    Why::NotStarted(_) => "not started",
                    Why::Exited(_) => "exited",
                    Why::TooSlow => "too slow",
                };
                format!("failed {id} {why} serving={serving} again={again_in:?}")
            }
            Notice::Died { id, row, again_in, .. } => format!("died {id} row={row} again={again_in:?}"),
            Notice::Swapped { old, new } => format!("swapped {old} {new}"),
            Notice::TooManyRestarts { again_in } => format!("too many restarts again={again_in:?}"),
            Notice::TooSlowToLeave { id } => format!("too slow to leave {id}"),
            Notice::Ended => "ended".into(),
            Notice::StandsIn { generation } => format!("g{generation} stands in"),
            Notice::GivenUp => "given up".into(),
        });
    }
}

/// A machine, its world and its clock; every step ends with a tick, as in the real loop.
struct Stage {
    machine: Machine,
    script: Script,
    now: Instant,
}

const EXIT_0: i32 = 0;
const EXIT_1: i32 = 1 << 8;
const EXIT_3: i32 = 3 << 8;
const KILLED: i32 = 9;

impl Stage {
    fn new(options: Options) -> Stage {
        let machine = Machine::new(Program::new("app"), &options);
        let mut stage = Stage { machine, script: Script::default(), now: Instant::now() };
        stage.pass(0);
        stage
    }

    /// With everything ready, and the way there forgotten.
    fn serving(options: Options) -> Stage {
        let workers = options.workers as u64;
        let mut stage = Stage::new(options);
        (1..=workers).for_each(|id| stage.ready(id));
        stage.script.lines.clear();
        stage
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.machine.tick(self.now, &mut self.script);
    }

    fn ready(&mut self, id: u64) {
        self.machine.ready(id, self.now, &mut self.script);
        self.pass(0);
    }

    fn exited(&mut self, id: u64, status: i32) {
        self.machine.exited(id, ExitStatus::from_raw(status), self.now, &mut self.script);
        self.pass(0);
    }

    fn replace(&mut self, path: Option<&str>) {
        self.machine.replace(path.map(Program::new), self.now, &mut self.script);
        self.pass(0);
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        assert_eq!(std::mem::take(&mut self.script.lines), lines);
    }

    /// Until when does it sleep?
    fn sleeps(&self) -> Option<Duration> {
        self.machine.next_deadline().map(|when| when.saturating_duration_since(self.now))
    }
}

/// The clock's instants end long before the longest duration.
#[test]
fn the_longest_deadlines_are_as_good_as_none() {
    let longest = Options {
        start_deadline: Duration::MAX,
        drain_deadline: Duration::MAX,
        kill_deadline: Duration::MAX,
        first_delay: Duration::MAX,
        longest_delay: Duration::MAX,
        healthy_after: Duration::MAX,
        again_within: Duration::MAX,
        protocol: crate::supervisor::Protocol::Either { settled: Duration::MAX },
        ..options(2, true)
    };
    let mut stage = Stage::serving(longest);
    // Each of these begins a wait.
    stage.exited(1, KILLED);
    stage.replace(Some("next"));
    stage.machine.stop(0, stage.now, &mut stage.script);
    assert!(stage.sleeps().is_some_and(|sleeps| sleeps > Duration::from_secs(365 * 24 * 3600)));
}

fn options(workers: usize, retry: bool) -> Options {
    Options { workers, retry, ..Options::default() }
}

#[test]
fn the_first_child_shows_whether_it_works_and_the_others_follow_together() {
    let mut stage = Stage::new(options(3, true));
    stage.expect(&["start 1 g1 app"]);
    stage.ready(1);
    stage.expect(&["start 2 g1 app", "start 3 g1 app"]);
    stage.ready(3);
    stage.ready(2);
    stage.expect(&[]);
    assert_eq!(stage.sleeps(), None, "nothing ticks while nothing happens");
}

#[test]
fn an_old_child_leaves_only_when_its_replacement_is_ready() {
    let mut stage = Stage::serving(options(1, true));
    stage.replace(None);
    stage.expect(&["start 2 g2 app"]);
    stage.ready(2);
    stage.expect(&["Drain 1", "swapped 1 2"]);
    assert_eq!(stage.machine.serving().collect::<Vec<_>>(), [(2, 2)]);
    stage.exited(1, EXIT_0);
    stage.expect(&[]);
    assert_eq!(stage.sleeps(), None);
}

#[test]
fn several_children_are_replaced_one_by_one() {
    let mut stage = Stage::serving(options(3, true));
    stage.replace(Some("new"));
    stage.expect(&["start 4 g2 new"]);
    stage.ready(4);
    stage.expect(&["Drain 1", "start 5 g2 new"]);
    stage.ready(5);
    stage.expect(&["Drain 2", "start 6 g2 new"]);
    stage.ready(6);
    stage.expect(&["Drain 3", "swapped 1 2"]);
}

#[test]
fn a_broken_replacement_leaves_the_old_alone() {
    for retry in [true, false] {
        let mut stage = Stage::serving(options(2, retry));
        stage.replace(Some("broken"));
        stage.expect(&["start 3 g2 broken"]);
        stage.exited(3, EXIT_1);
        stage.expect(&["failed 3 exited serving=true again=None"]);
        assert_eq!(stage.sleeps(), None);
        // The next one of the old to die is started as it was.
        stage.exited(1, KILLED);
        stage.pass(100);
        stage.expect(&["died 1 row=1 again=100ms", "start 4 g1 app"]);
        stage.ready(4);
        stage.replace(None);
        stage.expect(&["start 5 g3 broken"]);
    }
}

#[test]
fn a_replacement_that_is_too_slow_has_failed_and_is_ended() {
    let mut stage = Stage::serving(options(1, true));
    stage.replace(None);
    stage.pass(59_999);
    stage.expect(&["start 2 g2 app"]);
    stage.pass(1);
    stage.expect(&["Terminate 2", "failed 2 too slow serving=true again=None"]);
    stage.pass(2000);
    stage.expect(&["Kill 2"]);
    stage.exited(2, KILLED);
    stage.expect(&[]);
    // Its word comes too late.
    stage.ready(2);
    assert_eq!(stage.machine.serving().count(), 1);
}

#[test]
fn with_nothing_old_a_worker_is_tried_again_and_a_reloading_one_waits_for_new_code() {
    let mut stage = Stage::new(options(1, true));
    stage.exited(1, EXIT_1);
    stage.expect(&["start 1 g1 app", "failed 1 exited serving=false again=Some(100ms)"]);
    stage.pass(100);
    stage.exited(2, EXIT_1);
    stage.expect(&["start 2 g1 app", "failed 2 exited serving=false again=Some(200ms)"]);
    assert!(stage.machine.expects_another());

    let mut stage = Stage::new(options(1, false));
    stage.exited(1, EXIT_1);
    stage.expect(&["start 1 g1 app", "failed 1 exited serving=false again=None"]);
    stage.pass(3_600_000);
    stage.expect(&[]);
    assert_eq!(stage.sleeps(), None);
    assert!(!stage.machine.expects_another());
    stage.replace(None);
    stage.expect(&["start 2 g2 app"]);
}

#[test]
fn a_program_that_is_not_there_has_failed() {
    let machine = Machine::new(Program::new("nowhere"), &options(2, true));
    let script = Script { refuses: true, ..Script::default() };
    let mut stage = Stage { machine, script, now: Instant::now() };
    stage.pass(0);
    stage.expect(&["failed 1 not started serving=false again=Some(100ms)"]);
    stage.pass(100);
    stage.expect(&["failed 2 not started serving=false again=Some(200ms)"]);
}

#[test]
fn a_child_that_died_comes_back_later_and_later() {
    let mut stage = Stage::serving(options(1, false));
    stage.exited(1, KILLED);
    stage.expect(&["died 1 row=1 again=100ms"]);
    stage.pass(99);
    stage.expect(&[]);
    stage.pass(1);
    stage.ready(2);
    stage.exited(2, EXIT_1);
    stage.pass(200);
    stage.expect(&["start 2 g1 app", "died 2 row=2 again=200ms", "start 3 g1 app"]);
    stage.ready(3);
    stage.pass(10_000);
    stage.exited(3, EXIT_1);
    stage.expect(&["died 3 row=1 again=100ms"]);
}

#[test]
fn several_deaths_at_once_are_one_accident() {
    let mut stage = Stage::serving(options(3, true));
    stage.exited(1, KILLED);
    stage.exited(2, KILLED);
    stage.exited(3, KILLED);
    stage.expect(&["died 1 row=1 again=100ms", "died 2 row=1 again=100ms", "died 3 row=1 again=100ms"]);
    stage.pass(100);
    stage.expect(&["start 4 g1 app", "start 5 g1 app", "start 6 g1 app"]);
}

#[test]
fn new_code_does_not_wait_for_the_old_ones_back_off() {
    let mut stage = Stage::serving(options(1, true));
    stage.exited(1, KILLED);
    stage.replace(None);
    stage.expect(&["died 1 row=1 again=100ms", "start 2 g2 app"]);
    stage.ready(2);
    stage.expect(&["swapped 1 2"]);
}

#[test]
fn exit_code_3_means_again_at_once() {
    let mut stage = Stage::serving(options(1, false));
    for id in 1..=5 {
        stage.exited(id, EXIT_3);
        stage.ready(id + 1);
        stage.expect(&[&format!("start {} g1 app", id + 1)]);
    }
    stage.exited(6, EXIT_3);
    stage.expect(&["too many restarts again=100ms"]);
    stage.pass(100);
    stage.expect(&["start 7 g1 app"]);
    // Also before it is ready, and in a round.
    stage.pass(1000);
    stage.exited(7, EXIT_3);
    stage.expect(&["start 8 g1 app"]);
    stage.ready(8);
    stage.replace(None);
    stage.exited(9, EXIT_3);
    stage.expect(&["start 9 g2 app", "start 10 g2 app"]);
}

#[test]
fn an_application_that_ends_itself_ends_everything() {
    let mut stage = Stage::serving(options(2, true));
    stage.exited(1, EXIT_0);
    stage.expect(&["ended", "Stop 2"]);
    assert_eq!(stage.machine.outcome(), None);
    stage.exited(2, EXIT_0);
    assert_eq!(stage.machine.outcome(), Some(0));
}

#[test]
fn a_first_child_may_say_that_no_other_would_start() {
    let told = Options { give_up: Some(1), ..options(2, true) };
    let mut stage = Stage::new(told.clone());
    stage.exited(1, EXIT_1);
    stage.expect(&["start 1 g1 app", "given up"]);
    assert_eq!(stage.machine.outcome(), Some(1));
    let mut stage = Stage::serving(told);
    stage.replace(None);
    stage.exited(3, EXIT_1);
    stage.expect(&["start 3 g2 app", "failed 3 exited serving=true again=None"]);
    assert_eq!(stage.machine.outcome(), None);
}

#[test]
fn a_newer_replacement_takes_the_place_of_one_that_is_starting() {
    let mut stage = Stage::serving(options(1, false));
    stage.replace(Some("new"));
    stage.replace(Some("newer"));
    stage.expect(&["start 2 g2 new", "Abandon 2", "start 3 g3 newer"]);
    // Its end is no failure, and its word does not count.
    stage.ready(2);
    stage.exited(2, EXIT_1);
    stage.expect(&[]);
    stage.ready(3);
    stage.expect(&["Drain 1", "swapped 1 3"]);
}

#[test]
fn who_was_ready_before_it_heard_that_it_is_abandoned_has_time_to_finish() {
    let mut stage = Stage::new(options(1, false));
    stage.replace(None);
    stage.ready(1);
    stage.expect(&["start 1 g1 app", "Abandon 1", "start 2 g2 app"]);
    assert_eq!(stage.machine.serving().count(), 0);
    stage.ready(2);
    stage.pass(29_999);
    stage.expect(&[]);
    stage.pass(1);
    stage.expect(&["Terminate 1"]);
    // One that says nothing is not waited for.
    stage.replace(None);
    stage.replace(None);
    stage.pass(2000);
    stage.expect(&["start 3 g3 app", "Abandon 3", "start 4 g4 app", "Kill 1", "Terminate 3"]);
}

#[test]
fn one_more_and_one_less_but_never_none() {
    let mut stage = Stage::serving(options(1, true));
    stage.machine.add_worker();
    stage.pass(0);
    stage.expect(&["start 2 g1 app"]);
    stage.ready(2);
    stage.machine.remove_worker();
    stage.pass(0);
    stage.expect(&["Drain 1"]);
    stage.machine.remove_worker();
    stage.pass(0);
    stage.expect(&[]);
    assert_eq!(stage.machine.workers(), 1);
    // One that is not ready yet goes first.
    stage.machine.add_worker();
    stage.pass(0);
    stage.machine.remove_worker();
    stage.pass(0);
    stage.expect(&["start 3 g1 app", "Abandon 3"]);
}

#[test]
fn fewer_workers_in_the_middle_of_a_round_end_it_with_the_new() {
    let mut stage = Stage::serving(options(3, true));
    stage.replace(None);
    stage.ready(4);
    stage.expect(&["start 4 g2 app", "Drain 1", "start 5 g2 app"]);
    stage.machine.set_workers(1);
    stage.pass(0);
    stage.expect(&["Drain 2", "Drain 3", "swapped 1 2", "Abandon 5"]);
}

#[test]
fn who_does_not_leave_is_ended() {
    let mut stage = Stage::serving(options(1, true));
    stage.replace(None);
    stage.ready(2);
    stage.script.lines.clear();
    stage.pass(30_000);
    stage.expect(&["too slow to leave 1", "Terminate 1"]);
    stage.pass(2000);
    stage.expect(&["Kill 1"]);
    assert_eq!(stage.sleeps(), None);
}

#[test]
fn who_has_drained_has_no_reason_to_stay() {
    let mut stage = Stage::serving(options(1, true));
    stage.replace(None);
    stage.ready(2);
    stage.machine.drained(1, stage.now);
    stage.script.lines.clear();
    assert_eq!(stage.sleeps(), Some(Duration::from_secs(2)));
    stage.pass(2000);
    stage.expect(&["too slow to leave 1", "Terminate 1"]);
}

#[test]
fn stopping_is_polite_first_and_a_second_interrupt_is_not() {
    let mut stage = Stage::serving(options(2, true));
    stage.replace(None);
    stage.script.lines.clear();
    stage.machine.interrupt(stage.now, &mut stage.script);
    stage.expect(&["Stop 1", "Stop 2", "Terminate 3"]);
    // The same key, heard twice.
    stage.now += Duration::from_millis(299);
    stage.machine.interrupt(stage.now, &mut stage.script);
    stage.expect(&[]);
    stage.now += Duration::from_millis(1);
    stage.machine.interrupt(stage.now, &mut stage.script);
    stage.expect(&["Kill 1", "Kill 2", "Kill 3"]);
    for id in 1..=3 {
        assert_eq!(stage.machine.outcome(), None);
        stage.exited(id, KILLED);
    }
    assert_eq!(stage.machine.outcome(), Some(130));
    stage.expect(&[]);
}

#[test]
fn nothing_is_started_while_stopping() {
    let mut stage = Stage::serving(options(2, true));
    stage.machine.stop(0, stage.now, &mut stage.script);
    stage.replace(None);
    stage.machine.add_worker();
    stage.exited(1, KILLED);
    stage.pass(1000);
    stage.expect(&["Stop 1", "Stop 2"]);
    stage.pass(29_000);
    stage.expect(&["too slow to leave 2", "Terminate 2"]);
    stage.exited(2, KILLED);
    assert_eq!(stage.machine.outcome(), Some(0));
}

#[test]
fn a_program_that_says_nothing_is_ready_when_it_has_settled() {
    let protocol = super::super::Protocol::None { settled: Duration::from_millis(500) };
    let mut stage = Stage::new(Options { protocol, ..options(1, false) });
    assert_eq!(stage.sleeps(), Some(Duration::from_millis(500)));
    stage.pass(500);
    assert_eq!(stage.machine.serving().count(), 1);
    stage.replace(None);
    stage.pass(499);
    stage.exited(2, EXIT_0);
    stage.expect(&["start 1 g1 app", "start 2 g2 app", "failed 2 exited serving=true again=None"]);
}

#[test]
fn a_program_that_has_said_something_is_ready_when_it_says_so() {
    let protocol = super::super::Protocol::Either { settled: Duration::from_millis(500) };
    let mut stage = Stage::new(Options { protocol, ..options(1, false) });
    stage.machine.speaks(1);
    stage.pass(500);
    assert_eq!(stage.machine.serving().count(), 0);
    stage.ready(1);
    assert_eq!(stage.machine.serving().count(), 1);
    stage.machine.speaks(1);
    assert_eq!(stage.machine.serving().count(), 1);
}

#[test]
fn a_missing_worker_that_can_not_start_is_tried_again_beside_the_others() {
    let mut stage = Stage::serving(options(2, true));
    stage.exited(1, KILLED);
    stage.pass(100);
    stage.exited(3, EXIT_1);
    stage.expect(&["died 1 row=1 again=100ms", "start 3 g1 app", "failed 3 exited serving=true again=Some(200ms)"]);
    stage.pass(200);
    stage.expect(&["start 4 g1 app"]);
}
