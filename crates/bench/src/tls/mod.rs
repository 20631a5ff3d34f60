//! TLS: what a handshake costs, full and resumed, and what records add to requests and to downloads. The client for handshakes
//! shares one core among its threads and is as busy as the servers: where it is full only the CPU per request tells.

pub mod client;

use crate::certificate::Certificate;
use crate::load::{Carrier, Load};
use crate::measure::Contest;
use crate::options::Options;
use crate::peers::{Mode, LARGE, PEERS};
use crate::Result;
use client::{Caller, Handshakes};
use std::io;

/// Clients that shake hands at the same time: enough to keep a server busy, each a thread.
const CALLERS: usize = 8;

/// The four kinds of handshakes, and what makes sure that a peer can do them.
type Kind = (&'static str, Handshakes, fn(u16) -> Result<Option<String>>);
const KINDS: [Kind; 4] = [
    ("Full handshakes, TLS 1.3", Handshakes::FULL_1_3, |port| shakes_hands(port, Handshakes::FULL_1_3)),
    ("Full handshakes, TLS 1.2", Handshakes::FULL_1_2, |port| shakes_hands(port, Handshakes::FULL_1_2)),
    ("Resumed handshakes, TLS 1.3", Handshakes::RESUMED_1_3, |port| shakes_hands(port, Handshakes::RESUMED_1_3)),
    ("Resumed handshakes, TLS 1.2", Handshakes::RESUMED_1_2, |port| shakes_hands(port, Handshakes::RESUMED_1_2)),
];

/// Measures and prints.
///
/// # Errors
///
/// When none of the chosen peers speaks TLS, or there can be no certificate.
pub fn run(options: &Options) -> Result<()> {
    let peers: Vec<_> = options.peers.iter().copied().filter(|peer| peer.has_tls).collect();
    if peers.is_empty() {
        let known: Vec<_> = PEERS.iter().filter(|peer| peer.has_tls).map(|peer| peer.name).collect();
        return Err(format!("none of these peers is measured over TLS; those are {}", known.join(", ")));
    }
    let options = &Options { peers, ..options.clone() };
    let _certificate = Certificate::make()?;
    for (title, handshakes, check) in KINDS {
        Contest {
            mode: Mode::Tls,
            connections: &[CALLERS],
            check,
            unit: "req",
            load: &|port, connections| Load {
                carrier: Carrier::Handshakes(handshakes),
                ..Load::new(options, port, connections)
            },
        }
        .run(options, title)?;
    }
    Contest {
        mode: Mode::Tls,
        connections: &[1, 16, 64],
        check: |port| keeps_alive(port).map(|()| None).map_err(|error| error.to_string()),
        unit: "req",
        load: &|port, connections| Load { carrier: Carrier::Tls, ..Load::new(options, port, connections) },
    }
    .run(options, "Keep-alive hello over TLS")?;
    Contest {
        mode: Mode::Tls,
        connections: &[1, 16],
        check: |port| downloads(port).map(|()| None).map_err(|error| error.to_string()),
        unit: "MiB",
        load: &|port, connections| Load {
            carrier: Carrier::Tls,
            path: "/large",
            ..Load::new(options, port, connections)
        },
    }
    .run(options, "Downloads of 1 MiB over TLS")
}

/// A new connection for each of several requests, each with the right kind of handshake, answered and closed as it should be.
fn shakes_hands(port: u16, handshakes: Handshakes) -> Result<Option<String>> {
    let caller = handshakes.caller(port).map_err(|error| format!("the first connection failed: {error}"))?;
    for _ in 0..4 {
        caller.call().map_err(|error| error.to_string())?;
    }
    Ok(None)
}

/// One kept-alive connection answers twice.
fn keeps_alive(port: u16) -> io::Result<()> {
    let mut client = Caller::new(port, Handshakes::FULL_1_3)?.connect()?;
    for _ in 0..2 {
        client.send("/", "", 1)?;
        client.receive()?;
    }
    Ok(())
}

/// One kept-alive connection answers twice with all of 1 MiB.
fn downloads(port: u16) -> io::Result<()> {
    let mut client = Caller::new(port, Handshakes::FULL_1_3)?.connect()?;
    for _ in 0..2 {
        client.send("/large", "", 1)?;
        client.receive_body(&LARGE)?;
    }
    Ok(())
}
