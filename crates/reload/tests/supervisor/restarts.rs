//! Workers that die, ask for a restart, or exit.

use std::time::Duration;

use amboss_reload::SupervisorOptions;

use crate::fixtures::worker;
use crate::support::*;

#[test]
fn a_worker_that_dies_is_replaced() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    let first = supervisor.get("/pid");
    let _ = Client::connect(supervisor.addr).try_get("/exit/7");
    let death = supervisor.log.expect(1, "failures=1");
    assert!(
        death.contains(&first) && death.contains("exit status: 7") && death.contains("restart_in=100ms"),
        "{death}"
    );
    assert_ne!(supervisor.get("/pid"), first);
    supervisor.log.expect(2, "started 1");
}

#[test]
fn a_crash_loop_is_slowed_down_and_explained() {
    let code = CodeFile::new("1 then_exit=9");
    let mut program = worker(code.path());
    program.capture_stderr = true;
    let mut options = SupervisorOptions::default();
    options.restart_delay = Duration::from_millis(10);
    let supervisor = TestSupervisor::start(program, options);
    let why = supervisor.log.expect(1, "3 in a row were ready for less than 10 s");
    assert!(why.contains("exit status: 9"), "{why}");
    supervisor.log.expect(3, "restart_in=");
    let delays: Vec<String> = supervisor
        .log
        .lines()
        .iter()
        .filter_map(|line| line.split_once("restart_in=").map(|(_, delay)| delay.into()))
        .collect();
    assert_eq!(delays[..3], ["10ms", "20ms", "40ms"]);
    // New code is not delayed.
    code.save("2");
    supervisor.handle.replace(None);
    assert_eq!(supervisor.get("/"), "2");
}

#[test]
fn a_worker_that_cannot_start_is_retried() {
    let code = CodeFile::new("1 exit=1");
    let supervisor = TestSupervisor::start(worker(code.path()), SupervisorOptions::default());
    supervisor.log.expect(1, "trying again in 100 ms");
    supervisor.log.expect(1, "trying again in 200 ms");
    code.save("2");
    assert_eq!(supervisor.get("/"), "2");
}

#[test]
fn a_missing_program_is_reported() {
    let supervisor =
        TestSupervisor::start(amboss_reload::Program::new("/nowhere/at/all"), SupervisorOptions::default());
    let failure = supervisor.log.expect(1, "failed 1");
    assert!(failure.contains("could not be started") && failure.contains("No such file"), "{failure}");
}

#[test]
fn exit_code_3_restarts_at_once() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    assert_eq!(supervisor.get("/"), "1");
    code.save("2");
    let _ = Client::connect(supervisor.addr).try_get("/exit/3");
    assert_eq!(supervisor.get("/"), "2");
    assert_eq!(supervisor.log.count("died"), 0);
}

#[test]
fn restarts_by_exit_code_3_are_limited() {
    let code = CodeFile::new("1");
    let mut options = SupervisorOptions::default();
    options.restart_limit_interval = Duration::from_secs(60);
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    wait_until("the limit is reached", || {
        let _ = Client::connect(supervisor.addr).try_get("/exit/3");
        supervisor.log.lines().iter().any(|line| line.contains("asked for a restart"))
    });
    supervisor.log.expect(1, "asked for a restart (exit code 3) more than 5 times within 60 s");
    let lines = supervisor.log.lines();
    let before = lines.iter().take_while(|line| !line.contains("asked for a restart"));
    assert_eq!(before.filter(|line| line.starts_with("started")).count(), 6, "{lines:?}");
    code.save("2");
    assert_eq!(supervisor.get("/"), "2");
}

#[test]
fn an_application_that_exits_with_0_ends_the_supervisor() {
    let code = CodeFile::new("1");
    let mut options = SupervisorOptions::default();
    options.workers = 2;
    let supervisor = TestSupervisor::ready(worker(code.path()), options);
    let _ = Client::connect(supervisor.addr).try_get("/exit/0");
    let log = supervisor.log.clone();
    assert_eq!(supervisor.exit_code(), 0);
    assert!(log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_stop_lets_running_requests_finish() {
    let code = CodeFile::new("1");
    let supervisor = TestSupervisor::ready(worker(code.path()), SupervisorOptions::default());
    let mut client = Client::connect(supervisor.addr);
    client.start_get("/sleep/300");
    supervisor.handle.stop();
    assert_eq!(client.response().text(), "1");
    assert_eq!(supervisor.exit_code(), 0);
}
