//! The time from a save to the first response of the new code of a Flask application, with amboss and with other
//! reloaders; and the part of it that no reloader can avoid: starting the interpreter and importing Flask.

use super::bench::Bench;
use super::server::Server;
use super::venv::output;
use crate::http_client::HttpClient;
use crate::result::Result;
use crate::table::{self, Table};
use std::process::Command;
use std::time::{Duration, Instant};

/// The number of saves in a round.
const SAVES: usize = 5;

/// How long a reload may take.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a response may take before the request is repeated: a server that is shutting down may leave a connection
/// open.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

const SOURCE: &str = include_str!("applications/reloaded.py");

/// A server with a reloader.
struct Reloader {
    name: &'static str,
    /// The packages to install besides Flask, by their names in the requirements.
    packages: &'static [&'static str],
    /// As [`Peer::command`](super::peers::Peer::command).
    command: &'static str,
}

const RELOADERS: &[Reloader] = &[
    Reloader { name: "amboss -r", packages: &["amboss"], command: "python -m amboss -q -r -b 127.0.0.1:PORT OBJECT" },
    Reloader {
        name: "werkzeug, stat (1 s)",
        packages: &["werkzeug"],
        command: "python launch.py werkzeug-stat PORT OBJECT",
    },
    Reloader {
        name: "werkzeug, watchdog",
        packages: &["werkzeug", "watchdog"],
        command: "python launch.py werkzeug-watchdog PORT OBJECT",
    },
    Reloader {
        name: "gunicorn --reload (1 s)",
        packages: &["gunicorn"],
        command: "python -m gunicorn --reload --no-control-socket --log-level warning -b 127.0.0.1:PORT OBJECT",
    },
    Reloader {
        name: "granian --reload",
        packages: &["granian", "watchfiles"],
        command: "python -m granian --interface wsgi --reload --no-access-log --log-level warning --host 127.0.0.1 \
                  --port PORT OBJECT",
    },
];

/// A row of the table.
struct Candidate {
    name: &'static str,
    kind: Kind,
    /// The times of all rounds so far, or why the candidate cannot be measured.
    times: Result<Vec<Duration>>,
}

/// What is measured.
enum Kind {
    /// Saves with this reloader.
    Saves(&'static Reloader),
    /// The start of an interpreter with this program.
    Starts(&'static str),
}

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// When Flask cannot be installed.
pub fn run(bench: &Bench) -> Result<()> {
    bench.venv.require("flask")?;
    let mut candidates: Vec<Candidate> = RELOADERS
        .iter()
        // The first package is that of the peer, which is installed if the peer was asked for.
        .filter(|reloader| reloader.packages.first().is_some_and(|peer| bench.has(peer)))
        .map(|reloader| {
            let mut others = reloader.packages.iter().skip(1);
            let installed = others.try_for_each(|package| bench.venv.require(package));
            Candidate { name: reloader.name, kind: Kind::Saves(reloader), times: installed.map(|()| Vec::new()) }
        })
        .collect();
    for (name, code) in [("(python -c pass)", "pass"), ("(python -c \"import flask\")", "import flask")] {
        candidates.push(Candidate { name, kind: Kind::Starts(code), times: Ok(Vec::new()) });
    }
    let rounds = bench.options.rounds;
    for round in 1..=rounds {
        for candidate in &mut candidates {
            let Ok(times) = &mut candidate.times else { continue };
            eprintln!("reload: round {round} of {rounds}, {}", candidate.name);
            let more = match candidate.kind {
                Kind::Saves(reloader) => measure_saves(bench, reloader),
                Kind::Starts(code) => measure_starts(bench, code),
            };
            match more {
                Ok(more) => times.extend(more),
                Err(reason) => candidate.times = Err(reason),
            }
        }
    }
    let mut table = Table::new(&["reloader", "median", "fastest", "slowest"]);
    for candidate in &candidates {
        match &candidate.times {
            Ok(times) => row(&mut table, candidate.name, times),
            Err(reason) => table.missing_row(candidate.name, reason),
        }
    }
    table.print("Python, from a save to the first response of the new code, Flask");
    Ok(())
}

fn row(table: &mut Table, name: &str, times: &[Duration]) {
    let ends = [times.iter().min(), times.iter().max()].map(|time| table::duration(time.copied().unwrap_or_default()));
    let [fastest, slowest] = ends;
    table.row(vec![name.into(), table::median_duration(times.iter().map(Duration::as_secs_f64)), fastest, slowest]);
}

/// Measures how long an interpreter takes to start and run this program.
fn measure_starts(bench: &Bench, code: &str) -> Result<Vec<Duration>> {
    (0..SAVES)
        .map(|_| {
            let began = Instant::now();
            output(Command::new(bench.venv.program("python")).args(["-c", code]))?;
            Ok(began.elapsed())
        })
        .collect()
}

/// Measures how long this reloader takes for each save.
fn measure_saves(bench: &Bench, reloader: &Reloader) -> Result<Vec<Duration>> {
    save(bench, 0)?;
    let server = Server::start(bench, reloader.name, reloader.command, "reloaded:app", false)?;
    wait_for(server.port, 0)?;
    (1..=SAVES)
        .map(|number| {
            // The processes of the last reload need time to finish. The pauses differ, so that reloaders which check
            // once a second are measured at different points of their interval.
            std::thread::sleep(Duration::from_millis(1000 + 170 * number as u64));
            let began = Instant::now();
            save(bench, number)?;
            wait_for(server.port, number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// Writes an application that responds with this number. Each is longer than the one before, because Python considers
/// compiled code up to date when the source has the same size and the same modification time in seconds.
fn save(bench: &Bench, number: usize) -> Result<()> {
    let path = bench.apps.path().join("reloaded.py");
    let text = format!("{}# {}\n", SOURCE.replace("NUMBER", &number.to_string()), "x".repeat(number));
    std::fs::write(&path, text).map_err(|error| format!("can't write {}: {error}", path.display()))
}

fn wait_for(port: u16, number: usize) -> Result<()> {
    let until = Instant::now() + RELOAD_TIMEOUT;
    while Instant::now() < until {
        if request(port).is_ok_and(|body| body == number.to_string().as_bytes()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("there is no response from the code of save {number}"))
}

fn request(port: u16) -> std::io::Result<Vec<u8>> {
    let mut client = HttpClient::connect(port)?;
    client.stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    client.send("/", "Connection: close\r\n", 1)?;
    Ok(client.read_response()?.body)
}
