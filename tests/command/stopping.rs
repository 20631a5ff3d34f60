//! Signals, among them CTRL+C, which a terminal sends to its whole process group; and log files that are moved away.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use amboss_testkit::{send_signal, wait_for, wait_until, Client};

use crate::reload::{can_list_children, children};
use crate::running::{amboss_in, read, test_dir, Running};
use crate::{connect, get};

/// Sends a request without the end of its body.
fn begin(port: u16) -> Client {
    let mut client = connect(port);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n";
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    // The request is running when the server asks for its body.
    assert_eq!(client.until("\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    client
}

#[test]
fn one_ctrl_c_in_the_terminal_of_a_supervisor_stops_gracefully() {
    for arguments in [&["--reload", "-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let dir = test_dir();
        dir.write("watched", "");
        let mut running = Running::start(&mut amboss_in(&dir, arguments));
        running.wait_for_response("200 OK");
        let mut request = begin(running.port());
        running.signal_group("INT");
        running.wait_for_output("Stopping when the running requests are done");
        let port = running.port();
        wait_until("the port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(running.has_processes());
        request.send("2\r\nok\r\n0\r\n\r\n");
        let response = request.try_response().expect("a whole response arrives");
        assert_eq!(response.status, 200, "{arguments:?}: {response:?}\n{}", running.output());
        assert!(request.at_end());
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
    let dir = test_dir();
    let mut running = Running::start(&mut amboss_in(&dir, &["-w", "2", "-p", "0"]));
    running.wait_for_response("200 OK");
    wait_until("two workers run", || children(running.pid()).len() == 2);
    let workers = children(running.pid());
    send_signal(workers[0], "INT");
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
    for name in ["TERM", "HUP"] {
        let dir = test_dir();
        let mut running = Running::start(&mut amboss_in(&dir, &["-w", "2", "-p", "0"]));
        running.wait_for_response("200 OK");
        wait_until("two workers run", || children(running.pid()).len() == 2);
        let before = children(running.pid());
        send_signal(before[0], name);
        wait_until("a new worker runs in its place", || {
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
    let dir = test_dir();
    for _ in 0..10 {
        let mut running = Running::start(&mut amboss_in(&dir, &["-w", "2", "-p", "0"]));
        running.wait_for_output("Running on");
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{}", running.output());
    }
}

/// As in `amboss 2>&1 | head`: the output is lost, and nothing else.
#[test]
fn a_server_whose_output_is_closed_still_stops() {
    for arguments in [&["-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let dir = test_dir();
        let mut command = amboss_in(&dir, arguments);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the command starts");
        let mut banner = [0; 12];
        child.stderr.take().expect("a pipe").read_exact(&mut banner).expect("the banner can be read");
        for name in ["USR1", "TERM"] {
            send_signal(child.id(), name);
        }
        let status = wait_for("the command has exited", || child.try_wait().expect("the child can be waited for"));
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_second_ctrl_c_in_the_terminal_ends_all_processes_at_once() {
    let dir = test_dir();
    let mut running = Running::start(&mut amboss_in(&dir, &["--reload", "-p", "0"]));
    running.wait_for_response("200 OK");
    let _request = begin(running.port());
    running.signal_group("INT");
    running.wait_for_output("Stopping when the running requests are done");
    // Signals within 300 ms count as one. No third signal is sent: it could reach the supervisor when it no longer handles
    // signals and is about to exit.
    std::thread::sleep(Duration::from_millis(350));
    running.signal_group("INT");
    assert_eq!(running.exit_code(), Some(130), "{}", running.output());
    wait_until("no process is left", || !running.has_processes());
}

#[test]
fn usr1_reopens_a_moved_log_file_and_no_line_is_lost() {
    for arguments in [&[][..], &["--reload"], &["-w", "2"], &["--processes", "2"]] {
        let dir = test_dir();
        dir.write("access.log", "before\n");
        let path = dir.join_str("access.log");
        let arguments = [&["-p", "0", "--log-file", &path, "--log-format", "common"], arguments].concat();
        let mut running = Running::start(&mut amboss_in(&dir, &arguments));
        let port = running.port();
        let lines = |name: &str| read(&dir, name).matches("\"GET /a%20b?q=1 HTTP/1.1\" 200 ").count();
        for _ in 0..5 {
            get(port, "");
        }
        wait_until("the log has five lines", || lines("access.log") == 5);
        std::fs::rename(dir.join("access.log"), dir.join("access.log.1")).expect("the file can be renamed");
        get(port, "");
        wait_until("the moved file has another line", || lines("access.log.1") == 6);
        running.signal("USR1");
        let mut requests = 6;
        // The supervisor tells its workers one after the other.
        wait_until("the new file has lines", || {
            get(port, "");
            requests += 1;
            lines("access.log") > 3
        });
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
        assert_eq!(lines("access.log") + lines("access.log.1"), requests, "{arguments:?}");
        assert!(read(&dir, "access.log.1").starts_with("before\n"));
        assert!(!running.output().contains("GET /"), "{}", running.output());
        assert!(!running.output().contains("Detected change"), "the log is not watched: {}", running.output());
    }
}

#[test]
fn without_a_supervisor_hup_reopens_the_log_and_the_code_stays() {
    for arguments in [&[][..], &["-w", "1"], &["--single"], &["--processes", "2"]] {
        let dir = test_dir();
        let path = dir.join_str("access.log");
        let arguments = [&["-p", "0", "--log-file", &path], arguments].concat();
        let mut running = Running::start(&mut amboss_in(&dir, &arguments));
        for number in 1..=2 {
            let moved = format!("access.log.{number}");
            std::fs::rename(dir.join("access.log"), dir.join(&moved)).expect("the file can be renamed");
            running.signal("HUP");
            wait_until("the log has the message about HUP", || {
                read(&dir, "access.log").contains("the code stays as it is")
            });
            assert!(read(&dir, "access.log").contains("start amboss with --workers 2 or more"));
            assert!(read(&dir, "access.log").contains("HUP: the log was reopened; the code"));
            assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{arguments:?}: {}", running.output());
        }
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
    }
}

#[test]
fn usr1_and_hup_without_a_log_file_do_not_stop_the_server() {
    let dir = test_dir();
    let mut running = Running::start(&mut amboss_in(&dir, &["-p", "0"]));
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
