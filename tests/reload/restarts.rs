//! Code that is broken, children that die, and ends that leave nothing behind.

use crate::program::{eventually, is_alive, signal, Program, Told};

#[test]
fn broken_code_leaves_the_old_serving_until_a_save_mends_it() {
    let program = Program::start("broken", Told::default());
    let old = program.wait_for("good 0");
    program.save("bad 1");
    eventually("the supervisor says so", || program.said().contains("the old code keeps serving"));
    assert_eq!(program.get("/").unwrap(), (200, format!("good 0 {old}")));
    program.save("good 2");
    program.wait_for("good 2");
}

#[test]
fn broken_code_shows_its_output_to_every_request_when_asked_for() {
    let program = Program::start("page", Told { error_page: true, ..Told::default() });
    program.wait_for("good 0");
    let mut kept = program.connect().unwrap();
    assert_eq!(kept.get("/").unwrap().0, 200);
    program.save("bad 1");
    let page = program.wait_for_page("/any");
    assert!(page.contains("this code &lt;can&#x27;t&gt; start"), "{page}");
    // As soon as the old process has heard that it is over.
    eventually("kept connections see it, too", || kept.get("/").unwrap().0 == 503);
    program.save("good 2");
    program.wait_for("good 2");
    eventually("and its end", || kept.get("/").unwrap().0 == 200);
}

#[test]
fn code_that_never_worked_shows_a_page_instead_of_refusing() {
    let program = Program::start("never", Told::default());
    program.wait_for("good 0");
    program.save("bad 1");
    eventually("it is refused", || program.said().contains("keeps serving"));
    // The old code goes, and the new can't come.
    let _ = program.get("/die");
    eventually("the page is there", || program.get("/").is_some_and(|(status, _)| status == 503));
    program.save("good 2");
    program.wait_for("good 2");
}

#[test]
fn a_child_that_dies_or_asks_for_it_is_started_again() {
    let program = Program::start("dies", Told::default());
    let first = program.wait_for("good 0");
    let _ = program.get("/die");
    let mut second = first;
    eventually("another process answers", || {
        second = program.get("/").and_then(|(_, body)| body.rsplit(' ').next()?.parse().ok()).unwrap_or(first);
        second != first
    });
    let _ = program.get("/exit3");
    eventually("and another one", || program.get("/").is_some_and(|(_, body)| !body.ends_with(&format!(" {second}"))));
}

#[test]
fn an_application_that_stops_itself_ends_the_supervisor_with_code_0() {
    let mut program = Program::start("stops", Told::default());
    program.wait_for("good 0");
    assert_eq!(program.get("/stop").unwrap().0, 200);
    assert_eq!(program.ends(), Some(0));
}

#[test]
fn a_supervisor_that_is_killed_leaves_no_process_and_no_port() {
    let mut program = Program::start("killed", Told::default());
    let serving = program.wait_for("good 0");
    signal(program.child.id(), "KILL");
    assert_eq!(program.ends(), None);
    eventually("the child goes with it", || !is_alive(serving));
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", program.port)).is_ok());
}

#[test]
fn a_signal_stops_supervisor_and_child_gracefully() {
    let mut program = Program::start("term", Told::default());
    let serving = program.wait_for("good 0");
    let mut running = program.connect().unwrap();
    running.send("/slow").unwrap();
    // Until the request is certainly in the child.
    program.wait_for("good 0");
    program.signal("TERM");
    assert_eq!(running.answer().unwrap().0, 200);
    assert_eq!(program.ends(), Some(0));
    assert!(!is_alive(serving));
}

#[test]
fn ctrl_c_in_its_terminal_lets_a_program_that_calls_run_simple_finish_what_runs() {
    let mut program = Program::start("ctrl-c", Told::default());
    let serving = program.wait_for("good 0");
    let mut running = program.connect().unwrap();
    running.send("/slow").unwrap();
    // Until the request is certainly in the child.
    program.wait_for("good 0");
    program.signal_group("INT");
    assert_eq!(running.answer().unwrap().0, 200);
    assert_eq!(program.ends(), Some(0), "{}", program.said());
    assert!(!is_alive(serving));
    assert_eq!(program.said().matches("Stopping when").count(), 1, "{}", program.said());
}
