//! A Flask application that computes, alone and while files are downloaded beside it at a bounded rate. A server that
//! sends files without the interpreter's lock leaves the application's rate as it is.

use super::bench::Bench;
use super::mounts::{self, App};
use super::peers::Peer;
use super::rounds::{measure_in_rounds, Entry};
use super::throughput;
use crate::file_folder::MEDIUM;
use crate::load::{Load, Script};
use crate::load_report::LoadReport;
use crate::result::Result;
use crate::table::{self, Spread, Table};
use std::time::Duration;

/// The number of connections that request the application.
const CONNECTIONS: usize = 4;
/// The number of connections that download files.
const DOWNLOADS: usize = 8;
/// How long each download waits for the next one. With [`DOWNLOADS`] connections, there are at most 800 files a second,
/// which take a few per cent of a core where they are sent by `sendfile`.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the downloads run before and after the application is measured, in seconds.
const MARGIN: u32 = 1;

/// The application alone, beside the downloads, and the downloads.
struct Measured {
    alone: LoadReport,
    beside: LoadReport,
    downloads: LoadReport,
}

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When none of the peers serves files, or the files or the application cannot be prepared.
pub fn run(bench: &Bench) -> Result<()> {
    mounts::prepare(bench)?;
    let script = Script::waiting(PAUSE)?;
    for &pinned in &bench.options.pinned {
        let how = if pinned { "one core each" } else { "unpinned" };
        let title = format!(
            "Python, Flask that computes 1 ms on {CONNECTIONS} connections, files of {} on {DOWNLOADS} beside, {how}",
            MEDIUM.title
        );
        let peers = mounts::peers(bench);
        let entries = measure_in_rounds(bench, &title, peers, |peer| measure(bench, peer, &script, pinned));
        tabulate(&entries).print(&title);
    }
    Ok(())
}

fn measure(bench: &Bench, peer: &'static Peer, script: &Script, pinned: bool) -> Result<Measured> {
    let server = mounts::start(bench, peer, App::Computing, pinned)?;
    let (port, seconds, path) = (server.port, bench.options.seconds, mounts::path(&MEDIUM));
    mounts::check(port, &MEDIUM).map_err(|error| format!("sends {} wrong: {error}", MEDIUM.title))?;
    throughput::warm_up(port, "/", pinned)?;
    let compute = || throughput::load(port, CONNECTIONS, seconds, pinned).run();
    let alone = compute()?;
    std::thread::scope(|scope| {
        let downloads = scope.spawn(|| {
            let load = throughput::load(port, DOWNLOADS, seconds + 2 * MARGIN, pinned);
            Load { path: &path, script: Some(script), ..load }.run()
        });
        std::thread::sleep(Duration::from_secs(MARGIN.into()));
        let beside = compute();
        let downloads = downloads.join().map_err(|_| "the thread of the downloads panicked".to_owned())??;
        Ok(Measured { alone, beside: beside?, downloads })
    })
}

fn tabulate(entries: &[Entry<Measured>]) -> Table {
    let mut table = Table::new(&[
        "server",
        "req/s alone",
        "beside",
        "beside ÷ alone",
        "p99 alone",
        "beside",
        "files/s beside",
        "errors",
    ]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let rates = |report: &dyn Fn(&Measured) -> LoadReport| entry.values(|round| report(round).rate);
        let (alone, beside) = (rates(&|round| round.alone), rates(&|round| round.beside));
        let all = measured.iter().flat_map(|round| [round.alone, round.beside, round.downloads]);
        let errors: u64 = all.map(|report| report.errors).sum();
        table.row(vec![
            // Error responses may be faster than correct ones.
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{:.0}", table::median(alone.iter().copied())),
            format!("{:.0}", table::median(beside.iter().copied())),
            table::ratio_cell(Spread::of_ratios(&beside, &alone)),
            table::median_duration(entry.values(|round| round.alone.p99.as_secs_f64())),
            table::median_duration(entry.values(|round| round.beside.p99.as_secs_f64())),
            format!("{:.0}", table::median(rates(&|round| round.downloads))),
            errors.to_string(),
        ]);
    }
    table.note(
        "files",
        "at most 800 a second, and fewer where a download takes as long as the pause of 10 ms before it",
    );
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::peers::PEERS;

    #[test]
    fn the_rate_beside_the_downloads_is_divided_by_the_rate_alone() {
        let report = |rate| LoadReport {
            responses: 1,
            rate,
            mib: 1.0,
            mib_rate: rate,
            p99: Duration::from_millis(1),
            errors: 0,
        };
        let round = |alone, beside| Measured { alone: report(alone), beside: report(beside), downloads: report(700.0) };
        let outcome = Ok(vec![round(100.0, 50.0), round(200.0, 200.0), round(100.0, 90.0)]);
        let table = tabulate(&[Entry { peer: &PEERS[0], outcome }]).markdown();
        let cells: Vec<_> = table.split('|').map(str::trim).collect();
        assert!(cells.contains(&"0.90 (0.50 to 1.00)") && cells.contains(&"700"), "{table}");
    }
}
