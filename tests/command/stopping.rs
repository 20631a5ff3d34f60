//! CTRL+C in a terminal, which everybody in it gets, and log files that are moved away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::get;
use crate::reload::{children, tells_children};
use crate::running::{eventually, text, Folder, Running};

/// A request whose last byte is still missing.
fn begin(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n";
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").expect("it can be sent");
    // Asked for its body, it certainly runs.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("it is asked for its body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[test]
fn one_ctrl_c_in_the_terminal_of_a_supervisor_stops_gracefully() {
    for arguments in [&["--reload", "-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let folder = Folder::new("ctrl-c");
        folder.save("watched", "");
        let mut running = Running::start(&mut folder.amboss(arguments));
        running.waits_for("200 OK");
        let mut request = begin(running.port());
        running.signal_group("INT");
        running.waits_to_say("Stopping when the running requests are done");
        let port = running.port();
        eventually("nobody listens any more", || TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(running.has_processes());
        request.write_all(b"2\r\nok\r\n0\r\n\r\n").expect("it can be sent");
        let mut answer = String::new();
        request.read_to_string(&mut answer).expect("the answer comes");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{arguments:?}: {answer}\n{}", running.said());
        assert_eq!(running.ends(), Some(0), "{arguments:?}: {}", running.said());
        eventually("nothing is left", || !running.has_processes());
        assert_eq!(running.said().matches("Stopping when").count(), 1, "{}", running.said());
        assert!(!running.said().contains("died") && !running.said().contains("itself"), "{}", running.said());
    }
}

#[test]
fn a_worker_leaves_ctrl_c_to_its_supervisor() {
    if !tells_children() {
        return;
    }
    let folder = Folder::new("ctrl-c-worker");
    let mut running = Running::start(&mut folder.amboss(&["-w", "2", "-p", "0"]));
    running.waits_for("200 OK");
    eventually("two workers", || children(running.pid()).len() == 2);
    let workers = children(running.pid());
    let asked = std::process::Command::new("kill").args(["-INT", &workers[0]]).status();
    assert!(asked.is_ok_and(|status| status.success()));
    for _ in 0..30 {
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{}", running.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(children(running.pid()), workers, "{}", running.said());
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

#[test]
fn a_worker_that_a_signal_stops_is_replaced_and_the_others_serve_on() {
    if !tells_children() {
        return;
    }
    for name in ["-TERM", "-HUP"] {
        let folder = Folder::new("one-worker");
        let mut running = Running::start(&mut folder.amboss(&["-w", "2", "-p", "0"]));
        running.waits_for("200 OK");
        eventually("two workers", || children(running.pid()).len() == 2);
        let before = children(running.pid());
        let asked = std::process::Command::new("kill").args([name, &before[0]]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        eventually("another in its place", || {
            let workers = children(running.pid());
            workers.len() == 2 && !workers.contains(&before[0]) && workers.contains(&before[1])
        });
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{}", running.said());
        running.signal("TERM");
        assert_eq!(running.ends(), Some(0), "{}", running.said());
        assert!(!running.said().contains("died") && !running.said().contains("itself"), "{name}: {}", running.said());
    }
}

#[test]
fn a_signal_right_behind_the_banner_is_heard() {
    let folder = Folder::new("at-once");
    for _ in 0..10 {
        let mut running = Running::start(&mut folder.amboss(&["-w", "2", "-p", "0"]));
        running.waits_to_say("Running on");
        running.signal("TERM");
        assert_eq!(running.ends(), Some(0), "{}", running.said());
    }
}

/// As in `amboss 2>&1 | head`: what it has to say is lost, and nothing else.
#[test]
fn a_server_whose_words_nobody_reads_any_more_still_stops() {
    for arguments in [&["-p", "0"][..], &["-w", "2", "-p", "0"]] {
        let folder = Folder::new("unread");
        let mut command = folder.amboss(arguments);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
        let mut banner = [0; 12];
        child.stderr.take().expect("a pipe").read_exact(&mut banner).expect("it says where it runs");
        for name in ["-USR1", "-TERM"] {
            let asked = std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
            assert!(asked.is_ok_and(|status| status.success()));
        }
        let mut code = None;
        eventually("it ends", || {
            code = child.try_wait().expect("it can be asked").map(|status| status.code());
            code.is_some()
        });
        assert_eq!(code, Some(Some(0)), "{arguments:?}");
    }
}

#[test]
fn a_second_ctrl_c_in_the_terminal_ends_everybody_at_once() {
    let folder = Folder::new("ctrl-c-twice");
    let mut running = Running::start(&mut folder.amboss(&["--reload", "-p", "0"]));
    running.waits_for("200 OK");
    let _request = begin(running.port());
    running.signal_group("INT");
    running.waits_to_say("Stopping when the running requests are done");
    // What comes within 300 ms counts as one.
    let mut code = None;
    eventually("it ends", || {
        running.signal_group("INT");
        code = running.has_processes().then_some(0);
        code.is_none()
    });
    assert_eq!(running.ends(), Some(130), "{}", running.said());
    eventually("nothing is left", || !running.has_processes());
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew_on_usr1_and_no_line_is_lost() {
    for arguments in [&[][..], &["--reload"], &["-w", "2"], &["--processes", "2"]] {
        let folder = Folder::new("log");
        folder.save("access.log", "before\n");
        let path = text(&folder.0.join("access.log"));
        let arguments = [&["-p", "0", "--log-file", &path, "--log-format", "common"], arguments].concat();
        let mut running = Running::start(&mut folder.amboss(&arguments));
        let port = running.port();
        let lines = |name: &str| folder.read(name).matches("\"GET /a%20b?q=1 HTTP/1.1\" 200 ").count();
        for _ in 0..5 {
            get(port, "");
        }
        eventually("five lines", || lines("access.log") == 5);
        std::fs::rename(folder.0.join("access.log"), folder.0.join("access.log.1")).expect("it can be moved");
        get(port, "");
        eventually("the old file has it", || lines("access.log.1") == 6);
        running.signal("USR1");
        let mut asked = 6;
        // Of several workers, the order reaches one after the other.
        eventually("a new file is used", || {
            get(port, "");
            asked += 1;
            lines("access.log") > 3
        });
        running.signal("TERM");
        assert_eq!(running.ends(), Some(0), "{arguments:?}: {}", running.said());
        assert_eq!(lines("access.log") + lines("access.log.1"), asked, "{arguments:?}");
        assert!(folder.read("access.log.1").starts_with("before\n"));
        assert!(!running.said().contains("GET /"), "{}", running.said());
        assert!(!running.said().contains("Detected change"), "its own lines are none: {}", running.said());
    }
}

#[test]
fn without_a_supervisor_hup_reopens_the_log_and_the_code_stays() {
    for arguments in [&[][..], &["-w", "1"], &["--single"], &["--processes", "2"]] {
        let folder = Folder::new("hup");
        let path = text(&folder.0.join("access.log"));
        let arguments = [&["-p", "0", "--log-file", &path], arguments].concat();
        let mut running = Running::start(&mut folder.amboss(&arguments));
        for number in 1..=2 {
            let moved = format!("access.log.{number}");
            std::fs::rename(folder.0.join("access.log"), folder.0.join(&moved)).expect("it can be moved");
            running.signal("HUP");
            eventually("it says what was done", || folder.read("access.log").contains("the code stays as it is"));
            assert!(folder.read("access.log").contains("start amboss with --workers 2 or more"));
            assert!(folder.read("access.log").contains("HUP: the log was reopened; the code"));
            assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{arguments:?}: {}", running.said());
        }
        running.signal("TERM");
        assert_eq!(running.ends(), Some(0), "{arguments:?}: {}", running.said());
    }
}

#[test]
fn usr1_without_a_log_file_ends_nothing() {
    let folder = Folder::new("usr1");
    let mut running = Running::start(&mut folder.amboss(&["-p", "0"]));
    running.signal("USR1");
    running.signal("HUP");
    running.waits_to_say("HUP: nothing was read again; the code stays as it is");
    running.waits_for("200 OK");
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

#[test]
fn help_says_what_signals_do() {
    let output = crate::amboss(&["--help"]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["TERM and INT", "HUP reloads", "USR1 reopens", "TTIN and TTOU"] {
        assert!(said.contains(name), "{name} in {said}");
    }
}

#[test]
fn a_log_file_that_can_t_be_written_is_a_sentence_and_code_2() {
    crate::fails(&["--log-file", "/not/there/log"], 2, "name a file in a folder that is there");
}
