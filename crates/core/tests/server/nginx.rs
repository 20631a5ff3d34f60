//! nginx in front: kept connections upstream, over TCP and over a Unix socket.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::*;
use amboss_core::PollerKind;
use amboss_testkit::Process;

/// nginx in front of a server, in a directory of its own. It listens on a Unix socket there, as it cannot choose a free
/// port.
struct Nginx {
    /// Killed when this is dropped.
    _process: Process,
    dir: TempDir,
}

impl Nginx {
    fn start(upstream: &str) -> Option<Nginx> {
        let dir = TempDir::new("nginx");
        let socket = dir.join("nginx.sock").display().to_string();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr warn;
             events {{ worker_connections 256; }}
             http {{
                 access_log off;
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 upstream app {{ server {upstream}; keepalive 4; }}
                 server {{
                     listen unix:{socket}; client_max_body_size 0;
                     location / {{
                         proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
                         proxy_set_header Host $http_host; proxy_next_upstream off;
                     }}
                     location /unbuffered/ {{
                         proxy_pass http://app/; proxy_http_version 1.1; proxy_set_header Connection \"\";
                         proxy_request_buffering off; proxy_buffering off; proxy_next_upstream off;
                     }}
                 }}
             }}"
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let program = ["nginx", "/usr/sbin/nginx"].into_iter().find(|name| {
            Command::new(name).arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        });
        let Some(program) = program else {
            skip("nginx is not installed");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(dir.path());
        let nginx = Nginx { _process: Process::spawn(&mut command), dir };
        wait_until("nginx listens", || nginx.connect().is_some());
        Some(nginx)
    }

    fn connect(&self) -> Option<Client<UnixStream>> {
        let stream = UnixStream::connect(self.dir.join("nginx.sock")).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Some(Client::on(stream))
    }
}

#[test]
fn nginx_gets_correct_responses_over_kept_connections() {
    for poller in [PollerKind::Auto, PollerKind::Poll] {
        let server = Setup::threaded().with(|settings| settings.runtime.poller = poller).start(test_app);
        let Some(nginx) = Nginx::start(&server.addr().to_string()) else { return };
        let mut client = nginx.connect().unwrap();
        for _ in 0..100 {
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.get("/stream").text(), "onetwo");
            assert_eq!(client.get("/status/204").status, 204);
        }
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to_head().field("Content-Length"), Some("5"));
        let body = vec![b'x'; 500_000];
        for path in ["/echo", "/unbuffered/echo"] {
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"));
            client.send(&body);
            assert!(client.response().body == body, "{path}");
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
            client.send("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
            assert_eq!(client.response().text(), "onetwo", "{path}");
        }
        // A body that the application does not read.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        client.send(&body[..100_000]);
        assert_eq!(client.response().text(), "hello");

        let mut ports = std::collections::HashSet::new();
        for _ in 0..20 {
            let text = client.get("/environ").text();
            assert!(text.contains("HTTP_HOST=localhost\n"), "{text}");
            ports.insert(text.lines().find(|line| line.starts_with("REMOTE_PORT=")).unwrap().to_owned());
        }
        assert_eq!(ports.len(), 1, "nginx keeps one upstream connection");
        assert_eq!(server.log.errors(), "");
    }
}

#[test]
fn nginx_can_connect_over_a_unix_socket() {
    let dir = TempDir::new("upstream");
    let path = dir.join("app.sock").display().to_string();
    let server = Setup::threaded().on(&[&format!("unix://{path}")]).start(test_app);
    let Some(nginx) = Nginx::start(&format!("unix:{path}")) else { return };
    assert_eq!(nginx.connect().unwrap().get("/").text(), "hello");
    drop(server);
}
