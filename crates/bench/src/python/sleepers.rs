//! An application that sleeps 50 ms in the threads of the server, and four more connections that ask for something
//! fast. With more sleepers than threads, the table shows whether the server uses every thread, and how long the fast
//! connections have to wait; with fewer, how long they wait while a thread is free.

use super::bench::Bench;
use super::peers::{Peer, THREADS};
use super::rounds::{measure_in_rounds, Entry};
use super::server::Server;
use super::throughput;
use crate::http_client::HttpClient;
use crate::load::Load;
use crate::load_report::LoadReport;
use crate::result::Result;
use crate::table::{self, Spread, Table};
use std::io;
use std::time::Duration;

/// The larger number of connections that sleep.
const MANY: usize = 64;
/// The smaller number of connections that sleep, which leaves one thread free.
const FEW: usize = THREADS - 1;
/// The number of connections that ask for the fast path.
const FAST: usize = 4;
/// How long `raw:naps` sleeps for `/sleep`, in seconds.
const SLEEP: f64 = 0.05;
/// How long the sleepers run before and after the fast path is measured, in seconds.
const MARGIN: u32 = 1;

/// The results of the sleepers and of the fast path at the same time.
struct Pair {
    sleeping: LoadReport,
    fast: LoadReport,
}

struct Measured {
    alone: LoadReport,
    few: Pair,
    many: Pair,
}

impl Measured {
    fn all(&self) -> [LoadReport; 5] {
        [self.alone, self.few.sleeping, self.few.fast, self.many.sleeping, self.many.fast]
    }
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// None: the table says why a peer cannot be measured.
pub fn run(bench: &Bench) -> Result<()> {
    let title =
        format!("Python, connections that sleep 50 ms in {THREADS} threads, {FAST} fast ones beside, one core each");
    let peers = bench.peers.iter().copied().filter(|peer| peer.has_threads);
    let entries = measure_in_rounds(bench, &title, peers, |peer| measure(bench, peer));
    tabulate(&entries).print(&title);
    Ok(())
}

fn measure(bench: &Bench, peer: &Peer) -> Result<Measured> {
    let server = Server::start(bench, peer.name, peer.command, "raw:naps", true)?;
    check(server.port).map_err(|error| format!("sends a wrong response: {error}"))?;
    let seconds = bench.options.seconds;
    let alone = throughput::load(server.port, FAST, seconds, true).run()?;
    let few = measure_with_sleepers(server.port, FEW, seconds)?;
    Ok(Measured { alone, few, many: measure_with_sleepers(server.port, MANY, seconds)? })
}

fn measure_with_sleepers(port: u16, sleepers: usize, seconds: u32) -> Result<Pair> {
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(move || {
            let load = throughput::load(port, sleepers, seconds + 2 * MARGIN, true);
            Load { path: "/sleep", ..load }.run()
        });
        std::thread::sleep(Duration::from_secs(MARGIN.into()));
        let fast = throughput::load(port, FAST, seconds, true).run();
        let sleeping = sleeping.join().map_err(|_| "the thread of the sleepers panicked".to_owned())??;
        Ok(Pair { sleeping, fast: fast? })
    })
}

fn check(port: u16) -> io::Result<()> {
    for path in ["/", "/sleep"] {
        let mut client = HttpClient::connect(port)?;
        client.send(path, "", 1)?;
        let response = client.read_response()?;
        if !response.head.starts_with("http/1.1 200") || response.body != path.as_bytes() {
            return Err(io::Error::other(format!("the response to {path} is {}", response.head.trim())));
        }
    }
    Ok(())
}

fn tabulate(entries: &[Entry<Measured>]) -> Table {
    let possible = THREADS as f64 / SLEEP;
    let beside = |sleepers| format!("beside {sleepers}");
    let (few, many) = (beside(FEW), beside(MANY));
    let naps = format!("naps/s of {MANY}");
    let mut table = Table::new(&["server", &naps, "÷ possible", "fast p99 alone", &few, &many, "errors"]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let naps = entry.values(|round| round.many.sleeping.rate);
        let time = |value: &dyn Fn(&Measured) -> Duration| {
            table::median_duration(entry.values(|round| value(round).as_secs_f64()))
        };
        let errors: u64 = measured.iter().flat_map(Measured::all).map(|report| report.errors).sum();
        table.row(vec![
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{:.1}", table::median(naps.iter().copied())),
            table::ratio_cell(Spread::of_ratios(&naps, &vec![possible; naps.len()])),
            time(&|round| round.alone.p99),
            time(&|round| round.few.fast.p99),
            time(&|round| round.many.fast.p99),
            errors.to_string(),
        ]);
    }
    table
        .note("possible", &format!("{possible:.0} naps/s; wrk does not count those that are unfinished when it stops"));
    table
}
