//! A script gets its request: environment, body, place.

use std::time::Duration;

use amboss_core::BodyMode;
use amboss_testkit::{is_installed, Response};

use crate::support::ScriptServer;

const ENV: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; env; echo \"args=$#\"; echo \"cwd=$(pwd)\"\n";
const ECHO: &str = "#!/bin/sh\nprintf \"Content-Type: $CONTENT_TYPE\\n\\n\"; exec cat\n";
const PYTHON_ECHO: &str = "#!/usr/bin/env python3
import os, sys
body = sys.stdin.buffer.read(int(os.environ['CONTENT_LENGTH']))
sys.stdout.buffer.write(b'Content-Type: text/plain\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)
";
const IGNORE: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nignored'\n";

fn value(response: &Response, name: &str) -> Option<String> {
    response.text().lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[test]
fn a_script_gets_its_place_and_its_request() {
    let server = ScriptServer::start(&[("sub/env", ENV)]);
    let fields = "Proxy: http://evil\r\nAuthorization: Basic x\r\nX-Custom: y\r\nX_Custom: z\r\nX!odd: z\r\n";
    let response = server.connect().with_fields(fields).get("/cgi/sub/env/more%20here?first+second");
    assert_eq!((response.status, response.field("Content-Type")), (200, Some("text/plain")));
    let remote = value(&response, "REMOTE_PORT").unwrap().parse::<u16>().unwrap();
    assert_ne!(remote, 0);
    for (name, expected) in [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SCRIPT_NAME", "/cgi/sub/env"),
        ("PATH_INFO", "/more here"),
        ("QUERY_STRING", "first+second"),
        ("REQUEST_METHOD", "GET"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_PORT", &server.address.port().to_string()),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "localhost"),
        ("HTTP_X_CUSTOM", "y"),
        // RFC 3875 §4.4 would split the query into arguments: CVE-2012-1823.
        ("args", "0"),
        ("cwd", server.dir.join("sub").to_str().unwrap()),
    ] {
        assert_eq!(value(&response, name).as_deref(), Some(expected), "{name}");
    }
    for name in
        ["HTTP_PROXY", "HTTP_AUTHORIZATION", "CONTENT_LENGTH", "CONTENT_TYPE", "CARGO", "HOME", "PATH_TRANSLATED"]
    {
        assert_eq!(value(&response, name), None, "{name}");
    }
    let response = server.get("/cgi/sub/env");
    assert_eq!((value(&response, "PATH_INFO"), value(&response, "QUERY_STRING").as_deref()), (None, Some("")));
}

#[test]
fn a_large_body_goes_to_a_script_and_comes_back() {
    let mut scripts = vec![("sh", ECHO)];
    if is_installed("python3") {
        scripts.push(("python", PYTHON_ECHO));
    }
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for mode in [BodyMode::Collect, BodyMode::Stream] {
        let server = ScriptServer::start_with(&scripts, |_, settings| settings.body_mode = mode);
        for (name, _) in &scripts {
            let mut client = server.connect();
            client.send(format!(
                "POST /cgi/{name} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            // While the body is streamed, both directions are full: the client has to read as it writes.
            let mut writer = amboss_testkit::Client::on(client.stream.try_clone().unwrap());
            let response = std::thread::scope(|scope| {
                scope.spawn(|| writer.send(&body));
                client.response()
            });
            assert!(response.complete && response.body == body, "{name} {mode:?}: {}", server.log.text());
            assert_eq!(client.get("/cgi/sh").status, 200, "the connection is in order");
        }
    }
}

#[test]
fn a_chunked_body_has_a_length_when_it_is_collected_and_is_refused_otherwise() {
    for (mode, status) in [(BodyMode::Collect, 200), (BodyMode::Stream, 411)] {
        let server = ScriptServer::start_with(&[("run", ENV)], |_, settings| settings.body_mode = mode);
        let mut client = server.connect();
        client.send("POST /cgi/run HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status, status, "{mode:?}");
        if status == 200 {
            assert_eq!(value(&response, "CONTENT_LENGTH").as_deref(), Some("3"));
            assert_eq!(value(&response, "HTTP_TRANSFER_ENCODING"), None);
        }
    }
}

#[test]
fn a_script_may_ignore_its_input() {
    let body = vec![b'x'; 1 << 20];
    for mode in [BodyMode::Collect, BodyMode::Stream] {
        let server = ScriptServer::start_with(&[("run", IGNORE)], |_, settings| settings.body_mode = mode);
        let response = server.post("/cgi/run", &body);
        assert_eq!((response.status, response.text().as_str()), (200, "ignored"), "{mode:?}");
    }
}

#[test]
fn a_body_that_the_client_does_not_finish_never_looks_complete() {
    let script =
        "#!/bin/sh\nset -e\nprintf 'Content-Type: text/plain\\n\\n'; cat > body; echo done > finished; echo ok\n";
    let server = ScriptServer::start_with(&[("run", script)], |options, settings| {
        settings.body_mode = BodyMode::Stream;
        options.run_timeout = Duration::from_secs(60);
    });
    let mut client = server.connect();
    client.send("POST /cgi/run HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this");
    amboss_testkit::wait_until("the script has read something", || server.dir.join("body").exists());
    client.finish_sending();
    let rest = client.rest();
    assert!(!String::from_utf8_lossy(&rest).contains("ok"), "{}", rest.escape_ascii());
    assert!(!server.dir.join("finished").exists(), "the script saw the end of its input");
}
