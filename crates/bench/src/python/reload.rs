//! From a save to the first answer of the new code, on a Flask application, by amboss and by the reloaders there are; and what
//! of it nobody can save: starting the interpreter and importing Flask.

use super::environment::output;
use super::server::Server;
use super::Bench;
use crate::check::Client;
use crate::table::{self, Table};
use crate::Result;
use std::process::Command;
use std::time::{Duration, Instant};

/// Saves in each round.
const SAVES: usize = 5;

/// How long a reload may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long one answer may take before it is asked for anew: a server on its way out may take a connection along.
const ANSWER: Duration = Duration::from_secs(2);

const SOURCE: &str = include_str!("applications/reloaded.py");

/// A way to reload.
struct Reloader {
    name: &'static str,
    /// What it needs besides Flask, by the names in the requirements.
    packages: &'static [&'static str],
    /// As in [`Peer`](super::peers::Peer).
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

/// A line of the table.
struct Candidate {
    name: &'static str,
    what: What,
    /// Of all rounds so far; or why there are none.
    times: Result<Vec<Duration>>,
}

enum What {
    Saves(&'static Reloader),
    /// A fresh interpreter with this program.
    Starts(&'static str),
}

/// Measures and prints.
///
/// # Errors
///
/// When Flask can't be had.
pub fn run(bench: &Bench) -> Result<()> {
    bench.environment.require("flask")?;
    let mut candidates: Vec<Candidate> = RELOADERS
        .iter()
        // The first package is the peer's, and installed if the peer was asked for.
        .filter(|reloader| reloader.packages.first().is_some_and(|peer| bench.has(peer)))
        .map(|reloader| {
            let mut others = reloader.packages.iter().skip(1);
            let had = others.try_for_each(|package| bench.environment.require(package));
            Candidate { name: reloader.name, what: What::Saves(reloader), times: had.map(|()| Vec::new()) }
        })
        .collect();
    for (name, code) in [("(python -c pass)", "pass"), ("(python -c \"import flask\")", "import flask")] {
        candidates.push(Candidate { name, what: What::Starts(code), times: Ok(Vec::new()) });
    }
    let rounds = bench.options.rounds;
    for round in 1..=rounds {
        for candidate in &mut candidates {
            let Ok(times) = &mut candidate.times else { continue };
            eprintln!("reload: round {round} of {rounds}, {}", candidate.name);
            let more = match candidate.what {
                What::Saves(reloader) => saves(bench, reloader),
                What::Starts(code) => starts(bench, code),
            };
            match more {
                Ok(more) => times.extend(more),
                Err(why) => candidate.times = Err(why),
            }
        }
    }
    let mut table = Table::new(&["started again by", "median", "fastest", "slowest"]);
    for candidate in &candidates {
        match &candidate.times {
            Ok(times) => row(&mut table, candidate.name, times),
            Err(why) => table.absent(candidate.name, why),
        }
    }
    table.print("Python, from a save to the first answer of the new code, Flask");
    Ok(())
}

fn row(table: &mut Table, name: &str, times: &[Duration]) {
    let median = Duration::from_secs_f64(table::median(times.iter().map(Duration::as_secs_f64)));
    let ends = [times.iter().min(), times.iter().max()].map(|time| table::duration(time.copied().unwrap_or_default()));
    let [fastest, slowest] = ends;
    table.row(vec![name.into(), table::duration(median), fastest, slowest]);
}

/// How long a fresh interpreter takes for this.
fn starts(bench: &Bench, code: &str) -> Result<Vec<Duration>> {
    (0..SAVES)
        .map(|_| {
            let began = Instant::now();
            output(Command::new(bench.environment.program("python")).args(["-c", code]))?;
            Ok(began.elapsed())
        })
        .collect()
}

fn saves(bench: &Bench, reloader: &Reloader) -> Result<Vec<Duration>> {
    save(bench, 0)?;
    let server = Server::start(bench, reloader.name, reloader.command, "reloaded:app", false)?;
    wait_for(server.port, 0)?;
    (1..=SAVES)
        .map(|number| {
            // Lets what the last save has started come to rest, and meets those who look once a second at different moments.
            std::thread::sleep(Duration::from_millis(1000 + 170 * number as u64));
            let began = Instant::now();
            save(bench, number)?;
            wait_for(server.port, number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// Writes the application that answers with this number. Each is longer than the one before: Python takes compiled code for
/// current when the source's size and the second of its last change are the same.
fn save(bench: &Bench, number: usize) -> Result<()> {
    let path = bench.site.folder().join("reloaded.py");
    let text = format!("{}# {}\n", SOURCE.replace("NUMBER", &number.to_string()), "x".repeat(number));
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn wait_for(port: u16, number: usize) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if ask(port).is_ok_and(|body| body == number.to_string().as_bytes()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("the code of save {number} never answers"))
}

fn ask(port: u16) -> std::io::Result<Vec<u8>> {
    let mut client = Client::connect(port)?;
    client.stream.set_read_timeout(Some(ANSWER))?;
    client.send("/", "Connection: close\r\n", 1)?;
    Ok(client.answer()?.body)
}
