//! Scripts in Python, `run_with_cgi` under this server, and under lighttpd.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use amboss_testkit::{is_installed, skip, wait_until, Client, Process, TempDir, DEADLINE};

use crate::support::ScriptServer;

/// The examples of PEP 3333, with the byte strings of Python 3.
const PEP_3333: &str = "#!/usr/bin/env python3
import os
from wsgiref.handlers import CGIHandler

def simple_app(environ, start_response):
    status = '200 OK'
    response_headers = [('Content-type', 'text/plain')]
    start_response(status, response_headers)
    return [b'Hello world!\\n']

class AppClass:
    def __init__(self, environ, start_response):
        self.environ = environ
        self.start = start_response

    def __iter__(self):
        status = '200 OK'
        response_headers = [('Content-type', 'text/plain')]
        self.start(status, response_headers)
        yield b'Hello world!\\n'

CGIHandler().run(AppClass if os.environ.get('PATH_INFO') == '/class' else simple_app)
";

const WERKZEUG: &str = "#!/usr/bin/env python3
from wsgiref.handlers import CGIHandler
from werkzeug.wrappers import Request, Response

def application(environ, start_response):
    request = Request(environ)
    response = Response('hello world! ' + request.path + request.form.get('name', ''))
    return response(environ, start_response)

CGIHandler().run(application)
";

#[test]
fn the_applications_of_pep_3333_run_as_scripts() {
    if !is_installed("python3") {
        return;
    }
    let server = ScriptServer::start(&[("app.py", PEP_3333)]);
    for path in ["/cgi/app.py", "/cgi/app.py/class"] {
        let response = server.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, "Hello world!\n"), "{}", server.log.text());
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
    }
}

#[test]
fn an_application_of_werkzeug_runs_as_a_script() {
    let import = Command::new("python3").args(["-c", "import werkzeug"]).stderr(Stdio::null()).status();
    if !import.is_ok_and(|status| status.success()) {
        return skip("Werkzeug is not installed");
    }
    let server = ScriptServer::start(&[("app.py", WERKZEUG)]);
    let mut client = server.connect();
    client.send(
        "POST /cgi/app.py/page HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 8\r\n\r\nname=ada",
    );
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello world! /pageada"), "{}", server.log.text());
}

/// Returns the binary of the example, which `cargo test` builds beside the tests unless it is told to build less.
fn cgi_hello() -> Option<PathBuf> {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join("cgi_hello");
    if !path.exists() {
        skip("the example cgi_hello is not built");
        return None;
    }
    Some(path)
}

#[test]
fn run_with_cgi_works_under_this_server() {
    let Some(example) = cgi_hello() else { return };
    let server = ScriptServer::start(&[]);
    std::fs::copy(example, server.dir.join("hello")).unwrap();
    let response = server.get("/cgi/hello/there");
    assert_eq!((response.status, response.text().as_str()), (200, "Hello /cgi/hello/there!\n"));
    assert_eq!((response.field("Content-Length"), response.field("X-Scheme")), (Some("24"), Some("http")));
    let body = vec![b'x'; 1 << 20];
    assert!(server.post("/cgi/hello", &body).body == body);
    assert_eq!(server.get("/cgi/hello/stream").text(), "line 0\nline 1\nline 2\n");
    let failed = server.get("/cgi/hello/fail");
    assert_eq!((failed.text().as_str(), failed.complete), ("first\n", false), "exit status 1 cuts the response");
    assert!(server.log.text().contains("it failed on purpose"), "{}", server.log.text());
    let mut client = server.connect();
    client.send("HEAD /cgi/hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("Content-Length"), Some("18"));
    assert_eq!(client.get("/cgi/hello").status, 200, "the connection is in order");
}

#[test]
fn run_with_cgi_works_under_lighttpd() {
    let Some(example) = cgi_hello() else { return };
    if !is_installed("lighttpd") {
        return;
    }
    let dir = TempDir::new("lighttpd");
    dir.write("root/nothing.txt", "");
    std::fs::copy(example, dir.join("root/hello.cgi")).unwrap();
    dir.write(
        "lighttpd.conf",
        &format!(
            "server.modules = (\"mod_cgi\")\nserver.document-root = \"{0}/root\"\nserver.bind = \"{0}/socket\"\n\
             server.upload-dirs = (\"{0}\")\nserver.errorlog = \"/dev/stderr\"\ncgi.assign = (\".cgi\" => \"\")\n",
            dir.path().display()
        ),
    );
    let mut command = Command::new("lighttpd");
    command.arg("-D").arg("-f").arg(dir.join("lighttpd.conf"));
    let process = Process::spawn(&mut command);
    let connect = || {
        let stream = UnixStream::connect(dir.join("socket")).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Some(Client::on(stream))
    };
    wait_until("lighttpd listens", || connect().is_some());
    let mut client = connect().unwrap();
    let response = client.get("/hello.cgi/there");
    assert_eq!(response.text(), "Hello /hello.cgi/there!\n", "{}", process.output());
    assert_eq!((response.status, response.field("Content-Type")), (200, Some("text/plain")));
    assert_eq!(client.get("/hello.cgi/stream").text(), "line 0\nline 1\nline 2\n");
    let body = vec![b'x'; 1 << 20];
    client.send(format!("POST /hello.cgi HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert!(client.response().body == body);
    client.send("HEAD /hello.cgi HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("Content-Length"), Some("18"));
    assert_eq!(client.get("/hello.cgi").text(), "Hello /hello.cgi!\n", "the connection is in order");
}
