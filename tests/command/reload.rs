//! `amboss --reload -- PROGRAM`: cargo projects are built and swapped, programs that know nothing of amboss are replaced,
//! and workers are kept at their number.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::running::{eventually, is_there, try_get, Folder, Running};
use crate::{fails, get};

/// A server in std alone, as naive as they come: it waits in `accept` for whoever comes.
fn server(answer: &str) -> String {
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
    program.replace("ANSWER", answer)
}

fn project(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.save("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
    folder.save("src/main.rs", &server("\"the first\""));
    folder
}

#[test]
fn a_cargo_project_is_built_and_swapped_on_each_save_and_old_code_outlives_a_broken_one() {
    let folder = project("cargo");
    let running = Running::start(&mut folder.amboss(&["--reload", "-p", "0", "--", "target/debug/shop"]));
    running.waits_for("the first");
    folder.save("src/main.rs", &server("\"the second\""));
    running.waits_for("the second");
    folder.save("src/main.rs", &server("\"the third\".nonsense()"));
    running.waits_to_say("the old code keeps serving");
    assert!(running.said().contains("no method named `nonsense`"), "{}", running.said());
    // Until the second counts as started, the first answers as well.
    running.waits_for("the second");
    folder.save("src/main.rs", &server("\"the fourth\""));
    running.waits_for("the fourth");
}

#[test]
fn a_compile_error_is_shown_in_the_browser_until_a_save_mends_it() {
    let folder = project("page");
    folder.save("src/main.rs", &server("\"<never>\".nonsense()"));
    let arguments = ["--reload", "--error-page", "-p", "0", "--", "target/debug/shop"];
    let mut running = Running::start(&mut folder.amboss(&arguments));
    let text = running.waits_for("no method named `nonsense`");
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("Content-Type: text/plain"), "{text}");
    assert!(text.contains("\"<never>\"") && !text.contains('\x1b'), "{text}");
    let page = get(running.port(), "Accept: text/html\r\n");
    assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("Content-Type: text/html"), "{page}");
    assert!(page.contains("&lt;never&gt;") && page.contains("<span class="), "{page}");
    // Programs that wait in `accept` take over from the page, and it from them.
    for round in 1..=2 {
        folder.save("src/main.rs", &server(&format!("\"mended {round}\"")));
        running.waits_for(&format!("mended {round}"));
        folder.save("src/main.rs", &server(&format!("\"<never>\".nonsense_{round}()")));
        running.waits_for(&format!("no method named `nonsense_{round}`"));
    }
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

/// A program that says nothing counts as started when it has stayed up for half a second, which nothing outside tells.
fn settles() {
    std::thread::sleep(Duration::from_millis(1500));
}

/// Knows systemd's way to pass sockets on, and nothing else.
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
    // The interpreter itself: what stands before it may take longer than half a second until a broken program ends.
    let Some(python) = crate::python::real() else { return };
    let folder = Folder::new("python");
    folder.save("app.py", &PYTHON.replace("ANSWER", "the first"));
    folder.save("conf/a.txt", "1");
    let arguments = ["--reload", "--extra-files", "conf/*.txt", "-p", "0", "--", &python, "app.py"];
    let mut running = Running::start(&mut folder.amboss(&arguments));
    running.waits_for("the first");
    settles();
    folder.save("app.py", &PYTHON.replace("ANSWER", "the second"));
    running.waits_for("the second");
    settles();
    folder.save("app.py", "this is no Python");
    running.waits_to_say("the old one keeps serving");
    assert!(try_get(running.port(), "").contains("the second"), "{}", running.said());
    folder.save("app.py", &PYTHON.replace("ANSWER", "the third"));
    running.waits_for("the third");
    folder.save("conf/b.txt", "2");
    // A file that the glob matches.
    running.waits_to_say("conf/b.txt', reloading");
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0));
    eventually("nothing is left", || !running.has_processes());
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_deaf_to_signals_goes_with_its_killed_supervisor_and_lets_go_of_the_port() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("deaf");
    let deaf = "import signal\nfor name in (signal.SIGTERM, signal.SIGINT): signal.signal(name, signal.SIG_IGN)\n";
    folder.save("app.py", &(deaf.to_owned() + &PYTHON.replace("ANSWER", "deaf")));
    let mut running = Running::start(&mut folder.amboss(&["--reload", "-p", "0", "--", "python3", "app.py"]));
    running.waits_for("deaf");
    running.signal("KILL");
    assert_eq!(running.ends(), None);
    let port = running.port();
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
}

/// Does the system tell who is whose child? Says so aloud when not.
pub fn tells_children() -> bool {
    let pid = std::process::id();
    let tells = std::path::Path::new(&format!("/proc/{pid}/task/{pid}/children")).exists();
    if !tells {
        println!("skipped: the system does not tell who is whose child");
    }
    tells
}

/// Ids of the processes that a process has started.
pub fn children(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn three_workers_answer_a_killed_one_is_replaced_and_term_ends_all() {
    let folder = Folder::new("workers");
    let mut running = Running::start(&mut folder.amboss(&["-w", "3", "-p", "0"]));
    assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "));
    if !tells_children() {
        return;
    }
    eventually("three workers", || children(running.pid()).len() == 3);
    let before = children(running.pid());
    let killed = std::process::Command::new("kill").args(["-KILL", &before[0]]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    eventually("three again", || {
        let now = children(running.pid());
        now.len() == 3 && !now.contains(&before[0])
    });
    running.waits_to_say("died");
    for _ in 0..20 {
        assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "));
    }
    running.signal("TERM");
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    eventually("nothing is left", || !running.has_processes());
}

#[test]
fn workers_go_with_processes_and_with_one_request_at_a_time() {
    let folder = Folder::new("combined");
    for arguments in [&["-w", "2", "-p", "0", "--processes", "2"][..], &["-w", "2", "-p", "0", "--single"]] {
        let mut running = Running::start(&mut folder.amboss(arguments));
        for _ in 0..10 {
            assert!(get(running.port(), "").starts_with("HTTP/1.1 200 "), "{arguments:?}");
        }
        running.signal("TERM");
        assert_eq!(running.ends(), Some(0), "{arguments:?}: {}", running.said());
    }
}

/// A connection that is kept, and one with a part of a head.
#[test]
fn connections_go_on_in_the_successor_however_its_requests_run() {
    if !tells_children() {
        return;
    }
    let folder = Folder::new("successor");
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for kind in [&["--processes", "2"][..], &["--single"], &["--threads", "2"]] {
        let running = Running::start(&mut folder.amboss(&[&["-w", "2", "-p", "0"], kind].concat()));
        eventually("two workers", || children(running.pid()).len() == 2);
        let before = children(running.pid());
        let mut clients: Vec<_> = [GET, "GET / HT"]
            .into_iter()
            .map(|begun| {
                let mut stream = TcpStream::connect(("127.0.0.1", running.port())).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream.write_all(begun.as_bytes()).unwrap();
                stream
            })
            .collect();
        assert!(answers(&mut clients[0]), "{kind:?}");
        running.signal("HUP");
        eventually("two others", || {
            let now = children(running.pid());
            now.len() == 2 && now.iter().all(|worker| !before.contains(worker))
        });
        for (client, rest) in clients.iter_mut().zip([GET, "TP/1.1\r\nHost: a\r\n\r\n"]) {
            client.write_all(rest.as_bytes()).unwrap();
            assert!(answers(client), "{kind:?}, {rest:?}: {}", running.said());
        }
    }
}

/// Does a client get 200 within its patience? It reads the whole answer.
fn answers(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    loop {
        let Ok(count @ 1..) = stream.read(&mut block) else { return false };
        answer.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        if length.is_some_and(|length| body.len() >= length.parse().unwrap()) {
            return head.starts_with("HTTP/1.1 200 ");
        }
    }
}

#[test]
fn what_can_t_be_watched_or_started_is_a_sentence_and_code_2() {
    fails(&["--reload", "--extra-files", "a["], 2, "can't be parsed");
    fails(&["--reload", "--extra-files", "not/there"], 2, "isn't there; create it, or correct the path");
    fails(&["--reload", "--reloader-type", "x"], 2, "choose auto, stat or notify");
    fails(&["--reload", "--reloader-interval", "0"], 2, "from 0.01 to 3600");
    fails(&["--error-page"], 2, "--reload");
    fails(&["-w", "0"], 2, "0 is not in 1..=1000");
    fails(&["--reload", "-p", "0", "--", "./not-there"], 2, "there is no program './not-there'; build it first");
    fails(&["-w", "2", "-p", "0", "--", "not-there-either"], 2, "in the folders of PATH; for one that lies here");
    fails(&["--reload", "-p", "0", "--", "/dev/null"], 2, "'/dev/null' is no program");
    fails(&["--reload", "--single", "--", "sh"], 2, "--single is for amboss's own server");
    fails(&["--reload", "--processes", "2", "--", "sh"], 2, "--processes is for amboss's own server");
    fails(&["--log-file", "a", "--", "sh"], 2, "--log-file is for amboss's own server");
    #[cfg(feature = "tls")]
    fails(&["--reload", "--adhoc", "--", "sh"], 2, "--adhoc is for amboss's own server");
    fails(&["--reload", "--processes", "2", "--threads", "2"], 2, "Cannot have a multi-thread");
}

#[test]
fn the_banner_says_what_a_program_that_speaks_tls_itself_has_to_say() {
    let folder = Folder::new("speaks-tls");
    let flags =
        ["--url-scheme", "https", "--fingerprint", "AB:CD", "-b", "127.0.0.1:0", "-w", "1", "--", "sleep", "60"];
    let running = Running::start(&mut folder.amboss(&flags));
    let said = running.said();
    assert!(said.starts_with(" * Running on https://127.0.0.1:"), "{said}");
    assert!(said.contains("\n * Certificate fingerprint (SHA-256): AB:CD\nPress"), "{said}");
}

#[test]
fn the_page_is_served_on_inherited_sockets_whatever_is_named_behind_it() {
    let folder = Folder::new("hidden-page");
    folder.save("why", "a syntax error");
    for arguments in [&["__page"][..], &["__page", "--threads", "2", "-b", "127.0.0.1:1", "not.there:app"]] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let direct = folder.amboss(arguments);
        // A supervisor passes the socket on as descriptor 3.
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec 3<&0 </dev/null; exec \"$0\" \"$@\"").arg(direct.get_program());
        command.args(direct.get_args()).stdin(OwnedFd::from(listener)).stderr(Stdio::null()).current_dir(&folder.0);
        command.env("AMBOSS_RUN_MAIN", "true").env("AMBOSS_SERVER_FD", "3").env("AMBOSS_ERROR_PAGE", "why");
        let mut page = command.spawn().expect("it starts");
        let answer = get(port, "");
        let _ = page.kill();
        let _ = page.wait();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("a syntax error"), "{answer}");
    }
    fails(&["__page"], 2, "is nothing to start by hand");
    fails(&["__page", "shop:app", "-r"], 2, "is nothing to start by hand");
}

#[cfg(feature = "tls")]
#[test]
fn what_watches_reports_may_know_the_certificate_that_its_program_has() {
    let folder = Folder::new("reported");
    let flags = ["-r", "--watch-reported", "--adhoc", "-b", "127.0.0.1:0", "--", "sleep", "60"];
    let running = Running::start(&mut folder.amboss(&flags));
    assert!(running.said().contains(" * Running on https://127.0.0.1:"), "{}", running.said());
}
