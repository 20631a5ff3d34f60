//! Resident memory with the smallest application: after the first answer, and after the hello load.

use super::contest::{self, HELLO};
use super::peers::{Peer, SUBJECT};
use super::rounds::{alternate, Entry};
use super::server::Server;
use super::Bench;
use crate::proc::{self, Resident};
use crate::table::Table;
use crate::Result;

/// Connections of the load; those of the larger throughput table.
const CONNECTIONS: usize = 64;

/// Before and after the load.
struct Pair {
    idle: Resident,
    loaded: Resident,
}

/// Measures and prints.
///
/// # Errors
///
/// None of its own: who can't be measured is told in the table.
pub fn run(bench: &Bench) -> Result<()> {
    let title = "Python, resident memory in MiB, raw hello";
    let entries = alternate(bench, title, bench.peers.iter().copied(), |peer| one(bench, peer));
    let loaded = |entry: &Entry<Pair>| entry.middle(|pair| pair.loaded.rss);
    let subject = entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.outcome.is_ok()).map(loaded);
    let mut table =
        Table::new(&["server", "RSS at start", "PSS at start", "RSS after load", "PSS after load", "RSS − bjoern's"]);
    for entry in &entries {
        if let Err(why) = &entry.outcome {
            table.absent(entry.peer.name, why);
            continue;
        }
        let mib = |value: &dyn Fn(&Pair) -> f64| format!("{:.1}", entry.middle(value) / 1024.0);
        table.row(vec![
            entry.peer.name.into(),
            mib(&|pair| pair.idle.rss),
            mib(&|pair| pair.idle.pss),
            mib(&|pair| pair.loaded.rss),
            mib(&|pair| pair.loaded.pss),
            subject.map_or("–".into(), |subject| format!("{:+.1}", (loaded(entry) - subject) / 1024.0)),
        ]);
    }
    table.print(title);
    Ok(())
}

fn one(bench: &Bench, peer: &Peer) -> Result<Pair> {
    let server = Server::start(bench, peer.name, peer.command, HELLO.object, false)?;
    HELLO.check(server.port).map_err(|error| format!("gives another answer: {error}"))?;
    let idle = proc::resident(server.pid())?;
    contest::load(server.port, CONNECTIONS, bench.options.seconds, false).run()?;
    Ok(Pair { idle, loaded: proc::resident(server.pid())? })
}
