//! A program that does not use the control socket: a server in Python.

use std::time::Duration;

use amboss_reload::{Program, Protocol};

pub const READY_SOON: Protocol = Protocol::SignalsOnly { ready_after: Duration::from_secs(1) };

/// A server in Python on descriptor 3. It responds with its version, or with a variable of its environment.
pub fn python_server(version: &str) -> Program {
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
