//! The time from a save to the first response of the new code of a Flask application and of a Django project, with
//! amboss and with other reloaders; and what a reloader that starts an interpreter then can't avoid: its start and the
//! import of the framework.

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

/// An application that is saved.
struct Project {
    name: &'static str,
    package: &'static str,
    /// The object to serve, in the words of the servers.
    object: &'static str,
    /// The file that is saved.
    file: &'static str,
    source: &'static str,
    /// The program that makes the other files, as arguments of the interpreter.
    create: &'static [&'static str],
    import: &'static str,
}

const PROJECTS: &[Project] = &[
    Project {
        name: "Flask",
        package: "flask",
        object: "reloaded:app",
        file: "reloaded.py",
        source: include_str!("applications/reloaded.py"),
        create: &["-c", "pass"],
        import: "import flask",
    },
    Project {
        name: "a started Django project",
        package: "django",
        object: "project.wsgi:application",
        file: "project/urls.py",
        source: include_str!("applications/django_urls.py"),
        create: &["-m", "django", "startproject", "project", "."],
        import: "import django.core.wsgi",
    },
];

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
        name: "amboss -r --spare",
        packages: &["amboss"],
        command: "python -m amboss -q -r --spare -b 127.0.0.1:PORT OBJECT",
    },
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

/// Runs the benchmark and prints its tables.
///
/// # Errors
///
/// When a framework cannot be installed, or a project cannot be started.
pub fn run(bench: &Bench) -> Result<()> {
    for project in PROJECTS {
        bench.venv.require(project.package)?;
        output(Command::new(bench.venv.program("python")).args(project.create).current_dir(bench.apps.path()))?;
        measure(bench, project)?;
    }
    Ok(())
}

fn measure(bench: &Bench, project: &Project) -> Result<()> {
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
    for (name, code) in [("(the interpreter)", "pass"), ("(and the framework's import)", project.import)] {
        candidates.push(Candidate { name, kind: Kind::Starts(code), times: Ok(Vec::new()) });
    }
    let rounds = bench.options.rounds;
    for round in 1..=rounds {
        for candidate in &mut candidates {
            let Ok(times) = &mut candidate.times else { continue };
            eprintln!("reload, {}: round {round} of {rounds}, {}", project.name, candidate.name);
            let more = match candidate.kind {
                Kind::Saves(reloader) => measure_saves(bench, project, reloader),
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
    table.print(&format!("Python, from a save to the first response of the new code, {}", project.name));
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

/// Measures how long this reloader takes for each save of a project.
fn measure_saves(bench: &Bench, project: &Project, reloader: &Reloader) -> Result<Vec<Duration>> {
    save(bench, project, 0)?;
    let server = Server::start(bench, reloader.name, reloader.command, project.object, false)?;
    wait_for(server.port, 0)?;
    (1..=SAVES)
        .map(|number| {
            // The processes of the last reload need time to finish. The pauses differ, so that reloaders which check
            // once a second are measured at different points of their interval.
            std::thread::sleep(Duration::from_millis(1000 + 170 * number as u64));
            let began = Instant::now();
            save(bench, project, number)?;
            wait_for(server.port, number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// Writes an application that responds with this number. Each is longer than the one before, because Python considers
/// compiled code up to date when the source has the same size and the same modification time in seconds.
fn save(bench: &Bench, project: &Project, number: usize) -> Result<()> {
    let path = bench.apps.path().join(project.file);
    let text = format!("{}# {}\n", project.source.replace("NUMBER", &number.to_string()), "x".repeat(number));
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
