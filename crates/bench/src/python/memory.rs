//! Resident memory with the smallest application: after the first response, and after the hello load.

use super::bench::Bench;
use super::peers::Peer;
use super::rounds::{measure_in_rounds, subject, Entry};
use super::server::Server;
use super::throughput::{self, HELLO};
use crate::proc::{self, Resident};
use crate::result::Result;
use crate::table::{Spread, Table, MISSING};

/// The number of connections of the load, as in the larger table of throughput.
const CONNECTIONS: usize = 64;

/// The resident memory of a server's processes before and after the load.
struct Pair {
    idle: Resident,
    loaded: Resident,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// None: the table says why a peer cannot be measured.
pub fn run(bench: &Bench) -> Result<()> {
    let title = "Python, resident memory in MiB, raw hello";
    let entries = measure_in_rounds(bench, title, bench.peers.iter().copied(), |peer| measure(bench, peer));
    tabulate(&entries).print(title);
    Ok(())
}

fn measure(bench: &Bench, peer: &Peer) -> Result<Pair> {
    let server = Server::start(bench, peer.name, peer.command, HELLO.object, false)?;
    HELLO.check(server.port).map_err(|error| format!("sends a wrong response: {error}"))?;
    let idle = proc::resident(server.pid())?;
    throughput::load(server.port, CONNECTIONS, bench.options.seconds, false).run()?;
    Ok(Pair { idle, loaded: proc::resident(server.pid())? })
}

fn tabulate(entries: &[Entry<Pair>]) -> Table {
    let loaded = |entry: &Entry<Pair>| entry.values(|pair| pair.loaded.rss);
    let mut table =
        Table::new(&["server", "RSS at start", "PSS at start", "RSS after load", "PSS after load", "RSS − bjoern's"]);
    for entry in entries {
        if entry.measured(&mut table).is_none() {
            continue;
        }
        let difference = subject(entries).and_then(|subject| {
            let pairs = loaded(entry).into_iter().zip(loaded(subject));
            Spread::of(&pairs.map(|(ours, theirs)| (ours - theirs) / 1024.0).collect::<Vec<_>>())
        });
        let mib = |value: &dyn Fn(&Pair) -> f64| format!("{:.1}", entry.median(value) / 1024.0);
        table.row(vec![
            entry.peer.name.into(),
            mib(&|pair| pair.idle.rss),
            mib(&|pair| pair.idle.pss),
            mib(&|pair| pair.loaded.rss),
            mib(&|pair| pair.loaded.pss),
            difference.map_or_else(|| MISSING.into(), |spread| spread.cell(|mib| format!("{mib:+.1}"))),
        ]);
    }
    table
}
