//! A server that forks for each request, over TLS. The server is this test binary in another process.

use std::io::Read;
use std::net::SocketAddr;

use crate::support::*;
use amboss_core::{make_server, Address, Concurrency, LocalAddr, Settings};
use amboss_testkit::{rerun, OnDrop};

const ROLE: &str = "AMBOSS_TLS_TEST_ROLE";

/// Starts a forking server, which stops when its standard input is closed. Returns its address, too.
fn start_forking_server() -> (Process, SocketAddr) {
    let mut command = rerun("forking::run_forking_server");
    let mut server = Process::spawn_with(command.env(ROLE, "forking"), OnDrop::CloseStdin);
    let addr = server.wait_for_output("prints its address", |output| {
        output.lines().find_map(|line| line.split_once("listening on ")?.1.parse().ok())
    });
    (server, addr)
}

#[test]
fn a_child_process_responds_and_closes_the_connection() {
    let (_server, addr) = start_forking_server();
    for version in BOTH {
        // This client's handshake never ends.
        let mut waiting = Client::connect(addr);
        waiting.send(b"\x16\x03");
        let mut idle = connect_tls(addr, config(&[version]));
        // The parent process has the sessions, so any child can resume them.
        let config = config(&[version]);
        for round in 0..3 {
            let mut client = connect_tls(addr, config.clone());
            let kind = client.stream.conn.handshake_kind();
            assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), round > 0, "{kind:?}");
            let body = pattern(1_000_000);
            client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
            client.send(&body);
            let response = client.response();
            assert!(response.body == body);
            assert_eq!(response.field("Connection"), Some("close"));
            assert_eq!(rest_and_end(&mut client), (Vec::new(), End::Orderly));
        }
        let environ = idle.get("/environ").text();
        assert!(environ.contains("SSL_PROTOCOL=TLSv1.") && environ.contains("wsgi.multiprocess=true\n"), "{environ}");
    }
}

/// Not a test: the process that [`start_forking_server`] starts.
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
