//! Programs that know nothing of the control socket, and what their environment tells them.

use std::time::Duration;

use amboss_reload::child::Program;
use amboss_reload::supervisor::{Options, Protocol};

use crate::roles::{child, shim};
use crate::support::*;

pub const SETTLED_SOON: Protocol = Protocol::None { settled: Duration::from_secs(1) };

/// A server in Python on descriptor 3; answers with its version, and with variables of its environment.
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
# Others accept from it, too: one that comes second must not wait in accept.
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

fn options() -> Options {
    let mut options = Options::default();
    options.protocol = SETTLED_SOON;
    options
}

#[test]
fn a_foreign_program_is_ready_when_it_has_settled_and_sigterm_stops_it() {
    if !has_python() {
        return;
    }
    let site = Site::ready(python("1"), options());
    assert_eq!(site.get("/"), "1");
    assert_eq!(site.get("/AMBOSS_CONTROL_FD"), "-");
    site.handle.replace(Some(python("2")));
    site.log.expect(1, "swapped 1 2");
    let old = site.log.pids()[0];
    eventually("the old one is gone", || !is_alive(old));
    assert_eq!(site.get("/"), "2");
    site.handle.replace(Some(Program::new("false")));
    site.log.expect(1, "failed 3");
    assert_eq!(site.get("/"), "2");
    let log = site.log.clone();
    site.handle.stop();
    assert_eq!(site.outcome(), 0);
    assert!(log.pids().into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn systemds_variables_are_right_with_a_shim() {
    if !has_python() {
        return;
    }
    let mut program = python("1");
    program.shim = Some(shim());
    let site = Site::ready(program, options());
    let pid = site.get("/pid");
    assert_eq!(site.get("/LISTEN_PID"), pid);
    assert_eq!(site.get("/LISTEN_FDS"), "1");
    assert_eq!(site.get("/AMBOSS_SERVER_FD"), "3");
    assert_eq!(site.get("/AMBOSS_RUN_MAIN"), "true");
    assert_eq!(site.get("/AMBOSS_GENERATION"), "1");
    assert_eq!(site.get("/AMBOSS_SUPERVISOR"), "-");
    assert_eq!(site.log.pids(), [pid.parse::<i32>().unwrap()], "the shim becomes the program");
}

#[test]
fn a_program_that_a_shim_can_not_run_is_said_to_be() {
    let mut program = Program::new("/nowhere/at/all");
    program.shim = Some(shim());
    program.capture = true;
    let mut options = options();
    options.protocol = Protocol::None { settled: PATIENCE };
    let site = Site::start(program, options);
    let failure = site.log.expect(1, "failed 1");
    assert!(failure.contains("can't run /nowhere/at/all"), "{failure}");
}

#[test]
fn a_program_that_may_speak_is_spoken_to_when_it_does() {
    let code = Code::new("1");
    let mut either = Options::default();
    either.protocol = Protocol::Either { settled: Duration::from_secs(60) };
    let site = Site::ready(child(code.path()), either);
    let mut client = Client::connect(site.addr);
    assert_eq!(client.get("/").unwrap(), "1");
    code.save("2");
    site.handle.replace(None);
    site.log.expect(1, "swapped 1 2");
    eventually("the connection went on", || client.get("/").unwrap() == "2");
}

#[test]
fn a_program_that_may_speak_and_does_not_is_foreign() {
    if !has_python() {
        return;
    }
    let mut either = Options::default();
    either.protocol = Protocol::Either { settled: Duration::from_millis(300) };
    let site = Site::ready(python("1"), either);
    assert_eq!(site.get("/"), "1");
    assert_eq!(site.get("/AMBOSS_CONTROL_FD"), "4");
    site.handle.replace(Some(python("2")));
    site.log.expect(1, "swapped 1 2");
    let old = site.log.pids()[0];
    eventually("the old one is gone", || !is_alive(old));
    assert_eq!(site.get("/"), "2");
}
