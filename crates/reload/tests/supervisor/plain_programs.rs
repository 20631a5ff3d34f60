//! Programs that do not use the control socket, and their environment.

use std::time::Duration;

use amboss_reload::{Program, Protocol, SupervisorOptions};

use crate::fixtures::{exec_wrapper, worker};
use crate::support::*;

pub const READY_SOON: Protocol = Protocol::SignalsOnly { ready_after: Duration::from_secs(1) };

/// A server in Python on descriptor 3. It responds with its version, or with a variable of its environment.
pub fn python(version: &str) -> Program {
    let script = r#"
import os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        name = self.path[1:]
        body = {"": sys.argv[1], "pid": str(os.getpid())}.get(name, os.environ.get(name, "-")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True

server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
# Other processes accept from the same socket, so accept must not block if they come first.
server.socket.setblocking(False)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.02)
"#;
    let mut program = Program::new("python3");
    program.args = vec!["-c".into(), script.into(), version.into()];
    program
}

pub fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: python3 is not installed");
    }
    found
}

fn options() -> SupervisorOptions {
    let mut options = SupervisorOptions::default();
    options.protocol = READY_SOON;
    options
}

#[test]
fn a_plain_program_is_ready_after_a_time_and_sigterm_stops_it() {
    if !has_python() {
        return;
    }
    let supervisor = TestSupervisor::ready(python("1"), options());
    assert_eq!(supervisor.get("/"), "1");
    assert_eq!(supervisor.get("/AMBOSS_CONTROL_FD"), "-");
    supervisor.handle.replace(Some(python("2")));
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
    if !has_python() {
        return;
    }
    let mut program = python("1");
    program.exec_wrapper = Some(exec_wrapper());
    let supervisor = TestSupervisor::ready(program, options());
    let pid = supervisor.get("/pid");
    assert_eq!(supervisor.get("/LISTEN_PID"), pid);
    assert_eq!(supervisor.get("/LISTEN_FDS"), "1");
    assert_eq!(supervisor.get("/AMBOSS_SERVER_FD"), "3");
    assert_eq!(supervisor.get("/AMBOSS_RUN_MAIN"), "true");
    assert_eq!(supervisor.get("/AMBOSS_GENERATION"), "1");
    assert_eq!(supervisor.get("/AMBOSS_SUPERVISOR"), "-");
    assert_eq!(
        supervisor.log.pids(),
        [pid.parse::<i32>().unwrap()],
        "the wrapper executes the program in its own process"
    );
}

#[test]
fn a_program_that_the_exec_wrapper_cannot_run_is_reported() {
    let mut program = Program::new("/nowhere/at/all");
    program.exec_wrapper = Some(exec_wrapper());
    program.capture_stderr = true;
    let mut options = options();
    options.protocol = Protocol::SignalsOnly { ready_after: TIMEOUT };
    let supervisor = TestSupervisor::start(program, options);
    let failure = supervisor.log.expect(1, "failed 1");
    assert!(failure.contains("can't run /nowhere/at/all"), "{failure}");
}

#[test]
fn a_detected_program_that_uses_the_control_socket_gets_messages() {
    let code = CodeFile::new("1");
    let mut detect = SupervisorOptions::default();
    detect.protocol = Protocol::Detect { ready_after: Duration::from_secs(60) };
    let supervisor = TestSupervisor::ready(worker(code.path()), detect);
    let mut client = Client::connect(supervisor.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    code.save("2");
    supervisor.handle.replace(None);
    supervisor.log.expect(1, "replaced 1 2");
    wait_until("the connection moves to the new worker", || client.get("/").unwrap() == "2");
}

#[test]
fn a_detected_program_that_does_not_use_the_control_socket_is_plain() {
    if !has_python() {
        return;
    }
    let mut detect = SupervisorOptions::default();
    detect.protocol = Protocol::Detect { ready_after: Duration::from_millis(300) };
    let supervisor = TestSupervisor::ready(python("1"), detect);
    assert_eq!(supervisor.get("/"), "1");
    assert_eq!(supervisor.get("/AMBOSS_CONTROL_FD"), "4");
    supervisor.handle.replace(Some(python("2")));
    supervisor.log.expect(1, "replaced 1 2");
    let old = supervisor.log.pids()[0];
    wait_until("the old worker is gone", || !is_alive(old));
    assert_eq!(supervisor.get("/"), "2");
}
