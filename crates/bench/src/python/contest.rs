//! Throughput: each server in turn under wrk, CPU time of its processes read beside, all compared with bjoern.

use super::peers::{Peer, RUST, SUBJECT};
use super::rounds::{alternate, Entry};
use super::server::Server;
use super::Bench;
use crate::check::{field, Client};
use crate::load::{Carrier, Load, Script};
use crate::measure::{self, Sample};
use crate::table::{self, Table};
use crate::Result;
use std::io::{self, Write};
use std::time::Duration;

/// wrk's connections, a table for each number.
const CONNECTIONS: [usize; 2] = [16, 64];

/// Load before the first measurement of a fresh process, in seconds.
const WARM_UP: u32 = 1;

/// What is asked for.
pub struct Page {
    title: &'static str,
    /// `module:object` of the application.
    pub object: &'static str,
    /// What the application needs besides the server, by its name in the requirements.
    needs: Option<&'static str>,
    /// Bytes posted with each request, or none.
    upload: Option<usize>,
    /// Who else takes part.
    beside: Option<&'static Peer>,
    /// The answer.
    body: fn() -> String,
}

/// The smallest application.
pub const HELLO: Page = Page {
    title: "Raw hello",
    object: "raw:hello",
    needs: None,
    upload: None,
    beside: None,
    body: || "Hello, World!".into(),
};

/// The same in Flask, whose own work is most of it.
pub const FLASK: Page = Page { title: "Flask hello", object: "flasked:app", needs: Some("flask"), ..HELLO };

/// 10 KiB in one block.
pub const TEN: Page = Page { title: "10 KiB answers", object: "raw:ten_kib", body: || "x".repeat(10 << 10), ..HELLO };

/// 100 KiB read in pieces; the answer is how much it was.
pub const UPLOAD: Page = Page {
    title: "100 KiB uploads",
    object: "raw:upload",
    upload: Some(100 << 10),
    beside: Some(&RUST),
    body: || (100 << 10).to_string(),
    ..HELLO
};

/// The same with 10 MiB.
pub const LARGE_UPLOAD: Page =
    Page { title: "10 MiB uploads", upload: Some(10 << 20), body: || (10 << 20).to_string(), ..UPLOAD };

/// One peer in one round.
struct Measured {
    /// For each number of connections.
    samples: Vec<Sample>,
    remarks: Vec<&'static str>,
}

/// Measures and prints.
///
/// # Errors
///
/// When what the application needs can't be had.
pub fn run(bench: &Bench, page: &Page) -> Result<()> {
    page.needs.map_or(Ok(()), |package| bench.environment.require(package))?;
    let script = page.upload.map(Script::posting).transpose()?;
    for &pinned in &bench.options.pinned {
        let how = if pinned { "one core each" } else { "unpinned" };
        let title = format!("Python, {}, {how}", page.title);
        let peers = bench.peers.iter().copied().chain(page.beside);
        let entries = alternate(bench, &title, peers, |peer| one(bench, page, script.as_ref(), peer, pinned));
        for (index, connections) in CONNECTIONS.iter().enumerate() {
            tabulate(&entries, index).print(&format!("{title}, {connections} connections"));
        }
    }
    Ok(())
}

fn one(bench: &Bench, page: &Page, script: Option<&Script>, peer: &'static Peer, pinned: bool) -> Result<Measured> {
    let server = Server::start(bench, peer.name, peer.command, page.object, pinned)?;
    let remarks = page.check(server.port).map_err(|error| format!("gives another answer: {error}"))?;
    let load = |connections, seconds| Load { script, ..load(server.port, connections, seconds, pinned) };
    load(CONNECTIONS[0], WARM_UP).run()?;
    let sample = |&connections| measure::sample(server.pid(), &load(connections, bench.options.seconds));
    Ok(Measured { samples: CONNECTIONS.iter().map(sample).collect::<Result<_>>()?, remarks })
}

/// Plain requests for `/`.
pub fn load<'a>(port: u16, connections: usize, seconds: u32, pinned: bool) -> Load<'a> {
    Load { port, path: "/", connections, seconds, pinned, carrier: Carrier::Clear, field: None, script: None }
}

impl Page {
    /// Whether this server answers as it should: a benchmark of errors is fast. Returns what it leaves out.
    pub fn check(&self, port: u16) -> io::Result<Vec<&'static str>> {
        let mut client = Client::connect(port)?;
        let answer = self.ask(&mut client)?;
        let mut remarks = Vec::new();
        if field(&answer, "date").is_none() {
            remarks.push("sends no Date");
        }
        if self.ask(&mut client).is_err() {
            remarks.push("closes every connection");
        }
        Ok(remarks)
    }

    /// Asks once and returns the answer's head.
    fn ask(&self, client: &mut Client) -> io::Result<String> {
        match self.upload {
            None => client.send("/", "", 1)?,
            Some(length) => {
                let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
                client.stream.write_all(&[head.as_bytes(), &vec![b'x'; length]].concat())?;
            }
        }
        let answer = client.answer()?;
        let expected = (self.body)();
        match (answer.head.starts_with("http/1.1 200"), answer.body == expected.as_bytes()) {
            (true, true) => Ok(answer.head),
            (false, _) => Err(io::Error::other(format!("the status is not 200: {}", answer.head.trim()))),
            (true, false) => Err(io::Error::other(format!("the body is another one, after {}", answer.head.trim()))),
        }
    }
}

fn tabulate(entries: &[Entry<Measured>], index: usize) -> Table {
    let rate = |entry: &Entry<Measured>| entry.middle(|one| one.samples[index].found.rate);
    let cpu = |entry: &Entry<Measured>| entry.middle(|one| one.samples[index].cpu_micros);
    let subject = entries.iter().find(|entry| entry.peer.name == SUBJECT && entry.outcome.is_ok());
    let compared = |of: &dyn Fn(&Entry<Measured>) -> f64, entry| match subject {
        Some(subject) => table::ratio(Some(of(entry)), of(subject)),
        None => table::ratio(None, 0.0),
    };
    let mut table = Table::new(&["server", "req/s", "÷ bjoern", "CPU µs/req", "÷ bjoern", "p99", "errors"]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let errors: u64 = measured.iter().map(|one| one.samples[index].found.errors).sum();
        let p99 = Duration::from_secs_f64(entry.middle(|one| one.samples[index].found.p99.as_secs_f64()));
        table.row(vec![
            // Who fails to answer may well be fast.
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{:.0}", rate(entry)),
            compared(&rate, entry),
            format!("{:.1}", cpu(entry)),
            compared(&cpu, entry),
            table::duration(p99),
            errors.to_string(),
        ]);
        for remark in measured.first().into_iter().flat_map(|one| &one.remarks) {
            table.note(name, remark);
        }
    }
    table
}
