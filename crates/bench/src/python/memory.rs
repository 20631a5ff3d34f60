//! Resident memory with the smallest application: after the first answer, and after the hello load.

use super::contest::{self, HELLO};
use super::peers::{Peer, SUBJECT};
use super::rounds::{alternate, Entry};
use super::server::Server;
use super::Bench;
use crate::table::Table;
use crate::{proc, Result};

/// Connections of the load; those of the larger throughput table.
const CONNECTIONS: usize = 64;

/// Resident memory of a server's processes, in KiB.
#[derive(Clone, Copy)]
struct Resident {
    /// All of it.
    rss: f64,
    /// The same with each shared page divided among those that map it, others on this machine included.
    pss: f64,
}

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
    let idle = resident(server.pid())?;
    contest::load(server.port, CONNECTIONS, bench.options.seconds, false).run()?;
    Ok(Pair { idle, loaded: resident(server.pid())? })
}

fn resident(pid: u32) -> Result<Resident> {
    let mut sum = Resident { rss: 0.0, pss: 0.0 };
    for pid in proc::family(pid) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .map_err(|error| format!("the memory of process {pid} can't be read: {error}"))?;
        sum.rss += kib(&text, "Rss:");
        sum.pss += kib(&text, "Pss:");
    }
    Ok(sum)
}

/// A line of proc(5)'s smaps_rollup: `Pss:      5012 kB`.
fn kib(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let text = "55d0-7ffc ---p 00000000 00:00 0  [rollup]\nRss:    9012 kB\nPss:    5012 kB\nPss_Dirty: 12 kB\n";
        assert_eq!((kib(text, "Rss:"), kib(text, "Pss:"), kib(text, "Swap:")), (9012.0, 5012.0, 0.0));
        assert!(resident(std::process::id()).expect("this process lives").pss > 0.0);
    }
}
