//! `amboss --reload -- PROGRAM`: cargo projects are built and replaced, programs that do not know amboss are replaced,
//! and the number of workers is kept.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use amboss_testkit::{child_processes, is_installed, send_signal, skip, wait_until, TempDir};

use crate::running::{amboss_in, test_dir, Running};
use crate::{connect, fails, get, try_get};

/// Returns the source of a simple server that uses only std and blocks in `accept`.
fn server(response: &str) -> String {
    let program = r#"
use std::io::{BufRead, BufReader, Write};
use std::os::fd::FromRawFd;

fn main() {
    let number: i32 = std::env::var("AMBOSS_SERVER_FD").unwrap().parse().unwrap();
    // The supervisor has passed it on to this process.
    let listener = unsafe { std::net::TcpListener::from_raw_fd(number) };
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = ANSWER;
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        });
    }
}
"#;
    program.replace("ANSWER", response)
}

/// Creates a cargo project whose program is a server.
fn project() -> TempDir {
    let dir = test_dir();
    dir.write("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
    dir.write("src/main.rs", &server("\"the first\""));
    dir
}

#[test]
fn a_cargo_project_is_rebuilt_on_each_save_and_old_code_serves_while_the_new_is_broken() {
    let dir = project();
    let running = Running::start(&mut amboss_in(&dir, &["--reload", "-p", "0", "--", "target/debug/shop"]));
    running.wait_for_response("the first");
    dir.write("src/main.rs", &server("\"the second\""));
    running.wait_for_response("the second");
    dir.write("src/main.rs", &server("\"the third\".nonsense()"));
    running.wait_for_output("the old code keeps serving");
    assert!(running.output().contains("no method named `nonsense`"), "{}", running.output());
    // Until the second counts as started, the first may respond as well.
    running.wait_for_response("the second");
    dir.write("src/main.rs", &server("\"the fourth\""));
    running.wait_for_response("the fourth");
}

#[test]
fn a_compile_error_is_shown_in_the_browser_until_a_save_fixes_it() {
    let dir = project();
    dir.write("src/main.rs", &server("\"<never>\".nonsense()"));
    let arguments = ["--reload", "--error-page", "-p", "0", "--", "target/debug/shop"];
    let mut running = Running::start(&mut amboss_in(&dir, &arguments));
    let text = running.wait_for_response("no method named `nonsense`");
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("Content-Type: text/plain"), "{text}");
    assert!(text.contains("\"<never>\"") && !text.contains('\x1b'), "{text}");
    let page = get(running.port(), "Accept: text/html\r\n");
    assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("Content-Type: text/html"), "{page}");
    assert!(page.contains("&lt;never&gt;") && page.contains("<span class="), "{page}");
    // Programs that block in `accept` take over from the error page, and the other way round.
    for round in 1..=2 {
        dir.write("src/main.rs", &server(&format!("\"fixed {round}\"")));
        running.wait_for_response(&format!("fixed {round}"));
        dir.write("src/main.rs", &server(&format!("\"<never>\".nonsense_{round}()")));
        running.wait_for_response(&format!("no method named `nonsense_{round}`"));
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0), "{}", running.output());
}

/// Waits until a program that reports nothing counts as started: when it has run for half a second, which is not visible
/// from outside.
fn wait_until_settled() {
    std::thread::sleep(Duration::from_millis(1500));
}

/// A program that knows only how systemd passes sockets.
const PYTHON: &str = r#"
import http.server, os, socket
assert os.environ["LISTEN_FDS"] == "1" and os.environ["LISTEN_PID"] == str(os.getpid())
listener = socket.socket(fileno=3)
while True:
    client, _ = listener.accept()
    client.recv(65536)
    body = b"ANSWER"
    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client.close()
"#;

#[test]
fn a_python_program_that_knows_only_listen_fds_is_replaced_on_save() {
    // The interpreter itself: with a wrapper before it, a broken program could run for more than half a second.
    let Some(python) = crate::python::real() else { return };
    let dir = test_dir();
    dir.write("app.py", &PYTHON.replace("ANSWER", "the first"));
    dir.write("conf/a.txt", "1");
    let arguments = ["--reload", "--extra-files", "conf/*.txt", "-p", "0", "--", &python, "app.py"];
    let mut running = Running::start(&mut amboss_in(&dir, &arguments));
    running.wait_for_response("the first");
    wait_until_settled();
    dir.write("app.py", &PYTHON.replace("ANSWER", "the second"));
    running.wait_for_response("the second");
    wait_until_settled();
    dir.write("app.py", "this is not Python");
    running.wait_for_output("the old one keeps serving");
    assert!(try_get(running.port(), "").is_ok_and(|response| response.contains("the second")), "{}", running.output());
    dir.write("app.py", &PYTHON.replace("ANSWER", "the third"));
    running.wait_for_response("the third");
    dir.write("conf/b.txt", "2");
    // The glob matches the new file.
    running.wait_for_output("conf/b.txt', reloading");
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0));
    wait_until("no process is left", || !running.has_processes());
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_ignores_signals_ends_with_its_killed_supervisor_and_frees_the_port() {
    if !is_installed("python3") {
        return;
    }
    let dir = test_dir();
    let ignore_signals =
        "import signal\nfor name in (signal.SIGTERM, signal.SIGINT): signal.signal(name, signal.SIG_IGN)\n";
    dir.write("app.py", &(ignore_signals.to_owned() + &PYTHON.replace("ANSWER", "ignores signals")));
    let mut running = Running::start(&mut amboss_in(&dir, &["--reload", "-p", "0", "--", "python3", "app.py"]));
    running.wait_for_response("ignores signals");
    running.signal("KILL");
    assert_eq!(running.exit_code(), None);
    let port = running.port();
    wait_until("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
}

/// Whether the system lists the children of a process. Prints a note if it does not.
pub fn can_list_children() -> bool {
    let exists = std::path::Path::new("/proc/self/stat").exists();
    if !exists {
        skip("the system does not list the children of a process");
    }
    exists
}

/// Returns the ids of the children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    child_processes(pid).into_iter().map(|(child, _)| child).collect()
}

#[test]
fn a_killed_worker_is_replaced_and_term_stops_all() {
    let dir = test_dir();
    let mut running = Running::start(&mut amboss_in(&dir, &["-w", "3", "-p", "0"]));
    assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "));
    if !can_list_children() {
        return;
    }
    wait_until("three workers run", || children(running.pid()).len() == 3);
    let before = children(running.pid());
    send_signal(before[0], "KILL");
    wait_until("three workers run again", || {
        let now = children(running.pid());
        now.len() == 3 && !now.contains(&before[0])
    });
    running.wait_for_output("died");
    for _ in 0..20 {
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "));
    }
    running.signal("TERM");
    assert_eq!(running.exit_code(), Some(0), "{}", running.output());
    wait_until("no process is left", || !running.has_processes());
}

#[test]
fn workers_can_be_combined_with_processes_and_with_single() {
    let dir = test_dir();
    for arguments in [&["-w", "2", "-p", "0", "--processes", "2"][..], &["-w", "2", "-p", "0", "--single"]] {
        let mut running = Running::start(&mut amboss_in(&dir, arguments));
        for _ in 0..10 {
            assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{arguments:?}");
        }
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0), "{arguments:?}: {}", running.output());
    }
}

/// Tested with a kept connection, and with one that has sent part of a request head.
#[test]
fn connections_continue_in_the_new_worker_however_it_runs_requests() {
    if !can_list_children() {
        return;
    }
    let dir = test_dir();
    const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for kind in [&["--processes", "2"][..], &["--single"], &["--threads", "2"]] {
        let running = Running::start(&mut amboss_in(&dir, &[&["-w", "2", "-p", "0"], kind].concat()));
        wait_until("two workers run", || children(running.pid()).len() == 2);
        let before = children(running.pid());
        let mut clients: Vec<_> = [GET, "GET / HT"]
            .into_iter()
            .map(|begun| {
                let mut client = connect(running.port());
                client.send(begun);
                client
            })
            .collect();
        assert_eq!(clients[0].try_response().unwrap().status, 200, "{kind:?}");
        running.signal("HUP");
        wait_until("two other workers run", || {
            let now = children(running.pid());
            now.len() == 2 && now.iter().all(|worker| !before.contains(worker))
        });
        for (client, rest) in clients.iter_mut().zip([GET, "TP/1.1\r\nHost: localhost\r\n\r\n"]) {
            client.send(rest);
            let status = client.try_response().map(|response| response.status);
            assert!(matches!(status, Ok(200)), "{kind:?}, {rest:?}: {status:?} {}", running.output());
        }
    }
}

#[test]
fn files_and_programs_that_can_t_be_used_are_refused_with_a_message_and_code_2() {
    fails(&["--reload", "--extra-files", "a["], 2, "can't be parsed");
    fails(&["--reload", "--extra-files", "not/there"], 2, "isn't there; create it, or correct the path");
    fails(&["--reload", "--reloader-type", "x"], 2, "choose auto, stat or notify");
    fails(&["--reload", "--reloader-interval", "0"], 2, "from 0.01 to 3600");
    fails(&["--error-page"], 2, "--reload");
    fails(&["-w", "0"], 2, "0 is not in 1..=1000");
    fails(&["--reload", "-p", "0", "--", "./not-there"], 2, "there is no program './not-there'; build it first");
    fails(
        &["-w", "2", "-p", "0", "--", "not-there-either"],
        2,
        "in the directories of PATH; for one in this directory",
    );
    fails(&["--reload", "-p", "0", "--", "/dev/null"], 2, "'/dev/null' is not a program");
    fails(&["--reload", "--single", "--", "sh"], 2, "--single is for amboss's own server");
    fails(&["--reload", "--processes", "2", "--", "sh"], 2, "--processes is for amboss's own server");
    fails(&["--log-file", "a", "--", "sh"], 2, "--log-file is for amboss's own server");
    #[cfg(feature = "tls")]
    fails(&["--reload", "--adhoc", "--", "sh"], 2, "--adhoc is for amboss's own server");
    fails(&["--reload", "--processes", "2", "--threads", "2"], 2, "cannot be used with");
}

#[test]
fn the_error_page_is_served_on_inherited_sockets_whatever_arguments_follow() {
    let dir = test_dir();
    dir.write("why", "a syntax error");
    for arguments in [&["__page"][..], &["__page", "--threads", "2", "-b", "127.0.0.1:1", "not.there:app"]] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let direct = amboss_in(&dir, arguments);
        // A supervisor passes the socket as descriptor 3.
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec 3<&0 </dev/null; exec \"$0\" \"$@\"").arg(direct.get_program());
        command.args(direct.get_args()).stdin(OwnedFd::from(listener)).stderr(Stdio::null()).current_dir(dir.path());
        command.env("AMBOSS_RUN_MAIN", "true").env("AMBOSS_SERVER_FD", "3").env("AMBOSS_CHILD_ERROR_PAGE", "why");
        let mut page = command.spawn().expect("the command starts");
        let response = get(port, "");
        let _ = page.kill();
        let _ = page.wait();
        assert!(response.starts_with("HTTP/1.1 503 ") && response.contains("a syntax error"), "{response}");
    }
    fails(&["__page"], 2, "can be started only by a supervisor");
    fails(&["__page", "shop:app", "-r"], 2, "can be started only by a supervisor");
}

#[cfg(feature = "tls")]
#[test]
fn a_program_that_reports_its_files_can_be_combined_with_adhoc() {
    let dir = test_dir();
    let flags = ["-r", "--watch-reported", "--adhoc", "-b", "127.0.0.1:0", "--", "sleep", "60"];
    let running = Running::start(&mut amboss_in(&dir, &flags));
    assert!(running.output().contains(" * Running on https://127.0.0.1:"), "{}", running.output());
}
