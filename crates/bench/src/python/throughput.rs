//! Throughput and CPU time under the load of wrk, for each server in turn, compared with bjoern.

use super::bench::Bench;
use super::peers::{Peer, RUST};
use super::rounds::{measure_in_rounds, ratio_to, subject, Entry};
use super::server::Server;
use crate::benchmark::{self, Sample, Unit};
use crate::http_client::{field, HttpClient};
use crate::load::{Load, Scheme, Script};
use crate::result::Result;
use crate::table::{self, Table};
use std::io::{self, Write};

/// The numbers of connections, with a table for each.
pub const CONNECTIONS: [usize; 2] = [16, 64];

/// How long the load before the first measurement of a new process takes, in seconds.
const WARM_UP_SECONDS: u32 = 1;

/// An application, the requests to it, and the expected response.
pub struct Workload {
    title: &'static str,
    /// `module:object` of the application.
    pub object: &'static str,
    /// The package that the application needs, by its name in the requirements.
    package: Option<&'static str>,
    /// The length of the request body; `None` for GET requests.
    upload: Option<usize>,
    /// A further peer of this table.
    additional_peer: Option<&'static Peer>,
    /// The body of the response.
    body: fn() -> String,
}

/// The smallest application.
pub const HELLO: Workload = Workload {
    title: "Raw hello",
    object: "raw:hello",
    package: None,
    upload: None,
    additional_peer: None,
    body: || "Hello, World!".into(),
};

/// As [`HELLO`], with Flask, which takes most of the time.
pub const FLASK: Workload = Workload { title: "Flask hello", object: "flasked:app", package: Some("flask"), ..HELLO };

/// A response of 10 KiB in one block.
pub const TEN_KIB: Workload =
    Workload { title: "10 KiB responses", object: "raw:ten_kib", body: || "x".repeat(10 << 10), ..HELLO };

/// A request body of 100 KiB, which is read in pieces; the response is its length.
pub const UPLOAD: Workload = Workload {
    title: "100 KiB uploads",
    object: "raw:upload",
    upload: Some(100 << 10),
    additional_peer: Some(&RUST),
    body: || (100 << 10).to_string(),
    ..HELLO
};

/// A request body of 10 MiB.
pub const LARGE_UPLOAD: Workload =
    Workload { title: "10 MiB uploads", upload: Some(10 << 20), body: || (10 << 20).to_string(), ..UPLOAD };

/// The measurements of one peer in one round.
pub struct Measured {
    /// A sample for each number of connections.
    pub samples: Vec<Sample>,
    /// What the table says about the peer besides.
    pub notes: Vec<&'static str>,
}

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When a package that the application needs cannot be installed.
pub fn run(bench: &Bench, workload: &Workload) -> Result<()> {
    workload.package.map_or(Ok(()), |package| bench.venv.require(package))?;
    let script = workload.upload.map(Script::posting).transpose()?;
    for &pinned in &bench.options.pinned {
        let how = if pinned { "one core each" } else { "unpinned" };
        let title = format!("Python, {}, {how}", workload.title);
        let peers = bench.peers.iter().copied().chain(workload.additional_peer);
        let entries =
            measure_in_rounds(bench, &title, peers, |peer| measure(bench, workload, script.as_ref(), peer, pinned));
        for (index, connections) in CONNECTIONS.iter().enumerate() {
            tabulate(&entries, index, subject(&entries), "÷ bjoern")
                .print(&format!("{title}, {connections} connections"));
        }
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    workload: &Workload,
    script: Option<&Script>,
    peer: &'static Peer,
    pinned: bool,
) -> Result<Measured> {
    let server = Server::start(bench, peer.name, peer.command, workload.object, pinned)?;
    let notes = workload.check(server.port).map_err(|error| format!("sends a wrong response: {error}"))?;
    let load = |connections, seconds| Load { script, ..load(server.port, connections, seconds, pinned) };
    load(CONNECTIONS[0], WARM_UP_SECONDS).run()?;
    let sample =
        |&connections| benchmark::sample(server.pid(), &load(connections, bench.options.seconds), Unit::Request);
    Ok(Measured { samples: CONNECTIONS.iter().map(sample).collect::<Result<_>>()?, notes })
}

/// Puts load on a new process before its first measurement.
///
/// # Errors
///
/// When wrk fails.
pub fn warm_up(port: u16, path: &str, pinned: bool) -> Result<()> {
    Load { path, ..load(port, CONNECTIONS[0], WARM_UP_SECONDS, pinned) }.run().map(drop)
}

/// Requests for `/` over plain HTTP.
pub fn load<'a>(port: u16, connections: usize, seconds: u32, pinned: bool) -> Load<'a> {
    Load { port, path: "/", connections, seconds, pinned, scheme: Scheme::Http, field: None, script: None }
}

impl Workload {
    /// Checks the response of a server, because error responses are fast to produce. Returns notes for the table.
    pub fn check(&self, port: u16) -> io::Result<Vec<&'static str>> {
        let mut client = HttpClient::connect(port)?;
        let head = self.request(&mut client)?;
        let mut notes = Vec::new();
        if field(&head, "date").is_none() {
            notes.push("sends no Date");
        }
        if self.request(&mut client).is_err() {
            notes.push("closes every connection");
        }
        Ok(notes)
    }

    /// Sends a request and returns the head of the response.
    fn request(&self, client: &mut HttpClient) -> io::Result<String> {
        match self.upload {
            None => client.send("/", "", 1)?,
            Some(length) => {
                let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
                client.stream.write_all(&[head.as_bytes(), &vec![b'x'; length]].concat())?;
            }
        }
        let response = client.read_response()?;
        let expected = (self.body)();
        match (response.head.starts_with("http/1.1 200"), response.body == expected.as_bytes()) {
            (true, true) => Ok(response.head),
            (false, _) => Err(io::Error::other(format!("the status is not 200: {}", response.head.trim()))),
            (true, false) => Err(io::Error::other(format!("the body is wrong, after {}", response.head.trim()))),
        }
    }
}

/// The table for one number of connections, with ratios to `other`.
pub fn tabulate(
    entries: &[Entry<Measured>],
    index: usize,
    other: Option<&Entry<Measured>>,
    ratio: &'static str,
) -> Table {
    let rate = |round: &Measured| round.samples[index].report.rate;
    let cpu = |round: &Measured| round.samples[index].cpu_micros;
    let mut table = Table::new(&["server", "req/s", ratio, "CPU µs/req", ratio, "p99", "errors"]);
    for entry in entries {
        let name = entry.peer.name;
        let Some(measured) = entry.measured(&mut table) else { continue };
        let errors: u64 = measured.iter().map(|round| round.samples[index].report.errors).sum();
        table.row(vec![
            // Error responses may be faster than correct ones.
            if errors > 0 { format!("{name} (!)") } else { name.into() },
            format!("{:.0}", entry.median(rate)),
            ratio_to(other, entry, rate),
            format!("{:.1}", entry.median(cpu)),
            ratio_to(other, entry, cpu),
            table::median_duration(entry.values(|round| round.samples[index].report.p99.as_secs_f64())),
            errors.to_string(),
        ]);
        for note in measured.first().into_iter().flat_map(|round| &round.notes) {
            table.note(name, note);
        }
    }
    table
}
