//! Children that die, ask for a restart, or end themselves.

use std::time::Duration;

use amboss_reload::supervisor::Options;

use crate::roles::child;
use crate::support::*;

#[test]
fn a_child_that_dies_is_replaced() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    let first = site.get("/pid");
    let _ = Client::connect(site.addr).get("/exit/7");
    let death = site.log.expect(1, "row=1");
    assert!(death.contains(&first) && death.contains("exit status: 7") && death.contains("again=100ms"), "{death}");
    assert_ne!(site.get("/pid"), first);
    site.log.expect(2, "started 1");
}

#[test]
fn a_crash_loop_backs_off_and_says_why() {
    let code = Code::new("1 then_exit=9");
    let mut program = child(code.path());
    program.capture = true;
    let mut options = Options::default();
    options.first_delay = Duration::from_millis(10);
    let site = Site::start(program, options);
    let why = site.log.expect(1, "3 in a row have lived less than 10 s");
    assert!(why.contains("exit status: 9"), "{why}");
    site.log.expect(3, "again=");
    let delays: Vec<String> =
        site.log.lines().iter().filter_map(|line| line.split_once("again=").map(|(_, delay)| delay.into())).collect();
    assert_eq!(delays[..3], ["10ms", "20ms", "40ms"]);
    // New code is not kept waiting.
    code.save("2");
    site.handle.replace(None);
    assert_eq!(site.get("/"), "2");
}

#[test]
fn a_worker_that_can_not_start_is_tried_again() {
    let code = Code::new("1 exit=1");
    let site = Site::start(child(code.path()), Options::default());
    site.log.expect(1, "trying again in 100 ms");
    site.log.expect(1, "trying again in 200 ms");
    code.save("2");
    assert_eq!(site.get("/"), "2");
}

#[test]
fn a_program_that_is_not_there_is_said_to_be() {
    let site = Site::start(amboss_reload::child::Program::new("/nowhere/at/all"), Options::default());
    let failure = site.log.expect(1, "failed 1");
    assert!(failure.contains("could not be started") && failure.contains("No such file"), "{failure}");
}

#[test]
fn exit_code_3_means_again_at_once() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    assert_eq!(site.get("/"), "1");
    code.save("2");
    let _ = Client::connect(site.addr).get("/exit/3");
    assert_eq!(site.get("/"), "2");
    assert_eq!(site.log.count("died"), 0);
}

#[test]
fn asking_for_a_restart_all_the_time_is_noticed() {
    let code = Code::new("1 exit=3");
    let mut options = Options::default();
    options.again_within = Duration::from_secs(60);
    let site = Site::start(child(code.path()), options);
    site.log.expect(1, "asked for a restart (exit code 3) more than 5 times within 60 s");
    let lines = site.log.lines();
    let before = lines.iter().take_while(|line| !line.contains("asked for a restart"));
    assert_eq!(before.filter(|line| line.starts_with("started")).count(), 6, "{lines:?}");
    code.save("2");
    assert_eq!(site.get("/"), "2");
}

#[test]
fn an_application_that_ends_itself_ends_the_supervisor() {
    let code = Code::new("1");
    let mut options = Options::default();
    options.workers = 2;
    let site = Site::ready(child(code.path()), options);
    let _ = Client::connect(site.addr).get("/exit/0");
    let log = site.log.clone();
    assert_eq!(site.outcome(), 0);
    assert!(log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn a_stop_lets_running_requests_finish() {
    let code = Code::new("1");
    let site = Site::ready(child(code.path()), Options::default());
    let mut client = Client::connect(site.addr);
    client.runs("/sleep/300");
    site.handle.stop();
    assert_eq!(client.answer().unwrap(), "1");
    assert_eq!(site.outcome(), 0);
}
