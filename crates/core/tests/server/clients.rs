//! Real clients. What is missing on a machine is skipped aloud.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::*;

/// Runs a program with some input; its output and whether it was content. `None` when there is no such program.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<(String, bool)> {
    let child = Command::new(program)
        .args(arguments)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skipped(&format!("{program} is not installed"));
        return None;
    };
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((text, output.status.success()))
}

fn curl(arguments: &[&str], input: &[u8]) -> Option<String> {
    let (text, content) = run("curl", &[&["-sS", "-m", "20", "--noproxy", "*"], arguments].concat(), input)?;
    assert!(content, "curl {arguments:?}: {text}");
    Some(text)
}

#[test]
fn curl_gets_right_answers() {
    everywhere(fixture, |server| {
        let url = |path: &str| format!("http://{}{path}", server.addr());
        let Some(text) = curl(&["-i", &url("/")], b"") else { return };
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");

        let text = curl(&["--http1.0", "-i", &url("/stream")], b"").unwrap();
        assert!(!text.contains("chunked") && text.ends_with("onetwo"), "{text}");

        let text = curl(&["-I", &url("/")], b"").unwrap();
        assert!(text.contains("Content-Length: 5") && text.ends_with("\r\n\r\n"), "{text}");

        // Two requests on one connection.
        let text = curl(&["-v", &url("/"), &url("/stream")], b"").unwrap();
        assert!(text.contains("hello") && text.contains("onetwo"), "{text}");
        assert!(text.to_lowercase().contains("re-using") || text.to_lowercase().contains("reusing"), "{text}");

        let text = curl(&["--path-as-is", &url("/a/../environ/..")], b"").unwrap();
        assert_eq!(text, "hello");
        let text = curl(&["--path-as-is", &url("//environ")], b"").unwrap();
        assert!(text.contains("REQUEST_URI=//environ\n"), "{text}");
    });
}

#[test]
fn curl_uploads_with_expect_and_in_chunks() {
    everywhere(fixture, |server| {
        let url = format!("http://{}/echo", server.addr());
        let content: Vec<u8> = (0..3_000_000u32).map(|number| b'a' + (number * 7 % 26) as u8).collect();
        let sent = String::from_utf8(content.clone()).unwrap();
        let expect = ["-v", "-H", "Expect: 100-continue", "--data-binary", "@-", "-o", "-", &url];
        let Some(text) = curl(&expect, &content) else { return };
        assert!(text.contains("100 Continue") && text.contains(&sent), "{}", text.len());
        let text = curl(&["-T", "-", &url], &content).unwrap();
        assert!(text == sent, "{} bytes", text.len());
        let text = curl(&["-T", "-", "-H", "Expect:", &url], b"").unwrap();
        assert_eq!(text, "");
    });
}

#[cfg(unix)]
#[test]
fn curl_speaks_over_a_unix_socket_and_ipv6() {
    let dir = temp_dir("curl");
    let path = dir.join("app.sock").display().to_string();
    let server = Setup::threaded().on(&[&format!("unix://{path}"), "localhost:0"]).start(fixture);
    let Some(text) = curl(&["--unix-socket", &path, "http://localhost/environ"], b"") else { return };
    assert!(text.contains("REMOTE_ADDR=<local>\n"), "{text}");
    let Some(six) = server.local.get(2) else { return skipped("this machine has no IPv6") };
    let text = curl(&["-g", &format!("http://[::1]:{}/environ", six.port().unwrap())], b"").unwrap();
    assert!(text.contains("REMOTE_ADDR=::1\n"), "{text}");
}

const HTTP_CLIENT: &str = r#"
import http.client, socket, sys, threading
host, port = sys.argv[1].rsplit(":", 1)
c = http.client.HTTPConnection(host, int(port), timeout=20)
def ask(method, path, body=None, headers={}, **more):
    c.request(method, path, body, headers, **more)
    r = c.getresponse()
    return r.status, r.read(), r
c.connect()
sock = c.sock
assert ask("GET", "/")[:2] == (200, b"hello")
assert ask("GET", "/stream")[:2] == (200, b"onetwo")
assert ask("HEAD", "/")[:2] == (200, b"")
assert ask("GET", "/status/204")[:2] == (204, b"")
assert ask("GET", "/status/304")[:2] == (304, b"")
assert ask("POST", "/echo", b"x" * 1000000)[:2] == (200, b"x" * 1000000)
assert ask("POST", "/echo", iter([b"one", b"", b"two" * 50000]), encode_chunked=True)[1] == b"one" + b"two" * 50000
status, body, r = ask("POST", "/", b"never read")
assert (status, body) == (200, b"hello")
text = ask("GET", "/environ?q=%20", headers={"Cookie": "a=1", "X-Y": "z"})[1].decode()
for line in ["HTTP_COOKIE=a=1\n", "HTTP_X_Y=z\n", "QUERY_STRING=q=%20\n", "REMOTE_PORT=%d\n" % sock.getsockname()[1]]:
    assert line in text, (line, text)
assert c.sock is sock, "one connection for all of it"
status, body, r = ask("GET", "/", headers={"Connection": "close"})
assert r.will_close and body == b"hello"
print("content")
"#;

const URLLIB: &str = r#"
import sys, urllib.error, urllib.request
base = "http://" + sys.argv[1]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
assert opener.open(base + "/", timeout=20).read() == b"hello"
assert opener.open(base + "/stream", timeout=20).read() == b"onetwo"
assert opener.open(base + "/echo", data=b"a=b", timeout=20).read() == b"a=b"
text = opener.open(base + "/environ", data=b"a=b", timeout=20).read().decode()
assert "CONTENT_TYPE=application/x-www-form-urlencoded\n" in text, text
try:
    opener.open(base + "/status/404", timeout=20)
    raise SystemExit("404 is an error")
except urllib.error.HTTPError as error:
    assert error.code == 404 and error.read() == b"a body"
print("content")
"#;

#[test]
fn pythons_clients_get_right_answers() {
    everywhere(fixture, |server| {
        for script in [HTTP_CLIENT, URLLIB] {
            let Some((text, content)) = run("python3", &["-c", script, &server.addr().to_string()], b"") else {
                return;
            };
            assert!(content && text.ends_with("content\n"), "{text}");
        }
    });
}
