//! An application that sleeps 50 ms in the server's threads, and four connections beside that ask it for something fast. With
//! more sleepers than threads: is every thread used? And what do those four notice then, and while a thread is left for them?

use super::contest;
use super::peers::{Peer, THREADS};
use super::rounds::{alternate, Entry};
use super::server::Server;
use super::Bench;
use crate::check::Client;
use crate::load::{Found, Load};
use crate::table::{self, Table};
use crate::Result;
use std::io;
use std::time::Duration;

/// Connections that ask for a nap, when they are many.
const MANY: usize = 64;
/// As many as leave one thread to others.
const FEW: usize = THREADS - 1;
/// Connections that ask for the fast path.
const FAST: usize = 4;
/// What `raw:naps` sleeps for `/sleep`, in seconds.
const NAP: f64 = 0.05;
/// The sleepers are there this much before and after the fast path is measured, in seconds.
const MARGIN: u32 = 1;

/// Naps and what is fast, at the same time.
struct Pair {
    sleeping: Found,
    fast: Found,
}

struct Measured {
    alone: Found,
    few: Pair,
    many: Pair,
}

impl Measured {
    fn all(&self) -> [Found; 5] {
        [self.alone, self.few.sleeping, self.few.fast, self.many.sleeping, self.many.fast]
    }
}

/// Measures and prints.
///
/// # Errors
///
/// None of its own: who can't be measured is told in the table.
pub fn run(bench: &Bench) -> Result<()> {
    let title =
        format!("Python, connections that sleep 50 ms in {THREADS} threads, {FAST} fast ones beside, one core each");
    let peers = bench.peers.iter().copied().filter(|peer| peer.has_threads);
    let entries = alternate(bench, &title, peers, |peer| one(bench, peer));
    tabulate(&entries).print(&title);
    Ok(())
}

fn one(bench: &Bench, peer: &Peer) -> Result<Measured> {
    let server = Server::start(bench, peer.name, peer.command, "raw:naps", true)?;
    check(server.port).map_err(|error| format!("gives another answer: {error}"))?;
    let seconds = bench.options.seconds;
    let alone = contest::load(server.port, FAST, seconds, true).run()?;
    let few = together(server.port, FEW, seconds)?;
    Ok(Measured { alone, few, many: together(server.port, MANY, seconds)? })
}

fn together(port: u16, sleepers: usize, seconds: u32) -> Result<Pair> {
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(move || {
            let load = contest::load(port, sleepers, seconds + 2 * MARGIN, true);
            Load { path: "/sleep", ..load }.run()
        });
        std::thread::sleep(Duration::from_secs(MARGIN.into()));
        let fast = contest::load(port, FAST, seconds, true).run();
        let sleeping = sleeping.join().map_err(|_| "the sleepers' thread panicked".to_owned())??;
        Ok(Pair { sleeping, fast: fast? })
    })
}

fn check(port: u16) -> io::Result<()> {
    for path in ["/", "/sleep"] {
        let mut client = Client::connect(port)?;
        client.send(path, "", 1)?;
        let answer = client.answer()?;
        if !answer.head.starts_with("http/1.1 200") || answer.body != path.as_bytes() {
            return Err(io::Error::other(format!("{path} is answered with {}", answer.head.trim())));
        }
    }
    Ok(())
}

fn tabulate(entries: &[Entry<Measured>]) -> Table {
    let possible = THREADS as f64 / NAP;
    let beside = |sleepers| format!("beside {sleepers}");
    let (few, many) = (beside(FEW), beside(MANY));
    let naps = format!("naps/s of {MANY}");
    let mut table = Table::new(&["server", &naps, "÷ possible", "fast p99 alone", &few, &many, "errors"]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let naps = entry.middle(|one| one.many.sleeping.rate);
        let time = |value: &dyn Fn(&Measured) -> Duration| {
            table::duration(Duration::from_secs_f64(entry.middle(|one| value(one).as_secs_f64())))
        };
        let errors: u64 = measured.iter().flat_map(Measured::all).map(|found| found.errors).sum();
        table.row(vec![
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{naps:.1}"),
            table::ratio(Some(naps), possible),
            time(&|one| one.alone.p99),
            time(&|one| one.few.fast.p99),
            time(&|one| one.many.fast.p99),
            errors.to_string(),
        ]);
    }
    table.note("possible", &format!("{possible:.0} naps/s; wrk does not count those it ends during"));
    table
}
