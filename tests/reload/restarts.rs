//! Broken code, processes that die, and stopping without leaving anything behind.

use amboss_testkit::{is_alive, wait_for, wait_until};

use crate::supervisor_process::{process_id, SupervisorProcess, TestOptions};

#[test]
fn the_old_code_keeps_serving_until_broken_code_is_fixed() {
    let program = SupervisorProcess::start("broken", TestOptions::default());
    let old = program.wait_for_code("good 0");
    program.save("bad 1");
    program.wait_for_stderr("the old code keeps serving");
    let response = program.get("/");
    assert_eq!((response.status, response.text()), (200, format!("good 0 {old}")));
    program.save("good 2");
    program.wait_for_code("good 2");
}

#[test]
fn the_error_page_of_broken_code_answers_every_request_on_demand() {
    let program = SupervisorProcess::start("page", TestOptions { error_page: true, ..TestOptions::default() });
    program.wait_for_code("good 0");
    let mut kept = program.connect();
    assert_eq!(kept.try_get("/").unwrap().status, 200);
    program.save("bad 1");
    let page = program.wait_for_error_page("/any");
    assert!(page.contains("this code &lt;can't&gt; start"), "{page}");
    assert!(page.contains("The newest code doesn't run"), "{page}");
    // The old process may still respond until it notices that it is replaced.
    wait_until("a kept connection gets the error page", || kept.try_get("/").unwrap().status == 503);
    program.save("good 2");
    program.wait_for_code("good 2");
    wait_until("a kept connection gets the fixed code", || kept.try_get("/").unwrap().status == 200);
}

#[test]
fn the_error_page_has_a_form_for_each_client_and_is_for_this_machine() {
    let options = TestOptions { error_page: true, code: Some("bad 0"), ..TestOptions::default() };
    let program = SupervisorProcess::start("page-forms", options);
    program.wait_for_error_page("/");
    let ask = |host: &str, accept: &str| {
        let mut client = amboss_testkit::Client::connect(("127.0.0.1", program.port));
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{accept}\r\n"));
        client.response()
    };
    for (accept, kind) in [
        ("Accept: text/html\r\n", "text/html; charset=utf-8"),
        ("Accept: */*\r\n", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("Accept: application/json\r\n", "application/json"),
    ] {
        let page = ask("localhost", accept);
        assert_eq!((page.status, page.field("Content-Type")), (503, Some(kind)), "{accept}");
        assert_eq!((page.field("Retry-After"), page.field("Cache-Control")), (Some("1"), Some("no-store")));
        assert!(page.text().contains("start"), "{}", page.text());
    }
    let refused = ask("evil.test", "Accept: text/html\r\n");
    assert!(refused.status == 421 && !refused.text().contains("can't"), "{}", refused.text());
}

#[test]
fn the_error_page_is_served_when_no_code_works() {
    let program = SupervisorProcess::start("never", TestOptions::default());
    program.wait_for_code("good 0");
    program.save("bad 1");
    program.wait_for_stderr("keeps serving");
    // The process with the old code dies, and the new code cannot start.
    let _ = program.try_get("/die");
    program.wait_for_error_page("/");
    program.save("good 2");
    program.wait_for_code("good 2");
}

#[test]
fn a_child_that_dies_or_exits_for_a_restart_is_replaced() {
    let program = SupervisorProcess::start("dies", TestOptions::default());
    let first = program.wait_for_code("good 0");
    let _ = program.try_get("/die");
    let second =
        wait_for("another process responds", || process_id(&program.try_get("/")?.text()).filter(|&pid| pid != first));
    let _ = program.try_get("/exit3");
    wait_until("a third process responds", || {
        program.try_get("/").is_some_and(|response| !response.text().ends_with(&format!(" {second}")))
    });
}

#[test]
fn an_application_that_stops_the_server_ends_the_supervisor_with_code_0() {
    let mut program = SupervisorProcess::start("stops", TestOptions::default());
    program.wait_for_code("good 0");
    assert_eq!(program.get("/stop").status, 200);
    assert_eq!(program.wait_for_exit(), Some(0));
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_no_port() {
    let mut program = SupervisorProcess::start("killed", TestOptions::default());
    let serving = program.wait_for_code("good 0");
    program.signal("KILL");
    assert_eq!(program.wait_for_exit(), None);
    wait_until("the child has exited", || !is_alive(serving));
    program.wait_for_free_port();
}

#[test]
fn sigterm_stops_supervisor_and_child_gracefully() {
    let mut program = SupervisorProcess::start("term", TestOptions::default());
    let serving = program.wait_for_code("good 0");
    let mut running = program.connect();
    running.start_get("/slow");
    program.signal("TERM");
    assert_eq!(running.try_response().unwrap().status, 200);
    assert_eq!(program.wait_for_exit(), Some(0));
    assert!(!is_alive(serving));
}

#[test]
fn ctrl_c_in_the_terminal_lets_running_requests_finish() {
    let mut program = SupervisorProcess::start("ctrl-c", TestOptions::default());
    let serving = program.wait_for_code("good 0");
    let mut running = program.connect();
    running.start_get("/slow");
    program.signal_group("INT");
    assert_eq!(running.try_response().unwrap().status, 200);
    assert_eq!(program.wait_for_exit(), Some(0), "{}", program.stderr());
    assert!(!is_alive(serving));
    assert_eq!(program.stderr().matches("Stopping when").count(), 1, "{}", program.stderr());
}
