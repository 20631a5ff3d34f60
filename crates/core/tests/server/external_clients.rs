//! curl and the HTTP clients of Python's standard library.

use amboss_testkit::{curl, python};

use crate::support::*;

#[test]
fn curl_gets_correct_responses() {
    for_each_server(test_app, |server| {
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
    for_each_server(test_app, |server| {
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
fn curl_connects_over_a_unix_socket_and_ipv6() {
    let dir = TempDir::new("curl");
    let path = dir.join("app.sock").display().to_string();
    let server = Setup::threaded().on(&[&format!("unix://{path}"), "localhost:0"]).start(test_app);
    let Some(text) = curl(&["--unix-socket", &path, "http://localhost/environ"], b"") else { return };
    assert!(text.contains("REMOTE_ADDR=<local>\n"), "{text}");
    let Some(six) = server.local.get(2) else { return skip("this machine has no IPv6") };
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
assert c.sock is sock, "all requests used one connection"
status, body, r = ask("GET", "/", headers={"Connection": "close"})
assert r.will_close and body == b"hello"
print("success")
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
print("success")
"#;

#[test]
fn pythons_clients_get_correct_responses() {
    for_each_server(test_app, |server| {
        for script in [HTTP_CLIENT, URLLIB] {
            let Some(text) = python(script, &[&server.addr().to_string()]) else { return };
            assert!(text.ends_with("success\n"), "{text}");
        }
    });
}
