//! A server that forks for each request, over TLS. The server is this test binary in another process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::support::*;
use amboss_core::{make_server, Address, Concurrency, LocalAddr, Settings};

const ROLE: &str = "AMBOSS_TLS_TEST_ROLE";

/// A forking server, which stops when its standard input is closed.
struct ForkingServer {
    addr: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl ForkingServer {
    fn start() -> ForkingServer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", "forking::run_forking_server"])
            .env(ROLE, "forking")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let addr = lines.find_map(|line| line.split_once("listening on ")?.1.parse().ok()).unwrap();
        ForkingServer { addr, child, stdin }
    }
}

impl Drop for ForkingServer {
    fn drop(&mut self) {
        self.stdin = None;
        let mut ended = false;
        let until = std::time::Instant::now() + DEADLINE;
        while !ended && std::time::Instant::now() < until {
            ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
            assert!(std::thread::panicking(), "the forking server does not stop");
        }
    }
}

#[test]
fn a_child_process_responds_and_closes_the_connection() {
    let server = ForkingServer::start();
    for version in BOTH {
        let mut waiting = connect(server.addr);
        std::io::Write::write_all(&mut waiting, b"\x16\x03").unwrap();
        let mut idle = Client::new(connect(server.addr), config(&[version]));
        // The parent process has the sessions, so any child can resume them.
        let config = config(&[version]);
        for round in 0..3 {
            let mut client = Client::new(connect(server.addr), config.clone());
            let kind = client.stream.conn.handshake_kind();
            assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), round > 0, "{kind:?}");
            let body = pattern(1_000_000);
            client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
            client.send(&body);
            let response = client.response();
            assert!(response.body == body);
            assert_eq!(response.field("Connection"), Some("close"));
            assert_eq!(client.rest(), (Vec::new(), End::Clean));
        }
        let environ = idle.get("/environ").text();
        assert!(environ.contains("SSL_PROTOCOL=TLSv1.") && environ.contains("wsgi.multiprocess=true\n"), "{environ}");
    }
}

/// Not a test: the process of a [`ForkingServer`].
#[test]
#[ignore = "is started by other tests"]
fn run_forking_server() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let mut settings = Settings::default();
    settings.transport = Some(context().layer());
    let mut server = make_server(&[Address::new("127.0.0.1", 0)], fixture, Concurrency::Processes, settings).unwrap();
    let handle = server.shutdown_handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        handle.shutdown();
    });
    let LocalAddr::Tcp(address) = &server.local_addrs()[0] else { panic!("no TCP address") };
    println!("\nlistening on {address}");
    server.serve_forever().unwrap();
}
