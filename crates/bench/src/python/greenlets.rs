//! Requests that wait, in greenlets of one process: how long 500 of them take that sleep 200 ms each, the memory while
//! 1,000 wait, and the throughput of requests that do not wait.

use super::bench::Bench;
use super::peers::Peer;
use super::rounds::{measure_in_rounds, ratio_to, Entry};
use super::server::Server;
use super::throughput::{self, FLASK, HELLO};
use crate::http_client::HttpClient;
use crate::proc;
use crate::result::Result;
use crate::table::{self, Spread, Table};
use std::io;
use std::time::{Duration, Instant};

/// The number of requests that sleep at once.
const SLEEPERS: usize = 500;
/// How often they are sent to one process; the best time counts, as for the start of an application.
const BURSTS: usize = 3;
/// The number of requests that wait while the memory is read.
const WAITING: usize = 1000;
/// How long to wait before the memory is read, of the two seconds that these requests sleep.
const ALL_WAIT: Duration = Duration::from_millis(1200);
/// The number of connections of the throughput.
const CONNECTIONS: usize = 64;

struct Measured {
    /// The time of all sleepers together, in seconds.
    seconds: f64,
    /// Resident memory of all processes before the requests wait and while they do, in KiB.
    idle: f64,
    waiting: f64,
    hello: f64,
    flask: f64,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// None: the table says why a peer cannot be measured.
pub fn run(bench: &Bench) -> Result<()> {
    let title = format!("Python, greenlets: {SLEEPERS} × 0.2 s, and {CONNECTIONS} connections, one core each");
    let entries = measure_in_rounds(bench, &title, bench.greenlets.iter().copied(), |peer| measure(bench, peer));
    tabulate(&entries).print(&title);
    Ok(())
}

fn measure(bench: &Bench, peer: &Peer) -> Result<Measured> {
    let seconds = bench.options.seconds;
    let server = Server::start(bench, peer.name, peer.command, "raw:waits", true)?;
    let mut burst = Duration::MAX;
    for _ in 0..BURSTS {
        burst = burst.min(sleep_together(server.port).map_err(|error| format!("500 sleepers: {error}"))?);
    }
    let idle = proc::resident(server.pid())?.rss;
    let waiting = memory_while_waiting(&server).map_err(|error| format!("1,000 waiting: {error}"))?;
    drop(server);
    let rate = |object| -> Result<f64> {
        let server = Server::start(bench, peer.name, peer.command, object, true)?;
        throughput::load(server.port, CONNECTIONS, 1, true).run()?;
        Ok(throughput::load(server.port, CONNECTIONS, seconds, true).run()?.rate)
    };
    let (hello, flask) = (rate(HELLO.object)?, rate(FLASK.object)?);
    Ok(Measured { seconds: burst.as_secs_f64(), idle, waiting, hello, flask })
}

/// Sends all requests, and returns the time until the last response.
fn sleep_together(port: u16) -> io::Result<Duration> {
    let began = Instant::now();
    let mut clients = request_on_each(port, SLEEPERS, "/sleep")?;
    clients.iter_mut().try_for_each(expect_ok)?;
    Ok(began.elapsed())
}

fn request_on_each(port: u16, count: usize, path: &str) -> io::Result<Vec<HttpClient>> {
    (0..count)
        .map(|_| {
            let mut client = HttpClient::connect(port)?;
            client.send(path, "", 1)?;
            Ok(client)
        })
        .collect()
}

fn expect_ok(client: &mut HttpClient) -> io::Result<()> {
    let response = client.read_response()?;
    if response.head.starts_with("http/1.1 200") {
        Ok(())
    } else {
        Err(io::Error::other(format!("the response is {}", response.head.trim())))
    }
}

fn memory_while_waiting(server: &Server) -> Result<f64> {
    let failed = |error: io::Error| error.to_string();
    let mut clients = request_on_each(server.port, WAITING, "/long").map_err(failed)?;
    std::thread::sleep(ALL_WAIT);
    let resident = proc::resident(server.pid())?.rss;
    clients.iter_mut().try_for_each(expect_ok).map_err(failed)?;
    Ok(resident)
}

fn tabulate(entries: &[Entry<Measured>]) -> Table {
    let mut table = Table::new(&[
        "server",
        "500 × 0.2 s",
        "÷ best other",
        "MiB at start",
        "MiB, 1,000 waiting",
        "hello/s",
        "÷ gunicorn",
        "Flask/s",
        "÷ gunicorn",
    ]);
    let gunicorn = entries.iter().find(|entry| entry.peer.name.starts_with("gunicorn") && entry.outcome.is_ok());
    for entry in entries {
        if entry.measured(&mut table).is_none() {
            continue;
        }
        let seconds = entry.values(|round| round.seconds);
        let others = entries.iter().filter(|other| other.peer.name != entry.peer.name && other.outcome.is_ok());
        // The best other server of each round.
        let best = others.fold(vec![f64::INFINITY; seconds.len()], |best, other| {
            best.iter().zip(other.values(|round| round.seconds)).map(|(best, value)| best.min(value)).collect()
        });
        table.row(vec![
            entry.peer.name.into(),
            format!("{:.3} s", entry.median(|round| round.seconds)),
            table::ratio_cell(Spread::of_ratios(&seconds, &best)),
            format!("{:.1}", entry.median(|round| round.idle) / 1024.0),
            format!("{:.1}", entry.median(|round| round.waiting) / 1024.0),
            format!("{:.0}", entry.median(|round| round.hello)),
            ratio_to(gunicorn, entry, |round| round.hello),
            format!("{:.0}", entry.median(|round| round.flask)),
            ratio_to(gunicorn, entry, |round| round.flask),
        ]);
    }
    table
}
