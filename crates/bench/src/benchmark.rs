//! What the throughput benchmarks have in common: each peer is measured in turn, in several rounds, and a table shows
//! the medians and their ratios to the subject.

use crate::load::Load;
use crate::load_report::LoadReport;
use crate::options::Options;
use crate::peers::{Mode, Peer, SUBJECT};
use crate::proc;
use crate::result::Result;
use crate::server_process::Server;
use crate::table::{self, Spread, Table, MISSING};

/// How long the load before the first measurement of a new process takes, in seconds.
const WARM_UP_SECONDS: u32 = 1;

/// What a table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Complete responses.
    Request,
    /// The bytes of all responses, complete or not.
    Mebibyte,
}

impl Unit {
    /// Its name in the columns.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Request => "req",
            Unit::Mebibyte => "MiB",
        }
    }
}

/// One measurement of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The result of the load generator.
    pub report: LoadReport,
    /// Units per second.
    pub rate: f64,
    /// The CPU time of the server's processes per unit, in microseconds.
    pub cpu_micros: f64,
}

/// Puts load on the server with this process id, and measures its CPU time.
///
/// # Errors
///
/// When the load generator fails, the server has ended, or there was no response.
pub fn sample(pid: u32, load: &Load<'_>, unit: Unit) -> Result<Sample> {
    let before = proc::cpu_time(pid)?;
    let report = load.run()?;
    let used = proc::cpu_time(pid)?.saturating_sub(before);
    let (count, rate) = match unit {
        Unit::Request => (report.responses as f64, report.rate),
        Unit::Mebibyte => (report.mib, report.mib_rate),
    };
    if count == 0.0 {
        return Err("did not respond".into());
    }
    Ok(Sample { report, rate, cpu_micros: used.as_secs_f64() * 1e6 / count })
}

/// A throughput benchmark: how to start a peer, what to check first, and which load to put on it.
pub struct Benchmark<'a> {
    /// The mode that peers are started in.
    pub mode: Mode,
    /// The numbers of connections, with a table for each.
    pub connections: &'a [usize],
    /// Checks that the peer responds correctly, and returns a note for the table, if any.
    pub check: &'a dyn Fn(u16) -> Result<Option<String>>,
    /// What is counted.
    pub unit: Unit,
    /// The load, for a port and a number of connections.
    pub load: &'a dyn Fn(u16, usize) -> Load<'a>,
}

/// A peer's samples of all rounds for each number of connections, a note for the table, and why it could not be
/// measured.
struct Entry {
    peer: &'static Peer,
    samples: Vec<Vec<Sample>>,
    note: Option<String>,
    failure: Option<String>,
}

impl Benchmark<'_> {
    /// Measures all peers and prints a table for each number of connections.
    ///
    /// # Errors
    ///
    /// None: the table says why a peer cannot be measured.
    pub fn run(&self, options: &Options, title: &str) -> Result<()> {
        let mut entries: Vec<Entry> = options
            .peers
            .iter()
            .map(|&peer| Entry { peer, samples: vec![Vec::new(); self.connections.len()], note: None, failure: None })
            .collect();
        for round in 0..options.rounds {
            // Each round begins with another peer.
            let first = round % entries.len().max(1);
            entries.rotate_left(first);
            for entry in entries.iter_mut().filter(|entry| entry.failure.is_none()) {
                eprintln!("{title}: round {} of {}, {}", round + 1, options.rounds, entry.peer.name);
                entry.failure = self.measure(options, entry).err();
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

    fn measure(&self, options: &Options, entry: &mut Entry) -> Result<()> {
        let server = Server::start(entry.peer, self.mode, options.pinned)?;
        entry.note = (self.check)(server.port)?;
        let most = self.connections.iter().copied().max().unwrap_or(1);
        let mut warm_up = (self.load)(server.port, most.min(16));
        warm_up.seconds = WARM_UP_SECONDS;
        warm_up.run()?;
        for (samples, &connections) in entry.samples.iter_mut().zip(self.connections) {
            let load = (self.load)(server.port, connections);
            samples.push(sample(server.pid(), &load, self.unit)?);
        }
        Ok(())
    }
}

fn tabulate(entries: &[Entry], index: usize, unit: Unit) -> Table {
    let rates = |entry: &Entry| -> Vec<f64> { entry.samples[index].iter().map(|sample| sample.rate).collect() };
    let cpu = |entry: &Entry| -> Vec<f64> { entry.samples[index].iter().map(|sample| sample.cpu_micros).collect() };
    let subject = entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.failure.is_none());
    let ratio = |values: &dyn Fn(&Entry) -> Vec<f64>, entry: &Entry| {
        table::ratio_cell(subject.and_then(|subject| Spread::of_ratios(&values(subject), &values(entry))))
    };
    let (rate_column, cpu_column) = (format!("{}/s", unit.name()), format!("CPU µs/{}", unit.name()));
    let mut table = Table::new(&["peer", &rate_column, "amboss ÷ peer", &cpu_column, "amboss ÷ peer", "p99"]);
    for entry in entries {
        let name = entry.peer.name;
        if let Some(reason) = &entry.failure {
            table.missing_row(name, reason);
            continue;
        }
        let samples = &entry.samples[index];
        let p99 = || samples.iter().map(|sample| sample.report.p99.as_secs_f64());
        table.row(vec![
            name.into(),
            format!("{:.0}", table::median(rates(entry))),
            ratio(&rates, entry),
            format!("{:.2}", table::median(cpu(entry))),
            ratio(&cpu, entry),
            if table::median(p99()) == 0.0 { MISSING.into() } else { table::median_duration(p99()) },
        ]);
        if let Some(note) = &entry.note {
            table.note(name, note);
        }
        let errors: u64 = samples.iter().map(|sample| sample.report.errors).sum();
        if errors > 0 {
            table.note(name, &format!("the client counted {errors} errors"));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;
    use std::time::Duration;

    fn entry(name: &str, rounds: &[(f64, f64)], failure: Option<&str>) -> Entry {
        let sample = |&(rate, cpu_micros)| {
            let p99 = Duration::from_millis(1);
            let report = LoadReport { responses: 1, rate, mib: 0.0, mib_rate: 0.0, p99, errors: 0 };
            Sample { report, rate, cpu_micros }
        };
        let samples = vec![rounds.iter().map(sample).collect()];
        Entry { peer: peers::find(name).expect("known"), samples, note: None, failure: failure.map(str::to_owned) }
    }

    #[test]
    fn the_table_shows_the_spread_of_each_ratio() {
        let entries = [
            entry(SUBJECT, &[(100.0, 5.0), (150.0, 5.0), (240.0, 5.0)], None),
            entry("hyper", &[(100.0, 10.0), (100.0, 20.0), (120.0, 5.0)], None),
            entry("nginx", &[], Some("is not installed")),
        ];
        let expected = "\
| peer   | req/s |       amboss ÷ peer | CPU µs/req |       amboss ÷ peer |     p99 |
| ------ | ----: | ------------------: | ---------: | ------------------: | ------: |
| amboss |   150 | 1.00 (1.00 to 1.00) |       5.00 | 1.00 (1.00 to 1.00) | 1.00 ms |
| hyper  |   100 | 1.50 (1.00 to 2.00) |      10.00 | 0.50 (0.25 to 1.00) | 1.00 ms |
| nginx  |     – |                   – |          – |                   – |       – |

- nginx: is not installed
";
        assert_eq!(tabulate(&entries, 0, Unit::Request).markdown(), expected);
    }

    #[test]
    fn without_the_subject_there_are_no_ratios() {
        let table = tabulate(&[entry("hyper", &[(100.0, 10.0)], None)], 0, Unit::Request);
        assert!(table.markdown().contains("| hyper |   100 |             – |      10.00 |             – | 1.00 ms |"));
    }
}
