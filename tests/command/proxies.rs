//! The command behind real proxies: nginx and haproxy, with fields and headers that a client has forged.
//!
//! Both proxies listen on Unix sockets in a folder of the test, because they can't choose a free port. The client
//! speaks to them over a Unix socket as well, so in the tests of forwarded fields nginx is told to take its address from
//! the PROXY header that the client sends.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Command;

use amboss_testkit::{is_installed, skip, wait_until, Client, OnDrop, Process, TempDir};

use crate::{amboss, fails, get, Amboss};

/// The block that the documentation of Flask, Werkzeug and gunicorn prints, with the listener and the upstream of the
/// test.
const LOCATION: &str = "
    location / {
        proxy_pass UPSTREAM;
        proxy_redirect off;

        proxy_set_header   Host                 $host;
        proxy_set_header   X-Real-IP            $remote_addr;
        proxy_set_header   X-Forwarded-For      $proxy_add_x_forwarded_for;
        proxy_set_header   X-Forwarded-Proto    $scheme;
    }";

/// Fields that a client sends to look like another one.
const FORGED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
                      X-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\n\
                      Forwarded: for=6.6.6.6;proto=https;host=evil.example\r\n";

/// The header of a client behind the proxy.
const CLIENT: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n";

/// A proxy in front of a server; killed when this is dropped.
struct Proxy {
    _process: Process,
    dir: TempDir,
}

impl Proxy {
    /// Starts nginx with these blocks. `None` if it is not installed, or can't do what they ask for.
    fn nginx(blocks: &str) -> Option<Proxy> {
        let program = ["nginx", "/usr/sbin/nginx"].into_iter().find(|name| is_installed(name));
        let Some(program) = program else {
            skip("nginx is not installed");
            return None;
        };
        let dir = TempDir::new("nginx");
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr warn;
             events {{ worker_connections 64; }}
             http {{
                 access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 server {{ listen unix:{} proxy_protocol; server_name _; set_real_ip_from unix:;
                           real_ip_header proxy_protocol; {blocks} }}
             }}",
            dir.join_str("proxy.sock"),
        );
        dir.write("nginx.conf", &config);
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(dir.path());
        Some(Proxy::start(&mut command, dir))
    }

    /// Starts haproxy with this server line. `None` if it is not installed.
    fn haproxy(server: &str, frontend: &str) -> Option<Proxy> {
        let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|name| is_installed(name));
        let Some(program) = program else {
            skip("haproxy is not installed");
            return None;
        };
        let dir = TempDir::new("haproxy");
        let config = format!(
            "global
                 maxconn 64
             defaults
                 timeout connect 5s
                 timeout client 10s
                 timeout server 10s
             frontend front
                 bind unix@{} accept-proxy
                 {frontend}
                 default_backend app
             backend app
                 {frontend}
                 server app {server}
",
            dir.join_str("proxy.sock"),
        );
        dir.write("haproxy.cfg", &config);
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(dir.join("haproxy.cfg"));
        Some(Proxy::start(&mut command, dir))
    }

    fn start(command: &mut Command, dir: TempDir) -> Proxy {
        let mut process = Process::spawn(command);
        wait_until("the proxy listens", || {
            assert!(process.try_wait().is_none(), "the proxy has ended: {}", process.output());
            UnixStream::connect(dir.join("proxy.sock")).is_ok()
        });
        Proxy { _process: process, dir }
    }

    /// Sends a request behind a PROXY header for the client, and returns the environ as JSON.
    fn get(&self, fields: &str) -> String {
        let mut client = Client::on(UnixStream::connect(self.dir.join("proxy.sock")).expect("the proxy listens"));
        client.stream.set_read_timeout(Some(amboss_testkit::DEADLINE)).expect("a socket");
        get_behind_header(&mut client, fields)
    }
}

fn get_behind_header<S: std::io::Read + std::io::Write>(client: &mut Client<S>, fields: &str) -> String {
    client.send(format!(
        "{CLIENT}GET /a HTTP/1.1\r\nHost: app.example\r\nAccept: application/json\r\nConnection: close\r\n{fields}\r\n"
    ));
    client.response().text()
}

#[track_caller]
fn assert_environ(json: &str, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert!(json.contains(&format!("\"{key}\": \"{value}\"")), "{key} is not {value}: {json}");
    }
}

/// Waits for the line of a request in the access log, and asserts that it begins with the client's address.
#[track_caller]
fn assert_logged(server: &mut Amboss, address: &str) {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut server.err, &mut line).expect("the log is text");
    assert!(line.starts_with(&format!("{address} - - [")), "{line}");
}

#[test]
fn forged_fields_do_not_pass_through_nginx() {
    let mut server = Amboss::start(&["--port", "0"]);
    let upstream = format!("http://127.0.0.1:{}/", server.port());
    let Some(nginx) = Proxy::nginx(&LOCATION.replace("UPSTREAM", &upstream)) else { return };
    for fields in ["", FORGED] {
        let port = server.port().to_string();
        let environ = nginx.get(fields);
        assert_environ(&environ, &[("REMOTE_ADDR", "192.0.2.7"), ("wsgi.url_scheme", "http"), ("SCRIPT_NAME", "")]);
        assert_environ(&environ, &[("HTTP_HOST", "app.example"), ("SERVER_NAME", "127.0.0.1"), ("SERVER_PORT", &port)]);
        assert_logged(&mut server, "192.0.2.7");
    }
}

#[test]
fn nginx_over_a_unix_socket_is_trusted() {
    let dir = TempDir::new("upstream");
    let path = dir.join_str("app.sock");
    let server = Amboss::start(&["--bind", &format!("unix://{path}")]);
    let Some(nginx) = Proxy::nginx(&LOCATION.replace("UPSTREAM", &format!("http://unix:{path}:/"))) else { return };
    let environ = nginx.get(FORGED);
    assert_environ(
        &environ,
        &[("REMOTE_ADDR", "192.0.2.7"), ("wsgi.url_scheme", "http"), ("HTTP_HOST", "app.example")],
    );
    drop(server);
}

#[test]
fn a_peer_that_is_not_trusted_can_not_speak_for_a_client() {
    let mut command = amboss(&["--port", "0"]);
    command.env("FORWARDED_ALLOW_IPS", "10.0.0.0/8");
    for mut server in
        [Amboss::start(&["--port", "0", "--forwarded-allow-ips", "10.0.0.0/8"]), Amboss::spawn(&mut command)]
    {
        let environ = get(server.port(), &format!("Accept: application/json\r\n{FORGED}"));
        assert_environ(&environ, &[("REMOTE_ADDR", "127.0.0.1"), ("wsgi.url_scheme", "http"), ("SCRIPT_NAME", "")]);
        assert_logged(&mut server, "127.0.0.1");
    }
}

#[test]
fn hops_and_forwarded_are_as_the_flags_say() {
    let hops = "for=2,proto=0,host=1,prefix=1";
    let server = Amboss::start(&["--port", "0", "--forwarded-hops", hops]);
    let fields = FORGED.replace("For: 6.6.6.6", "For: 7.7.7.7, 8.8.8.8");
    let environ = get(server.port(), &format!("Accept: application/json\r\n{fields}"));
    assert_environ(&environ, &[("REMOTE_ADDR", "7.7.7.7"), ("wsgi.url_scheme", "http"), ("SCRIPT_NAME", "/evil")]);
    assert_environ(&environ, &[("HTTP_HOST", "evil.example"), ("SERVER_NAME", "evil.example")]);
    let server = Amboss::start(&["--port", "0", "--forwarded-rfc7239"]);
    let environ =
        get(server.port(), "Accept: application/json\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=2.2.2.2\r\n");
    assert_environ(&environ, &[("REMOTE_ADDR", "2.2.2.2")]);
}

#[test]
fn haproxy_passes_the_client_on_in_both_versions_of_the_proxy_protocol() {
    for (version, flag) in [
        ("send-proxy", "--proxy-protocol"),
        ("send-proxy-v2", "--proxy-protocol=required"),
        ("send-proxy-v2", "--proxy-protocol=optional"),
    ] {
        let mut server = Amboss::start(&["--port", "0", flag]);
        let line = format!("127.0.0.1:{} {version}", server.port());
        for mode in ["mode http", "mode tcp"] {
            let Some(haproxy) = Proxy::haproxy(&line, mode) else { return };
            let environ = haproxy.get(FORGED);
            assert_environ(
                &environ,
                &[("REMOTE_ADDR", "192.0.2.7"), ("REMOTE_PORT", "4711"), ("wsgi.url_scheme", "http")],
            );
            assert_environ(&environ, &[("HTTP_HOST", "app.example"), ("SERVER_NAME", "127.0.0.1")]);
            assert_logged(&mut server, "192.0.2.7");
        }
    }
}

#[test]
fn haproxy_passes_the_client_on_in_forwarded_fields() {
    let mut server = Amboss::start(&["--port", "0"]);
    let upstream = format!("127.0.0.1:{}", server.port());
    let Some(haproxy) = Proxy::haproxy(&upstream, "mode http\n                 option forwardfor") else { return };
    let environ = haproxy.get("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.example\r\n");
    assert_environ(&environ, &[("REMOTE_ADDR", "192.0.2.7"), ("HTTP_HOST", "app.example")]);
    assert_logged(&mut server, "192.0.2.7");
}

/// nginx sends the header only from its stream module, which small packages of it lack.
#[test]
fn nginx_passes_the_client_on_in_the_proxy_protocol() {
    let Some(program) = ["nginx", "/usr/sbin/nginx"].into_iter().find(|name| is_installed(name)) else {
        return skip("nginx is not installed");
    };
    let output = Command::new(program).arg("-V").output().expect("nginx runs");
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let load = if std::path::Path::new(module).exists() {
        format!("load_module {module};")
    } else if String::from_utf8_lossy(&output.stderr).contains("--with-stream ") {
        String::new()
    } else {
        return skip("this nginx has no stream module");
    };
    let mut server = Amboss::start(&["--port", "0", "--proxy-protocol"]);
    let dir = TempDir::new("nginx-stream");
    // With a Unix socket as listener, nginx would write its path into the header. The listening socket is passed on as
    // in an upgrade of nginx, so no other program can take its port first. nginx accepts from such a socket only in
    // worker processes.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = format!(
        "{load} daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
         events {{ worker_connections 64; }}
         stream {{
             server {{ listen {address} proxy_protocol; set_real_ip_from 127.0.0.1;
                       proxy_pass 127.0.0.1:{}; proxy_protocol on; }}
         }}",
        server.port(),
    );
    dir.write("nginx.conf", &config);
    let mut command = Command::new("sh");
    command.args(["-c", "NGINX='3;' exec \"$0\" -e stderr -c nginx.conf -p \"$1\" 3<&0 0</dev/null", program]);
    command.arg(dir.path()).stdin(std::os::fd::OwnedFd::from(listener));
    let _nginx = Process::spawn_with(&mut command, OnDrop::Signal("TERM"));
    let mut client = Client::connect(address);
    assert_environ(&get_behind_header(&mut client, FORGED), &[("REMOTE_ADDR", "192.0.2.7"), ("REMOTE_PORT", "4711")]);
    assert_logged(&mut server, "192.0.2.7");
}

#[test]
fn mistakes_in_the_flags_are_refused_with_a_sentence_and_code_2() {
    fails(&["--forwarded-allow-ips", "localhost"], 2, "write an IP address");
    fails(&["--forwarded-allow-ips", "10.1.2.3/8"], 2, "write 10.0.0.0/8 for the whole network");
    fails(&["--forwarded-hops", "server=1"], 2, "the names are for, proto, host, port, prefix");
    fails(&["--forwarded-hops", "for=many"], 2, "the number has to be 0 or more");
    fails(&["--proxy-protocol=v2"], 2, "[possible values: required, optional, off]");
    let output = amboss(&["--port", "0"]).env("FORWARDED_ALLOW_IPS", "proxy.local").output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("write an IP address"));
}

/// Only the worker that has read the header knows the client: it tells the one that continues the connection.
#[cfg(feature = "reload")]
#[test]
fn a_connection_keeps_its_client_when_its_worker_is_replaced() {
    use crate::reload::{can_list_children, children};
    use crate::running::{amboss_in, test_dir, Running};
    if !can_list_children() {
        return;
    }
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n";
    let dir = test_dir();
    let running = Running::start(&mut amboss_in(&dir, &["-w", "2", "-p", "0", "--proxy-protocol"]));
    wait_until("two workers run", || children(running.pid()).len() == 2);
    let before = children(running.pid());
    let [mut idle, mut half] = [(); 2].map(|()| crate::connect(running.port()));
    idle.send(format!("{CLIENT}{GET}"));
    assert_environ(&idle.response().text(), &[("REMOTE_ADDR", "192.0.2.7")]);
    half.send(&CLIENT[..20]);
    running.signal("HUP");
    wait_until("two other workers run", || {
        let now = children(running.pid());
        now.len() == 2 && now.iter().all(|worker| !before.contains(worker))
    });
    half.send(format!("{}{GET}", &CLIENT[20..]));
    idle.send(GET);
    for client in [&mut idle, &mut half] {
        assert_environ(&client.response().text(), &[("REMOTE_ADDR", "192.0.2.7"), ("REMOTE_PORT", "4711")]);
    }
}

#[test]
fn health_checks_need_neither_a_thread_nor_an_allowed_host() {
    let dir = amboss_testkit::TempDir::new("health");
    dir.write_program("cgi/slow", &format!("#!/bin/sh\n: > '{}'\nexec sleep 20\n", dir.join_str("started")));
    let mount = format!("/cgi={}", dir.join_str("cgi"));
    let flags =
        ["-p", "0", "--health", "/healthz", "--threads", "1", "--cgi", &mount, "--allowed-host", "shop.example"];
    let server = Amboss::start(&flags);
    let mut running = crate::connect(server.port());
    running.send_get("/cgi/slow");
    amboss_testkit::wait_until("the script runs", || dir.join("started").exists());
    let mut check = crate::connect(server.port());
    check.send("GET /healthz HTTP/1.1\r\nHost: balancer.example\r\n\r\n");
    let response = check.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok\n"));
    check.send("GET / HTTP/1.1\r\nHost: balancer.example\r\n\r\n");
    assert_eq!(check.response().status, 421);
    fails(&["--health", "healthz"], 2, "write a path, as in /healthz");
}
