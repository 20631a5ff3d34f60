//! TLS: the cost of a handshake, full and resumed, and what TLS adds to requests and downloads. The client for
//! handshakes shares one core among its threads and is as busy as the servers: once its core is saturated, only the CPU
//! time per request says anything.

use crate::benchmark::{Benchmark, Unit};
use crate::certificate::Certificate;
use crate::handshakes::{HandshakeClient, Handshakes};
use crate::load::{Load, Scheme};
use crate::options::Options;
use crate::peers::{Mode, LARGE, PEERS};
use crate::result::Result;
use std::io;

/// The number of clients that perform handshakes at the same time, a thread each: enough to keep a server busy.
const CLIENTS: usize = 8;

/// A title, a kind of handshake, and the check that a peer supports it.
type Case = (&'static str, Handshakes, fn(u16) -> Result<Option<String>>);
const CASES: [Case; 4] = [
    ("Full handshakes, TLS 1.3", Handshakes::FULL_1_3, |port| check_handshakes(port, Handshakes::FULL_1_3)),
    ("Full handshakes, TLS 1.2", Handshakes::FULL_1_2, |port| check_handshakes(port, Handshakes::FULL_1_2)),
    ("Resumed handshakes, TLS 1.3", Handshakes::RESUMED_1_3, |port| check_handshakes(port, Handshakes::RESUMED_1_3)),
    ("Resumed handshakes, TLS 1.2", Handshakes::RESUMED_1_2, |port| check_handshakes(port, Handshakes::RESUMED_1_2)),
];

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When none of the chosen peers speaks TLS, or the certificate cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let peers: Vec<_> = options.peers.iter().copied().filter(|peer| peer.has_tls).collect();
    if peers.is_empty() {
        let known: Vec<_> = PEERS.iter().filter(|peer| peer.has_tls).map(|peer| peer.name).collect();
        return Err(format!("none of these peers is measured over TLS; choose from {}", known.join(", ")));
    }
    let options = &Options { peers, ..options.clone() };
    let _certificate = Certificate::create()?;
    for (title, handshakes, check) in CASES {
        Benchmark {
            mode: Mode::Tls,
            connections: &[CLIENTS],
            check: &check,
            unit: Unit::Request,
            load: &|port, connections| Load {
                scheme: Scheme::Handshakes(handshakes),
                ..Load::new(options, port, connections)
            },
        }
        .run(options, title)?;
    }
    Benchmark {
        mode: Mode::Tls,
        connections: &[1, 16, 64],
        check: &|port| check_keep_alive(port).map(|()| None).map_err(|error| error.to_string()),
        unit: Unit::Request,
        load: &|port, connections| Load { scheme: Scheme::Https, ..Load::new(options, port, connections) },
    }
    .run(options, "Keep-alive hello over TLS")?;
    Benchmark {
        mode: Mode::Tls,
        connections: &[1, 16],
        check: &|port| check_downloads(port).map(|()| None).map_err(|error| error.to_string()),
        unit: Unit::Mebibyte,
        load: &|port, connections| Load {
            scheme: Scheme::Https,
            path: "/large",
            ..Load::new(options, port, connections)
        },
    }
    .run(options, "Downloads of 1 MiB over TLS")
}

/// Checks that several connections in a row have the right kind of handshake, a correct response and a clean end.
fn check_handshakes(port: u16, handshakes: Handshakes) -> Result<Option<String>> {
    let client = handshakes.client(port).map_err(|error| format!("the first connection failed: {error}"))?;
    for _ in 0..4 {
        client.request().map_err(|error| error.to_string())?;
    }
    Ok(None)
}

/// Checks that the peer responds to two requests on one connection.
fn check_keep_alive(port: u16) -> io::Result<()> {
    let mut client = HandshakeClient::new(port, Handshakes::FULL_1_3)?.connect()?;
    for _ in 0..2 {
        client.send("/", "", 1)?;
        client.receive()?;
    }
    Ok(())
}

/// Checks that the peer sends 1 MiB twice on one connection.
fn check_downloads(port: u16) -> io::Result<()> {
    let mut client = HandshakeClient::new(port, Handshakes::FULL_1_3)?.connect()?;
    for _ in 0..2 {
        client.send("/large", "", 1)?;
        client.receive_body(&LARGE)?;
    }
    Ok(())
}
