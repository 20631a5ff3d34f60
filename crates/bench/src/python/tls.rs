//! TLS by rustls, which certificates from files use, beside TLS by Python's `ssl`, which an `ssl.SSLContext` uses: the
//! smallest application over kept-alive connections.

use super::bench::Bench;
use super::peers::Peer;
use super::rounds::measure_in_rounds;
use super::server::Server;
use super::throughput::{self, tabulate, Measured, CONNECTIONS};
use crate::benchmark::{self, Unit};
use crate::load::{Load, Scheme};
use crate::result::Result;

const KINDS: &[Peer] = &[
    Peer {
        name: "(certfile, keyfile)",
        packages: &["amboss"],
        command: "python launch.py amboss-files PORT OBJECT",
        has_threads: true,
    },
    Peer {
        name: "ssl.SSLContext",
        packages: &["amboss"],
        command: "python launch.py amboss-context PORT OBJECT",
        has_threads: true,
    },
];

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// None: the table says why something cannot be measured.
pub fn run(bench: &Bench) -> Result<()> {
    let title = "Python, TLS of amboss, one core each";
    let entries = measure_in_rounds(bench, title, KINDS.iter(), |kind| measure(bench, kind));
    for (index, connections) in CONNECTIONS.iter().enumerate() {
        tabulate(&entries, index, entries.first(), "÷ files").print(&format!("{title}, {connections} connections"));
    }
    Ok(())
}

fn measure(bench: &Bench, kind: &Peer) -> Result<Measured> {
    let server = Server::start(bench, kind.name, kind.command, throughput::HELLO.object, true)?;
    let load = |connections, seconds| Load {
        scheme: Scheme::Https,
        ..throughput::load(server.port, connections, seconds, true)
    };
    load(CONNECTIONS[0], 1).run()?;
    let sample =
        |&connections| benchmark::sample(server.pid(), &load(connections, bench.options.seconds), Unit::Request);
    Ok(Measured { samples: CONNECTIONS.iter().map(sample).collect::<Result<_>>()?, notes: Vec::new() })
}
