//! One run of `cargo build`: its output shown and kept, what it made, and how to stop it.
//!
//! Cargo runs in a process group of its own, so that stopping it also stops the compilers and build scripts it started.
//! It therefore doesn't get a CTRL+C from the terminal: whoever ends drops the [`Build`], which stops it.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{kill_process_group, waitid, Pid, Signal, WaitId, WaitIdOptions};
use serde_json::Value;

use super::CargoError;
use crate::error_page::ansi;

/// Bytes of output kept for the error page; the first errors are the ones to mend, and browsers have to show them.
const OUTPUT_KEPT: usize = 256 * 1024;

/// How long the output is read on after cargo's end, since something that a build script left running may hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A build that is running. Dropped, it is stopped.
#[derive(Debug)]
pub struct Build {
    running: Arc<Mutex<Running>>,
    pid: Pid,
    artifacts: Receiver<Vec<Executable>>,
    output: Receiver<()>,
    kept: Arc<Mutex<Vec<u8>>>,
    default_run: Option<String>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Until then its number is its own.
    ended: Option<ExitStatus>,
    cancelled: bool,
}

/// Stops a build from another thread.
#[derive(Clone, Debug)]
pub struct CancelBuild(Arc<Mutex<Running>>);

/// How a build ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It succeeded.
    Built(Built),
    /// It failed; what cargo printed, colours included, for the [error page](crate::error_page).
    Failed(String),
    /// It was stopped.
    Cancelled,
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct Built {
    /// The programs and examples, also those that were up to date.
    pub executables: Vec<Executable>,
    /// What cargo printed, warnings among it, colours included.
    pub output: String,
    default_run: Option<String>,
}

/// A program that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The name of its target, as in `--bin NAME`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// It was up to date: the same program as before.
    pub fresh: bool,
}

impl Built {
    /// The program to run: the only one, or the package's `default-run`.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn executable(&self) -> Result<&Executable, CargoError> {
        let is_default = |executable: &&Executable| Some(&executable.name) == self.default_run.as_ref();
        match (self.executables.as_slice(), self.executables.iter().find(is_default)) {
            ([one], _) | (_, Some(one)) => Ok(one),
            ([], _) => Err(CargoError::ambiguous(
                "Cargo builds no program here; add a src/main.rs, or start in the folder of a package that has one."
                    .into(),
            )),
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|executable| executable.name.as_str()).collect();
                Err(CargoError::ambiguous(format!(
                    "Cargo builds several programs here ({}); say which with --bin NAME, or set default-run in Cargo.toml.",
                    names.join(", ")
                )))
            }
        }
    }
}

impl Build {
    pub(super) fn start(mut command: Command, default_run: Option<String>) -> io::Result<Build> {
        crate::sigchld::ensure_collectable()?;
        // For the browser colours are wanted always; where they aren't for the terminal, they are taken out.
        command.env("CARGO_TERM_COLOR", "always").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = Pid::from_child(&child);
        let running = Arc::new(Mutex::new(Running { child, ended: None, cancelled: false }));
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (artifacts_to, artifacts) = channel();
        let (output_to, output) = channel();
        let build = Build { running, pid, artifacts, output, kept: kept.clone(), default_run };
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            thread::Builder::new().name("cargo-output".into()).spawn(move || {
                show(stderr, &kept);
                let _ = output_to.send(());
            })?;
            thread::Builder::new().name("cargo-artifacts".into()).spawn(move || {
                let _ = artifacts_to.send(executables(stdout));
            })?;
        }
        Ok(build)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// The system can't say how it ended.
    pub fn wait(self) -> io::Result<Outcome> {
        let status = self.reap()?;
        let executables = self.artifacts.recv_timeout(LAST_WORDS).unwrap_or_default();
        let _ = self.output.recv_timeout(LAST_WORDS);
        if lock(&self.running).cancelled {
            return Ok(Outcome::Cancelled);
        }
        let output = String::from_utf8_lossy(&lock(&self.kept)).into_owned();
        Ok(match status.success() {
            true => Outcome::Built(Built { executables, output, default_run: self.default_run.clone() }),
            false => Outcome::Failed(output),
        })
    }

    /// Stops it.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// A handle with which another thread can stop it.
    pub fn canceller(&self) -> CancelBuild {
        CancelBuild(self.running.clone())
    }

    /// Waits for cargo's end. It stays a zombie, so that its number is nobody else's, until no one can signal it any more.
    fn reap(&self) -> io::Result<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.pid), options) {}
        let mut running = lock(&self.running);
        if let Some(status) = running.ended {
            return Ok(status);
        }
        if running.cancelled {
            // What it started may not have listened.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        let status = running.child.wait()?;
        running.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if lock(&self.running).ended.is_none() {
            self.cancel();
            let _ = self.reap();
        }
    }
}

impl CancelBuild {
    /// Stops it, with everything it started. Does nothing if it has ended.
    pub fn cancel(&self) {
        let mut running = lock(&self.0);
        if running.ended.is_none() && !running.cancelled {
            running.cancelled = true;
            let _ = kill_process_group(Pid::from_child(&running.child), Signal::TERM);
        }
    }
}

impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl AsRef<Path> for Executable {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows what cargo prints, and keeps it.
fn show(stderr: ChildStderr, kept: &Mutex<Vec<u8>>) {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // Nobody may be there to read it.
        let _ = match colours {
            true => io::stderr().write_all(&line),
            false => io::stderr().write_all(ansi::strip(&String::from_utf8_lossy(&line)).as_bytes()),
        };
        let mut kept = lock(kept);
        if kept.len() + line.len() <= OUTPUT_KEPT {
            kept.extend_from_slice(&line);
        }
        line.clear();
    }
}

/// Reads cargo's messages (one JSON object a line) up to the last.
fn executables(stdout: ChildStdout) -> Vec<Executable> {
    let mut executables = Vec::new();
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                if let (Some(path), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
                    let fresh = message["fresh"].as_bool().unwrap_or(false);
                    executables.push(Executable { name: name.into(), path: path.into(), fresh });
                }
            }
            Some("build-finished") => break,
            _ => {}
        }
    }
    executables
}
