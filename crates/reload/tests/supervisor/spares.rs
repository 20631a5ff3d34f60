//! Workers that are started ahead of time.

use amboss_reload::SupervisorOptions;
use amboss_testkit::poll_until;

use crate::fixtures::{spares, worker};
use crate::support::*;

fn with_spare() -> SupervisorOptions {
    let mut options = SupervisorOptions::default();
    options.spare = true;
    options
}

/// Waits for the `count`th spare, and returns its process id.
#[track_caller]
fn spare(code: &CodeFile, count: usize) -> u32 {
    let line = || {
        let text = std::fs::read_to_string(spares(code.path())).unwrap_or_default();
        // The last line may be incomplete.
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).nth(count - 1)?.trim().parse().ok()
    };
    poll_until(DEADLINE, line, || format!("waiting for spare {count}"))
}

#[test]
fn the_spare_serves_the_new_code_and_another_one_follows() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), with_spare());
    let mut idle = Client::connect(supervisor.addr);
    idle.try_get("/").unwrap();
    for version in 2..5 {
        let spare = spare(&code, version - 1);
        assert!(!supervisor.log.pids().contains(&spare));
        code.save(&version.to_string());
        supervisor.handle.replace(None);
        supervisor.wait_for_version(&version.to_string());
        supervisor.log.expect(1, &format!("started {version} {spare}"));
        wait_until("the connection moves to the spare", || idle.get("/").text() == version.to_string());
    }
    let last = spare(&code, 4);
    assert!(is_alive(last));
    drop(supervisor);
    wait_until("the spare has ended", || !is_alive(last));
}

#[test]
fn a_spare_that_is_not_prepared_refuses_or_does_not_answer_is_replaced_by_another_process() {
    for how in ["unprepared", "refuses", "silent"] {
        let code = CodeFile::new(&format!("1 {how}"));
        let supervisor = TestSupervisor::ready(worker(code.path()), with_spare());
        let spare = spare(&code, 1);
        code.save("2");
        supervisor.handle.replace(None);
        supervisor.wait_for_version("2");
        assert!(!supervisor.log.pids().contains(&spare), "{how}");
        wait_until("the spare has ended", || !is_alive(spare));
        assert_eq!(supervisor.log.count("died") + supervisor.log.count("failed"), 0, "{:?}", supervisor.log.lines());
    }
}

#[test]
fn a_spare_that_dies_is_not_missed() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), with_spare());
    let spare = spare(&code, 1);
    send_signal(spare, "KILL");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.wait_for_version("2");
    assert!(!supervisor.log.pids().contains(&spare));
}

#[test]
fn another_program_does_not_run_in_the_spare() {
    let (code, other) = (CodeFile::new("1"), CodeFile::new("other"));
    let supervisor = TestSupervisor::ready(worker(code.path()), with_spare());
    let first = spare(&code, 1);
    supervisor.handle.run_fallback(worker(other.path()), None);
    supervisor.wait_for_version("other");
    assert!(!supervisor.log.pids().contains(&first));
    let second = spare(&code, 2);
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.wait_for_version("2");
    supervisor.log.expect(1, &format!("started 3 {second}"));
}
