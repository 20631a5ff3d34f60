//! Eight connections whose application sleeps 100 ms, and sixteen others that ask for something fast: how much slower
//! are the fast ones next to the sleeping ones?

use crate::http_client::HttpClient;
use crate::load::Load;
use crate::load_report::LoadReport;
use crate::options::Options;
use crate::peers::{Mode, Peer};
use crate::result::Result;
use crate::server_process::Server;
use crate::table::{self, Spread, Table};
use std::sync::atomic::{AtomicBool, Ordering};

const SLEEPERS: usize = 8;
const FAST: usize = 16;

/// The fast path alone, and next to the sleeping connections.
struct Pair {
    alone: LoadReport,
    beside: LoadReport,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// None: the table says why a peer cannot be measured.
pub fn run(options: &Options) -> Result<()> {
    let mut outcomes: Vec<(&Peer, Result<Vec<Pair>>)> =
        options.peers.iter().map(|&peer| (peer, Ok(Vec::new()))).collect();
    for round in 0..options.rounds {
        for (peer, outcome) in &mut outcomes {
            let Ok(pairs) = outcome else { continue };
            eprintln!("slow: round {} of {}, {}", round + 1, options.rounds, peer.name);
            match measure(peer, options) {
                Ok(pair) => pairs.push(pair),
                Err(reason) => *outcome = Err(reason),
            }
        }
    }
    tabulate(&outcomes).print("A fast path next to 8 connections that sleep 100 ms, 16 connections");
    Ok(())
}

fn measure(peer: &Peer, options: &Options) -> Result<Pair> {
    if !peer.has_slow {
        return Err("runs no application that could sleep".into());
    }
    let server = Server::start(peer, Mode::Slow, options.pinned)?;
    let port = server.port;
    let fast = |seconds| Load { path: "/fast", seconds, ..Load::new(options, port, FAST) }.run();
    fast(1)?;
    let alone = fast(options.seconds)?;

    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let sleepers: Vec<_> = (0..SLEEPERS).map(|_| scope.spawn(|| request_slow(port, &done))).collect();
        let beside = fast(options.seconds);
        done.store(true, Ordering::Relaxed);
        for sleeper in sleepers {
            match sleeper.join() {
                Ok(Ok(0)) => return Err("a sleeping connection got no response".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(format!("a sleeping connection failed: {error}")),
                Err(_) => return Err("a sleeping connection panicked".into()),
            }
        }
        beside
    })?;
    Ok(Pair { alone, beside })
}

/// Requests `/slow` repeatedly until `done` is set, and returns the number of responses.
fn request_slow(port: u16, done: &AtomicBool) -> std::io::Result<u64> {
    let mut client = HttpClient::connect(port)?;
    let mut responses = 0;
    while !done.load(Ordering::Relaxed) {
        client.send("/slow", "", 1)?;
        client.receive()?;
        responses += 1;
    }
    Ok(responses)
}

fn tabulate(outcomes: &[(&Peer, Result<Vec<Pair>>)]) -> Table {
    let mut table = Table::new(&["peer", "alone req/s", "beside req/s", "beside ÷ alone", "alone p99", "beside p99"]);
    for (peer, outcome) in outcomes {
        let pairs = match outcome {
            Ok(pairs) => pairs,
            Err(reason) => {
                table.missing_row(peer.name, reason);
                continue;
            }
        };
        let alone: Vec<f64> = pairs.iter().map(|pair| pair.alone.rate).collect();
        let beside: Vec<f64> = pairs.iter().map(|pair| pair.beside.rate).collect();
        table.row(vec![
            peer.name.into(),
            format!("{:.0}", table::median(alone.iter().copied())),
            format!("{:.0}", table::median(beside.iter().copied())),
            table::ratio_cell(Spread::of_ratios(&beside, &alone)),
            table::median_duration(pairs.iter().map(|pair| pair.alone.p99.as_secs_f64())),
            table::median_duration(pairs.iter().map(|pair| pair.beside.p99.as_secs_f64())),
        ]);
    }
    table
}
