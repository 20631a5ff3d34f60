//! Signals, among them CTRL+C, which a terminal sends to its whole process group; and log files that are moved away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::reload::{can_list_children, children};
use crate::running::{text, Running, TestDir};
use crate::{get, wait_until};

/// Sends a request without the end of its body.
fn begin(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n";
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").expect("the request can be sent");
    // The request is running when the server asks for its body.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("the server asks for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[test]
fn one_ctrl_c_in_the_terminal_of_a_supervisor_stops_gracefully() {
    for arguments in [&["--reload", "-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let dir = TestDir::new();
        dir.save("watched", "");
        let mut running = Running::start(&mut dir.amboss(arguments));
        running.wait_for_response("200 OK");
        let mut request = begin(running.port());
        running.signal_group("INT");
        running.wait_for_output("Stopping when the running requests are done");
        let port = running.port();
        wait_until("the port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(running.has_processes());
        request.write_all(b"2\r\nok\r\n0\r\n\r\n").expect("the request can be sent");
        let mut response = String::new();
        request.read_to_string(&mut response).expect("a response arrives");
        assert!(response.starts_with("HTTP/1.1 200 "), "{arguments:?}: {response}\n{}", running.output());
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
        wait_until("no process is left", || !running.has_processes());
        assert_eq!(running.output().matches("Stopping when").count(), 1, "{}", running.output());
        assert!(
            !running.output().contains("died") && !running.output().contains("The application has"),
            "{}",
            running.output()
        );
    }
}

#[test]
fn a_worker_ignores_ctrl_c() {
    if !can_list_children() {
        return;
    }
    let dir = TestDir::new();
    let mut running = Running::start(&mut dir.amboss(&["-w", "2", "-p", "0"]));
    running.wait_for_response("200 OK");
    wait_until("two workers", || children(running.pid()).len() == 2);
    let workers = children(running.pid());
    let asked = std::process::Command::new("kill").args(["-INT", &workers[0]]).status();
    assert!(asked.is_ok_and(|status| status.success()));
    for _ in 0..30 {
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{}", running.output());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(children(running.pid()), workers, "{}", running.output());
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0), "{}", running.output());
}

#[test]
fn a_worker_that_a_signal_stops_is_replaced_and_the_others_keep_serving() {
    if !can_list_children() {
        return;
    }
    for name in ["-TERM", "-HUP"] {
        let dir = TestDir::new();
        let mut running = Running::start(&mut dir.amboss(&["-w", "2", "-p", "0"]));
        running.wait_for_response("200 OK");
        wait_until("two workers", || children(running.pid()).len() == 2);
        let before = children(running.pid());
        let asked = std::process::Command::new("kill").args([name, &before[0]]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        wait_until("a new worker in its place", || {
            let workers = children(running.pid());
            workers.len() == 2 && !workers.contains(&before[0]) && workers.contains(&before[1])
        });
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{}", running.output());
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{}", running.output());
        assert!(
            !running.output().contains("died") && !running.output().contains("The application has"),
            "{name}: {}",
            running.output()
        );
    }
}

#[test]
fn a_signal_right_after_the_banner_is_handled() {
    let dir = TestDir::new();
    for _ in 0..10 {
        let mut running = Running::start(&mut dir.amboss(&["-w", "2", "-p", "0"]));
        running.wait_for_output("Running on");
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{}", running.output());
    }
}

/// As in `amboss 2>&1 | head`: the output is lost, and nothing else.
#[test]
fn a_server_whose_output_is_closed_still_stops() {
    for arguments in [&["-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let dir = TestDir::new();
        let mut command = dir.amboss(arguments);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the command starts");
        let mut banner = [0; 12];
        child.stderr.take().expect("a pipe").read_exact(&mut banner).expect("the banner can be read");
        for name in ["-USR1", "-TERM"] {
            let asked = std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
            assert!(asked.is_ok_and(|status| status.success()));
        }
        let mut code = None;
        wait_until("the command ends", || {
            code = child.try_wait().expect("the child can be waited for").map(|status| status.code());
            code.is_some()
        });
        assert_eq!(code, Some(Some(0)), "{arguments:?}");
    }
}

#[test]
fn a_second_ctrl_c_in_the_terminal_ends_all_processes_at_once() {
    let dir = TestDir::new();
    let mut running = Running::start(&mut dir.amboss(&["--reload", "-p", "0"]));
    running.wait_for_response("200 OK");
    let _request = begin(running.port());
    running.signal_group("INT");
    running.wait_for_output("Stopping when the running requests are done");
    // Signals within 300 ms count as one.
    let mut code = None;
    wait_until("the command ends", || {
        running.signal_group("INT");
        code = running.has_processes().then_some(0);
        code.is_none()
    });
    assert_eq!(running.exit_code(), Some(130), "{}", running.output());
    wait_until("no process is left", || !running.has_processes());
}

#[test]
fn usr1_reopens_a_moved_log_file_and_no_line_is_lost() {
    for arguments in [&[][..], &["--reload"], &["-w", "2"], &["--processes", "2"]] {
        let dir = TestDir::new();
        dir.save("access.log", "before\n");
        let path = text(&dir.0.join("access.log"));
        let arguments = [&["-p", "0", "--log-file", &path, "--log-format", "common"], arguments].concat();
        let mut running = Running::start(&mut dir.amboss(&arguments));
        let port = running.port();
        let lines = |name: &str| dir.read(name).matches("\"GET /a%20b?q=1 HTTP/1.1\" 200 ").count();
        for _ in 0..5 {
            get(port, "");
        }
        wait_until("five lines", || lines("access.log") == 5);
        std::fs::rename(dir.0.join("access.log"), dir.0.join("access.log.1")).expect("the file can be renamed");
        get(port, "");
        wait_until("a line in the moved file", || lines("access.log.1") == 6);
        running.signal("USR1");
        let mut requests = 6;
        // The supervisor tells its workers one after the other.
        wait_until("lines in the new file", || {
            get(port, "");
            requests += 1;
            lines("access.log") > 3
        });
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
        assert_eq!(lines("access.log") + lines("access.log.1"), requests, "{arguments:?}");
        assert!(dir.read("access.log.1").starts_with("before\n"));
        assert!(!running.output().contains("GET /"), "{}", running.output());
        assert!(!running.output().contains("Detected change"), "the log is not watched: {}", running.output());
    }
}

#[test]
fn without_a_supervisor_hup_reopens_the_log_and_the_code_stays() {
    for arguments in [&[][..], &["-w", "1"], &["--single"], &["--processes", "2"]] {
        let dir = TestDir::new();
        let path = text(&dir.0.join("access.log"));
        let arguments = [&["-p", "0", "--log-file", &path], arguments].concat();
        let mut running = Running::start(&mut dir.amboss(&arguments));
        for number in 1..=2 {
            let moved = format!("access.log.{number}");
            std::fs::rename(dir.0.join("access.log"), dir.0.join(&moved)).expect("the file can be renamed");
            running.signal("HUP");
            wait_until("the message about HUP", || dir.read("access.log").contains("the code stays as it is"));
            assert!(dir.read("access.log").contains("start amboss with --workers 2 or more"));
            assert!(dir.read("access.log").contains("HUP: the log was reopened; the code"));
            assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{arguments:?}: {}", running.output());
        }
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
    }
}

#[test]
fn usr1_and_hup_without_a_log_file_do_not_stop_the_server() {
    let dir = TestDir::new();
    let mut running = Running::start(&mut dir.amboss(&["-p", "0"]));
    running.signal("USR1");
    running.signal("HUP");
    running.wait_for_output("HUP: nothing was reloaded; the code stays as it is");
    running.wait_for_response("200 OK");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0), "{}", running.output());
}

#[test]
fn help_explains_the_signals() {
    let output = crate::amboss(&["--help"]).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["TERM and INT", "HUP reloads", "USR1 reopens", "TTIN and TTOU"] {
        assert!(printed.contains(name), "{name} in {printed}");
    }
}

#[test]
fn a_log_file_that_can_t_be_written_is_refused_with_code_2() {
    crate::fails(&["--log-file", "/not/there/log"], 2, "name a file in an existing directory");
}
