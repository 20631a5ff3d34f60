//! The time from a save to the first response of the new code: for a program that is only restarted, and for a cargo
//! project, whose build time is shown separately.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

use amboss::{run_simple, AppError, Body, Environ, ReloaderType, RunOptions, StartResponse};

use crate::proc;
use crate::result::Result;
use crate::table::{self, Table, MISSING};

/// The number of saves per figure. With fewer, the median of such a short time varies too much.
const SAVES: usize = 11;
/// How long a program may take to start or to reload. A reload can include a build.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the benchmark and prints its table.
///
/// # Errors
///
/// When a program cannot be started or does not reload.
pub fn run() -> Result<()> {
    let mut table =
        Table::new(&["program, reloader", "save to new response, median", "of which cargo build", "slowest"]);
    for (kind, name) in
        [(ReloaderType::Notify, "restart only, notify"), (ReloaderType::Stat, "restart only, stat (1 s)")]
    {
        eprintln!("saves: {name}");
        let times = measure_restarts(kind)?;
        table.row(vec![name.into(), median(&times), MISSING.into(), slowest(&times)]);
    }
    eprintln!("saves: a cargo project, which is built once before");
    let name = "cargo project, notify";
    match measure_cargo_project()? {
        Some((times, builds)) => {
            table.row(vec![name.into(), median(&times), table::median_duration(builds), slowest(&times)]);
        }
        None => table.missing_row(name, "can't be built"),
    }
    table.print("From a save to the first response of the new code");
    Ok(())
}

/// Measures how long it takes to restart a program that needs no build.
fn measure_restarts(kind: ReloaderType) -> Result<Vec<Duration>> {
    let folder = Folder::new()?;
    let code = folder.0.join("code");
    let save = |number: usize| std::fs::write(&code, number.to_string()).map_err(|error| error.to_string());
    save(0)?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let reloader = if kind == ReloaderType::Stat { "stat" } else { "notify" };
    let program = Program::start(&this, &["reloading".as_ref(), code.as_os_str(), OsStr::new(reloader)])?;
    measure(&program, save)
}

/// Measures how long it takes to build and restart a cargo project, and how long the builds take, in seconds. `None`
/// when it cannot be built.
fn measure_cargo_project() -> Result<Option<(Vec<Duration>, Vec<f64>)>> {
    let project = Folder::new()?;
    let save = |number: usize| {
        let text = SOURCE.replace("NUMBER", &number.to_string());
        std::fs::write(project.0.join("src/main.rs"), text).map_err(|error| error.to_string())
    };
    project.write_project()?;
    save(0)?;
    let built = Command::new("cargo")
        .args(["build", "--quiet"])
        .current_dir(&project.0)
        .env_remove("CARGO_TARGET_DIR")
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let program = Program::start(&project.0.join("target/debug/saved"), &[])?;
    let times = measure(&program, save)?;
    Ok(Some((times, program.builds.try_iter().collect())))
}

fn median(times: &[Duration]) -> String {
    table::median_duration(times.iter().map(Duration::as_secs_f64))
}

fn slowest(times: &[Duration]) -> String {
    table::duration(times.iter().copied().max().unwrap_or_default())
}

/// Saves repeatedly, and measures how long each reload takes.
fn measure(program: &Program, save: impl Fn(usize) -> Result<()>) -> Result<Vec<Duration>> {
    program.wait_for(0)?;
    (1..=SAVES)
        .map(|number| {
            // The processes of the last reload need time to finish.
            std::thread::sleep(Duration::from_millis(700));
            let began = Instant::now();
            save(number)?;
            program.wait_for(number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// A running supervisor with its child process.
struct Program {
    child: Child,
    port: u16,
    /// The duration of each build in seconds, from cargo's output.
    builds: Receiver<f64>,
}

impl Program {
    fn start(path: &Path, arguments: &[&OsStr]) -> Result<Program> {
        let mut command = Command::new(path);
        command.args(arguments).env_remove("CARGO_TARGET_DIR").stdin(Stdio::null()).stderr(Stdio::piped());
        if let Some(folder) = path.ancestors().find(|folder| folder.join("Cargo.toml").exists()) {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| format!("can't start {}: {error}", path.display()))?;
        let Some(errors) = child.stderr.take() else { return Err("there is no pipe for standard error".into()) };
        let ((port_to, port), (build_to, builds)) = (channel(), channel());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(std::io::Result::ok) {
                if let Some((_, port)) = line.split_once("Running on http://127.0.0.1:") {
                    let _ = port_to.send(port.parse().unwrap_or(0));
                }
                let seconds =
                    line.split_once("target(s) in ").and_then(|(_, time)| time.trim_end_matches('s').parse().ok());
                if let Some(seconds) = seconds {
                    let _ = build_to.send(seconds);
                }
            }
        });
        let port = port
            .recv_timeout(TIMEOUT)
            .map_err(|_| "the program does not print the address it listens on".to_owned())?;
        Ok(Program { child, port, builds })
    }

    fn wait_for(&self, number: usize) -> Result<()> {
        let until = Instant::now() + TIMEOUT;
        while Instant::now() < until {
            if self.request().is_some_and(|response| response.ends_with(&format!("\r\n\r\n{number}"))) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("there is no response from the code of save {number}"))
    }

    fn request(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        Some(response)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // On SIGTERM, the supervisor ends its child process, too.
        proc::terminate(self.child.id());
        let _ = self.child.wait();
    }
}

/// The hidden subcommand `reloading <file> <reloader>`, the program that is only restarted. It responds with the
/// content of the file, which it reads when it starts.
///
/// # Errors
///
/// When the file cannot be read, or the server fails.
pub fn serve_with_reloader(arguments: &[String]) -> Result<()> {
    let [file, reloader] = arguments else { return Err("reloading takes a file and a reloader".into()) };
    let code = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut options = RunOptions::default();
    options.use_reloader = true;
    options.extra_files = vec![file.into()];
    options.reloader_type = reloader.parse()?;
    let app = move |_: &mut Environ<'_>, start: &mut dyn StartResponse| -> std::result::Result<Body, AppError> {
        start.start("200 OK", &[])?;
        Ok(Body::from(code.clone()))
    };
    run_simple("127.0.0.1", 0, app, options).map_err(|error| error.to_string())
}

/// A temporary folder. Dropping it removes the folder.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let unique = Instant::now();
        let name = format!("amboss-bench-saves-{}-{unique:?}", std::process::id());
        let name: String = name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("src")).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    /// Writes a cargo project that depends on this workspace, with the versions in its lock file.
    fn write_project(&self) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let manifest = format!(
            "[package]\nname = \"saved\"\nedition = \"2021\"\n[dependencies]\namboss = {{ path = {:?}, default-features = false, \
             features = [\"reload\"] }}\n[workspace]\n",
            root.display().to_string()
        );
        let write = std::fs::write(self.0.join("Cargo.toml"), manifest);
        let lock = std::fs::copy(root.join("Cargo.lock"), self.0.join("Cargo.lock"));
        write.and(lock.map(drop)).map_err(|error| error.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program of the cargo project.
const SOURCE: &str = r#"
use amboss::{run_simple, AppError, Body, Environ, RunOptions, StartResponse};

fn app(_: &mut Environ<'_>, start: &mut dyn StartResponse) -> Result<Body, AppError> {
    start.start("200 OK", &[])?;
    Ok(Body::from("NUMBER"))
}

fn main() {
    let mut options = RunOptions::default();
    options.use_reloader = true;
    if let Err(error) = run_simple("127.0.0.1", 0, app, options) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
"#;
