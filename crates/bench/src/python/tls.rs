//! TLS by rustls, which certificates from files use, beside TLS by Python's `ssl`, which an `ssl.SSLContext` uses: the
//! smallest application over kept-alive connections.

use super::bench::Bench;
use super::peers::Peer;
use super::rounds::{measure_in_rounds, Entry};
use super::server::Server;
use super::throughput;
use crate::benchmark::{self, Sample, Unit};
use crate::load::{Load, Scheme};
use crate::result::Result;
use crate::table::{self, Spread, Table};

/// The numbers of connections, with a table for each.
const CONNECTIONS: [usize; 2] = [16, 64];

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
        tabulate(&entries, index).print(&format!("{title}, {connections} connections"));
    }
    Ok(())
}

fn measure(bench: &Bench, kind: &Peer) -> Result<Vec<Sample>> {
    let server = Server::start(bench, kind.name, kind.command, throughput::HELLO.object, true)?;
    let load = |connections, seconds| Load {
        scheme: Scheme::Https,
        ..throughput::load(server.port, connections, seconds, true)
    };
    load(CONNECTIONS[0], 1).run()?;
    let sample =
        |&connections| benchmark::sample(server.pid(), &load(connections, bench.options.seconds), Unit::Request);
    CONNECTIONS.iter().map(sample).collect()
}

fn tabulate(entries: &[Entry<Vec<Sample>>], index: usize) -> Table {
    let rate = |round: &Vec<Sample>| round[index].report.rate;
    let cpu = |round: &Vec<Sample>| round[index].cpu_micros;
    let mut table = Table::new(&["ssl_context", "req/s", "÷ files", "CPU µs/req", "÷ files", "p99", "errors"]);
    for entry in entries {
        let Some(measured) = entry.measured(&mut table) else { continue };
        let errors: u64 = measured.iter().map(|round| round[index].report.errors).sum();
        let to_files = |value: &dyn Fn(&Vec<Sample>) -> f64| {
            let files = entries.first().map(|files| files.values(value)).unwrap_or_default();
            table::ratio_cell(Spread::of_ratios(&entry.values(value), &files))
        };
        table.row(vec![
            entry.peer.name.into(),
            format!("{:.0}", entry.median(rate)),
            to_files(&rate),
            format!("{:.1}", entry.median(cpu)),
            to_files(&cpu),
            table::median_duration(entry.values(|round| round[index].report.p99.as_secs_f64())),
            errors.to_string(),
        ]);
    }
    table
}
