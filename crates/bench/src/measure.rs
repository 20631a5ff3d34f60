//! What the throughput benchmarks share: every peer in turn, round after round, and a table of medians with ratios to the
//! subject.

use crate::child::Server;
use crate::load::{Found, Load};
use crate::options::Options;
use crate::peers::{Mode, Peer, SUBJECT};
use crate::table::{self, Table};
use crate::{proc, Result};
use std::time::Duration;

/// Load before the first measurement of a fresh process.
const WARM_UP_SECONDS: u32 = 1;

/// One measurement of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What the load generator found.
    pub found: Found,
    /// CPU the server's processes used meanwhile, per answer, in microseconds.
    pub cpu_micros: f64,
}

/// Puts load on a server, of this process id, and reads its CPU time before and after.
///
/// # Errors
///
/// When the load generator fails, the server is gone, or nothing was answered.
pub fn sample(pid: u32, load: &Load<'_>) -> Result<Sample> {
    let before = proc::cpu_time(pid)?;
    let found = load.run()?;
    let used = proc::cpu_time(pid)?.saturating_sub(before);
    if found.requests == 0 {
        return Err("answered nothing".into());
    }
    Ok(Sample { found, cpu_micros: used.as_secs_f64() * 1e6 / found.requests as f64 })
}

/// One throughput benchmark: how to start a peer, what to find out first, and what to ask.
pub struct Contest<'a> {
    /// What the peers are started for.
    pub mode: Mode,
    /// The connection counts, a table each.
    pub connections: &'a [usize],
    /// Whether the peer answers as it should; a remark for the table, if any.
    pub check: fn(u16) -> Result<Option<String>>,
    /// What an answer is counted as.
    pub unit: &'a str,
    /// The load, for a port and a number of connections.
    pub load: &'a dyn Fn(u16, usize) -> Load<'a>,
}

/// A peer's samples for each connection count, and what there is to say about it.
struct Entry {
    peer: &'static Peer,
    samples: Vec<Vec<Sample>>,
    remark: Option<String>,
    failure: Option<String>,
}

impl Contest<'_> {
    /// Measures all peers and prints a table for each connection count.
    ///
    /// # Errors
    ///
    /// When no peer at all can be measured.
    pub fn run(&self, options: &Options, title: &str) -> Result<()> {
        let mut entries: Vec<Entry> = options
            .peers
            .iter()
            .map(|&peer| Entry { peer, samples: vec![Vec::new(); self.connections.len()], remark: None, failure: None })
            .collect();
        for round in 0..options.rounds {
            // Nobody always goes first.
            let first = round % entries.len().max(1);
            entries.rotate_left(first);
            for entry in entries.iter_mut().filter(|entry| entry.failure.is_none()) {
                eprintln!("{title}: round {} of {}, {}", round + 1, options.rounds, entry.peer.name);
                entry.failure = self.round(options, entry).err();
            }
            entries.rotate_right(first);
        }
        for (index, connections) in self.connections.iter().enumerate() {
            let plural = if *connections == 1 { "" } else { "s" };
            let pinned = if options.pinned { "one core each" } else { "unpinned" };
            tabulate(&entries, index, self.unit).print(&format!("{title}, {connections} connection{plural}, {pinned}"));
        }
        Ok(())
    }

    fn round(&self, options: &Options, entry: &mut Entry) -> Result<()> {
        let server = Server::start(entry.peer, self.mode, options.pinned)?;
        entry.remark = (self.check)(server.port)?;
        let mut warm_up = (self.load)(server.port, 16);
        warm_up.seconds = WARM_UP_SECONDS;
        warm_up.run()?;
        for (samples, &connections) in entry.samples.iter_mut().zip(self.connections) {
            let load = (self.load)(server.port, connections);
            samples.push(sample(server.pid(), &load)?);
        }
        Ok(())
    }
}

fn tabulate(entries: &[Entry], index: usize, unit: &str) -> Table {
    let rate = |entry: &Entry| table::median(entry.samples[index].iter().map(|s| s.found.rate));
    let cpu = |entry: &Entry| table::median(entry.samples[index].iter().map(|s| s.cpu_micros));
    let subject = entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.failure.is_none());
    let (rate_column, cpu_column) = (format!("{unit}/s"), format!("CPU µs/{unit}"));
    let mut table = Table::new(&["peer", &rate_column, "amboss ÷ peer", &cpu_column, "amboss ÷ peer", "p99"]);
    for entry in entries {
        let name = entry.peer.name;
        if let Some(why) = &entry.failure {
            table.absent(name, why);
            continue;
        }
        let samples = &entry.samples[index];
        let p99 = table::median(samples.iter().map(|s| s.found.p99.as_secs_f64()));
        table.row(vec![
            name.into(),
            format!("{:.0}", rate(entry)),
            table::ratio(subject.map(rate), rate(entry)),
            format!("{:.2}", cpu(entry)),
            table::ratio(subject.map(cpu), cpu(entry)),
            match p99 {
                0.0 => "–".into(),
                _ => table::duration(Duration::from_secs_f64(p99)),
            },
        ]);
        if let Some(remark) = &entry.remark {
            table.note(name, remark);
        }
        let errors: u64 = samples.iter().map(|s| s.found.errors).sum();
        if errors > 0 {
            table.note(name, &format!("the client counted {errors} errors"));
        }
    }
    table
}
