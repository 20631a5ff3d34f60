//! Programs that do not use the control socket, and their environment.

use std::time::Duration;

use amboss_reload::{Program, Protocol, SupervisorOptions};

use crate::fixtures::{exec_wrapper, worker};
use crate::python_server::{python_server, READY_SOON};
use crate::support::*;

fn options() -> SupervisorOptions {
    let mut options = SupervisorOptions::default();
    options.protocol = READY_SOON;
    options
}

#[test]
fn a_plain_program_is_ready_after_a_time_and_sigterm_stops_it() {
    if !is_installed("python3") {
        return;
    }
    let supervisor = TestSupervisor::ready(python_server("1"), options());
    assert_eq!(supervisor.get("/"), "1");
    assert_eq!(supervisor.get("/AMBOSS_CONTROL_FD"), "-");
    supervisor.handle.replace(Some(python_server("2")));
    supervisor.log.expect(1, "replaced 1 2");
    let old = supervisor.log.pids()[0];
    wait_until("the old worker is gone", || !is_alive(old));
    assert_eq!(supervisor.get("/"), "2");
    supervisor.handle.replace(Some(Program::new("false")));
    supervisor.log.expect(1, "failed 3");
    assert_eq!(supervisor.get("/"), "2");
    let log = supervisor.log.clone();
    supervisor.handle.stop();
    assert_eq!(supervisor.exit_code(), 0);
    assert!(log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn systemds_variables_are_set_by_the_exec_wrapper() {
    if !is_installed("python3") {
        return;
    }
    let mut program = python_server("1");
    program.exec_wrapper = Some(exec_wrapper());
    let supervisor = TestSupervisor::ready(program, options());
    let pid = supervisor.get("/pid");
    assert_eq!(supervisor.get("/LISTEN_PID"), pid);
    assert_eq!(supervisor.get("/LISTEN_FDS"), "1");
    assert_eq!(supervisor.get("/AMBOSS_SERVER_FD"), "3");
    assert_eq!(supervisor.get("/AMBOSS_RUN_MAIN"), "true");
    assert_eq!(supervisor.get("/AMBOSS_GENERATION"), "1");
    assert_eq!(supervisor.get("/AMBOSS_CHILD_SUPERVISOR"), "-");
    assert_eq!(
        supervisor.log.pids(),
        [pid.parse::<u32>().unwrap()],
        "the wrapper executes the program in its own process"
    );
}

#[test]
fn a_program_that_the_exec_wrapper_cannot_run_is_reported() {
    let mut program = Program::new("/nowhere/at/all");
    program.exec_wrapper = Some(exec_wrapper());
    program.capture_stderr = true;
    let mut options = options();
    options.protocol = Protocol::SignalsOnly { ready_after: DEADLINE };
    let supervisor = TestSupervisor::start(program, options);
    let failure = supervisor.log.expect(1, "failed 1");
    assert!(failure.contains("can't run /nowhere/at/all"), "{failure}");
}

#[test]
fn with_detection_a_program_that_uses_the_control_socket_gets_messages() {
    let code = CodeFile::new("1");
    let mut detect = SupervisorOptions::default();
    detect.protocol = Protocol::Detect { ready_after: Duration::from_secs(60) };
    let supervisor = TestSupervisor::ready(worker(code.path()), detect);
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").text(), "1");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 1 2");
    wait_until("the connection moves to the new worker", || client.get("/").text() == "2");
}

#[test]
fn with_detection_a_program_that_does_not_use_the_control_socket_is_treated_as_plain() {
    if !is_installed("python3") {
        return;
    }
    let mut detect = SupervisorOptions::default();
    detect.protocol = Protocol::Detect { ready_after: Duration::from_millis(300) };
    let supervisor = TestSupervisor::ready(python_server("1"), detect);
    assert_eq!(supervisor.get("/"), "1");
    assert_eq!(supervisor.get("/AMBOSS_CONTROL_FD"), "4");
    supervisor.handle.replace(Some(python_server("2")));
    supervisor.log.expect(1, "replaced 1 2");
    let old = supervisor.log.pids()[0];
    wait_until("the old worker is gone", || !is_alive(old));
    assert_eq!(supervisor.get("/"), "2");
}
