//! Eight connections whose application sleeps 100 ms, and sixteen others that want to be fast: what do those notice?

use crate::check::Client;
use crate::child::Server;
use crate::load::{Found, Load};
use crate::options::Options;
use crate::peers::{Mode, Peer};
use crate::table::{self, Table};
use crate::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SLEEPERS: usize = 8;
const FAST: usize = 16;

/// The fast path alone, and beside the sleepers.
struct Pair {
    alone: Found,
    beside: Found,
}

/// Measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(options: &Options) -> Result<()> {
    let mut outcomes: Vec<(&Peer, Result<Vec<Pair>>)> =
        options.peers.iter().map(|&peer| (peer, Ok(Vec::new()))).collect();
    for round in 0..options.rounds {
        for (peer, outcome) in &mut outcomes {
            let Ok(pairs) = outcome else { continue };
            eprintln!("slow: round {} of {}, {}", round + 1, options.rounds, peer.name);
            match measure(peer, options) {
                Ok(pair) => pairs.push(pair),
                Err(why) => *outcome = Err(why),
            }
        }
    }
    tabulate(&outcomes).print("A fast path beside 8 connections that sleep 100 ms, 16 connections");
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
        let sleepers: Vec<_> = (0..SLEEPERS).map(|_| scope.spawn(|| sleeper(port, &done))).collect();
        let beside = fast(options.seconds);
        done.store(true, Ordering::Relaxed);
        for sleeper in sleepers {
            match sleeper.join() {
                Ok(Ok(0)) => return Err("a sleeping connection was never answered".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(format!("a sleeping connection failed: {error}")),
                Err(_) => return Err("a sleeping connection panicked".into()),
            }
        }
        beside
    })?;
    Ok(Pair { alone, beside })
}

/// Asks for `/slow` over and over; returns how often it was answered.
fn sleeper(port: u16, done: &AtomicBool) -> std::io::Result<u64> {
    let mut client = Client::connect(port)?;
    let mut answers = 0;
    while !done.load(Ordering::Relaxed) {
        client.send("/slow", "", 1)?;
        client.receive()?;
        answers += 1;
    }
    Ok(answers)
}

fn tabulate(outcomes: &[(&Peer, Result<Vec<Pair>>)]) -> Table {
    let mut table = Table::new(&["peer", "alone req/s", "beside req/s", "beside ÷ alone", "alone p99", "beside p99"]);
    for (peer, outcome) in outcomes {
        let pairs = match outcome {
            Ok(pairs) => pairs,
            Err(why) => {
                table.absent(peer.name, why);
                continue;
            }
        };
        let middle = |value: &dyn Fn(&Pair) -> f64| table::median(pairs.iter().map(value));
        let time = |value: &dyn Fn(&Pair) -> Duration| {
            table::duration(Duration::from_secs_f64(middle(&|pair| value(pair).as_secs_f64())))
        };
        table.row(vec![
            peer.name.into(),
            format!("{:.0}", middle(&|pair| pair.alone.rate)),
            format!("{:.0}", middle(&|pair| pair.beside.rate)),
            format!("{:.2}", middle(&|pair| pair.beside.rate / pair.alone.rate)),
            time(&|pair| pair.alone.p99),
            time(&|pair| pair.beside.p99),
        ]);
    }
    table
}
