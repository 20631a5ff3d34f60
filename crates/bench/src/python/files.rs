//! Static files in front of a WSGI application: the servers that send them without Python, compared with Werkzeug's
//! middleware.

use super::bench::Bench;
use super::mounts::{self, App};
use super::peers::Peer;
use super::rounds::{measure_in_rounds, Entry};
use super::throughput;
use crate::benchmark::{self, Sample, Unit};
use crate::file_folder::{SizedFile, LARGE, MEDIUM, SMALL};
use crate::load::Load;
use crate::result::Result;
use crate::table::{self, Spread, Table, MISSING};

/// A file, the number of connections, and what is counted, with a table for each.
const CASES: [(SizedFile, usize, Unit); 5] = [
    (SMALL, 16, Unit::Request),
    (SMALL, 64, Unit::Request),
    (MEDIUM, 16, Unit::Request),
    (MEDIUM, 64, Unit::Request),
    (LARGE, 4, Unit::Mebibyte),
];

/// The server that is compared with the others.
const SUBJECT: &str = "amboss";

/// The measurements of one peer in one round.
struct Measured {
    /// A sample for each of [`CASES`].
    samples: Vec<Sample>,
    notes: Vec<&'static str>,
}

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When none of the peers serves files, or the files or the application cannot be prepared.
pub fn run(bench: &Bench) -> Result<()> {
    mounts::prepare(bench)?;
    for &pinned in &bench.options.pinned {
        let how = if pinned { "one core each" } else { "unpinned" };
        let title = format!("Python, files before an application, {how}");
        let entries = measure_in_rounds(bench, &title, mounts::peers(bench), |peer| measure(bench, peer, pinned));
        for (index, (file, connections, unit)) in CASES.iter().enumerate() {
            tabulate(&entries, index, *unit)
                .print(&format!("Python, files of {}, {how}, {connections} connections", file.title));
        }
    }
    Ok(())
}

fn measure(bench: &Bench, peer: &'static Peer, pinned: bool) -> Result<Measured> {
    let server = mounts::start(bench, peer, App::Hello, pinned)?;
    let mut notes = Vec::new();
    for file in [SMALL, MEDIUM, LARGE] {
        notes = mounts::check(server.port, &file).map_err(|error| format!("sends {} wrong: {error}", file.title))?;
    }
    throughput::warm_up(server.port, &mounts::path(&SMALL), pinned)?;
    let sample = |(file, connections, unit): &(SizedFile, usize, Unit)| {
        let load = throughput::load(server.port, *connections, bench.options.seconds, pinned);
        benchmark::sample(server.pid(), &Load { path: &mounts::path(file), ..load }, *unit)
    };
    Ok(Measured { samples: CASES.iter().map(sample).collect::<Result<_>>()?, notes })
}

fn tabulate(entries: &[Entry<Measured>], index: usize, unit: Unit) -> Table {
    let rate = |round: &Measured| round.samples[index].rate;
    let cpu = |round: &Measured| round.samples[index].cpu_micros;
    let subject = entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.outcome.is_ok());
    let ratio = |entry: &Entry<Measured>, value: &dyn Fn(&Measured) -> f64| {
        table::ratio_cell(subject.and_then(|subject| Spread::of_ratios(&subject.values(value), &entry.values(value))))
    };
    let (rate_column, cpu_column) = (format!("{}/s", unit.name()), format!("CPU µs/{}", unit.name()));
    let mut table =
        Table::new(&["server", &rate_column, "amboss ÷ server", &cpu_column, "amboss ÷ server", "p99", "errors"]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let errors: u64 = measured.iter().map(|round| round.samples[index].report.errors).sum();
        let mut p99 = entry.values(|round| round.samples[index].report.p99.as_secs_f64());
        p99.retain(|&seconds| seconds > 0.0);
        table.row(vec![
            // Error responses may be faster than correct ones.
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{:.0}", entry.median(rate)),
            ratio(entry, &rate),
            format!("{:.1}", entry.median(cpu)),
            ratio(entry, &cpu),
            // Zero: no response was complete when the load ended.
            if p99.is_empty() { MISSING.into() } else { table::median_duration(p99) },
            errors.to_string(),
        ]);
        for note in measured.first().into_iter().flat_map(|round| &round.notes) {
            table.note(name, note);
        }
    }
    table
}
