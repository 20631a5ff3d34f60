//! From a save to the first answer of the new code: for a program that is only started again, and for a cargo project, where
//! the build's own time is shown apart.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

use amboss::{run_simple, AppError, Body, Environ, ReloaderType, RunOptions, StartResponse};

use crate::options::Options;
use crate::proc;
use crate::table::{self, Table};
use crate::Result;

/// Saves for each figure; the least that a median of something so short means anything with.
const SAVES: usize = 11;
const DEADLINE: Duration = Duration::from_secs(300);

/// Measures and prints.
///
/// # Errors
///
/// A sentence.
pub fn run(_: &Options) -> Result<()> {
    let mut table = Table::new(&["program, reloader", "save to first new answer", "of it cargo's build", "slowest"]);
    for (kind, name) in
        [(ReloaderType::Notify, "started again, notify"), (ReloaderType::Stat, "started again, stat (1 s)")]
    {
        eprintln!("saves: {name}");
        let folder = Folder::new()?;
        let code = folder.0.join("code");
        std::fs::write(&code, "0").map_err(|error| error.to_string())?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let arguments = [
            "reloading".as_ref(),
            code.as_os_str(),
            OsStr::new(if kind == ReloaderType::Stat { "stat" } else { "notify" }),
        ];
        let program = Program::start(&this, &arguments)?;
        let save = |number: usize| std::fs::write(&code, number.to_string()).map_err(|error| error.to_string());
        let times = measure(&program, save)?;
        table.row(vec![name.into(), median(&times), "-".into(), slowest(&times)]);
    }
    eprintln!("saves: a cargo project, built once first");
    let project = Folder::new()?;
    let source = |number: usize| {
        let text = SOURCE.replace("NUMBER", &number.to_string());
        std::fs::write(project.0.join("src/main.rs"), text).map_err(|error| error.to_string())
    };
    project.fill()?;
    source(0)?;
    let built = Command::new("cargo")
        .args(["build", "--quiet"])
        .current_dir(&project.0)
        .env_remove("CARGO_TARGET_DIR")
        .status();
    if !built.is_ok_and(|status| status.success()) {
        table.absent("cargo project, notify", "it could not be built");
    } else {
        let program = Program::start(&project.0.join("target/debug/saved"), &[])?;
        let times = measure(&program, source)?;
        let builds: Vec<f64> = program.builds.try_iter().collect();
        let build = Duration::from_secs_f64(table::median(builds));
        table.row(vec!["cargo project, notify".into(), median(&times), table::duration(build), slowest(&times)]);
    }
    table.print("From a save to the first answer of the new code");
    Ok(())
}

fn median(times: &[Duration]) -> String {
    table::duration(Duration::from_secs_f64(table::median(times.iter().map(Duration::as_secs_f64))))
}

fn slowest(times: &[Duration]) -> String {
    table::duration(times.iter().copied().max().unwrap_or_default())
}

fn measure(program: &Program, save: impl Fn(usize) -> Result<()>) -> Result<Vec<Duration>> {
    program.wait_for(0)?;
    (1..=SAVES)
        .map(|number| {
            // Let what the last save has started come to rest.
            std::thread::sleep(Duration::from_millis(700));
            let began = Instant::now();
            save(number)?;
            program.wait_for(number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// A supervisor and its child.
struct Program {
    child: Child,
    port: u16,
    /// What cargo says about its builds, in seconds.
    builds: Receiver<f64>,
}

impl Program {
    fn start(path: &Path, arguments: &[&OsStr]) -> Result<Program> {
        let mut command = Command::new(path);
        command.args(arguments).env_remove("CARGO_TARGET_DIR").stdin(Stdio::null()).stderr(Stdio::piped());
        if let Some(folder) = path.ancestors().find(|folder| folder.join("Cargo.toml").exists()) {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| format!("{} can't be started: {error}", path.display()))?;
        let Some(errors) = child.stderr.take() else { return Err("there is no pipe".into()) };
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
        let port = port.recv_timeout(DEADLINE).map_err(|_| "the program does not say where it listens".to_owned())?;
        Ok(Program { child, port, builds })
    }

    fn wait_for(&self, number: usize) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if self.ask().is_some_and(|answer| answer.ends_with(&format!("\r\n\r\n{number}"))) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("the code of save {number} never answers"))
    }

    fn ask(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The supervisor takes its child along.
        proc::terminate(self.child.id());
        let _ = self.child.wait();
    }
}

/// What is measured without a build: `reloading <file> <reloader>`. The code is what stands in the file.
///
/// # Errors
///
/// A sentence.
pub fn reloading(arguments: &[String]) -> Result<()> {
    let [file, reloader] = arguments else { return Err("give a file and a reloader".into()) };
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

    /// A cargo project that depends on this workspace, with the versions this workspace is built with.
    fn fill(&self) -> Result<()> {
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
