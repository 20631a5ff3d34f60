//! One run of `cargo build`: its output, the executables that it made, and how to stop it.
//!
//! Cargo runs in a process group of its own, so that stopping it also stops the compilers and build scripts that it
//! started. It therefore does not get a CTRL+C from the terminal. Dropping the [`Build`] stops it.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cargo_metadata::{Artifact, Message};
use rustix::process::{kill_process_group, waitid, Pid, Signal, WaitId, WaitIdOptions};

use super::ansi;
use crate::process::ensure_children_are_reapable;
use crate::sync::lock;

/// The maximum number of bytes of output kept for a page (256 KiB). The first errors matter most, and browsers
/// have to display the page.
const MAX_OUTPUT: usize = 256 * 1024;

/// How long output is still read after cargo has ended (1 s). A process that a build script left running may keep the
/// pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// A build that is running. Dropping it stops the build.
#[derive(Debug)]
pub struct Build {
    running: Arc<Mutex<Running>>,
    pid: Pid,
    artifacts: Receiver<Vec<Executable>>,
    /// Receives a message when all output has been read.
    output_end: Receiver<()>,
    output: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Set once cargo was reaped. Until then the system does not reuse its process id.
    ended: Option<ExitStatus>,
    cancelled: bool,
}

/// Stops a build from another thread.
#[derive(Clone, Debug)]
pub struct CancelBuild(Arc<Mutex<Running>>);

/// How a build ended.
#[derive(Clone, Debug)]
pub enum BuildOutcome {
    /// The build succeeded. The list contains all programs and examples, including those that were up to date.
    Built(Vec<Executable>),
    /// The build failed. The text is cargo's output with colours, for a page or a terminal.
    Failed(String),
    /// The build was stopped.
    Cancelled,
}

/// An executable that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The name of its target, as in `--bin NAME`.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
}

impl Build {
    pub(super) fn start(mut command: Command) -> io::Result<Build> {
        ensure_children_are_reapable()?;
        // The error page needs colours. If stderr should have none, they are removed from the copy that goes there.
        command.env("CARGO_TERM_COLOR", "always").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = Pid::from_child(&child);
        let running = Arc::new(Mutex::new(Running { child, ended: None, cancelled: false }));
        let output = Arc::new(Mutex::new(Vec::new()));
        let (artifacts_sender, artifacts) = channel();
        let (output_end_sender, output_end) = channel();
        let build = Build { running, pid, artifacts, output_end, output: output.clone() };
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            thread::Builder::new().name("cargo-output".into()).spawn(move || {
                copy_output(stderr, &output);
                let _ = output_end_sender.send(());
            })?;
            thread::Builder::new().name("cargo-artifacts".into()).spawn(move || {
                let _ = artifacts_sender.send(read_executables(stdout));
            })?;
        }
        Ok(build)
    }

    /// Waits until the build ends.
    ///
    /// # Errors
    /// The system cannot tell how the build ended.
    pub fn wait(self) -> io::Result<BuildOutcome> {
        let status = self.reap()?;
        let executables = self.artifacts.recv_timeout(OUTPUT_GRACE).unwrap_or_default();
        let _ = self.output_end.recv_timeout(OUTPUT_GRACE);
        if lock(&self.running).cancelled {
            return Ok(BuildOutcome::Cancelled);
        }
        if status.success() {
            return Ok(BuildOutcome::Built(executables));
        }
        Ok(BuildOutcome::Failed(String::from_utf8_lossy(&lock(&self.output)).into_owned()))
    }

    /// A handle with which another thread can stop the build.
    pub fn canceller(&self) -> CancelBuild {
        CancelBuild(self.running.clone())
    }

    /// Waits for cargo's end and reaps it. Cargo is reaped under the lock, so that no thread can signal its process
    /// group after the process id was released.
    fn reap(&self) -> io::Result<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.pid), options) {}
        let mut running = lock(&self.running);
        if let Some(status) = running.ended {
            return Ok(status);
        }
        if running.cancelled {
            // Processes that cargo started may have ignored SIGTERM.
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
            self.canceller().cancel();
            let _ = self.reap();
        }
    }
}

impl CancelBuild {
    /// Stops the build and everything that it started. Does nothing if it has ended.
    pub fn cancel(&self) {
        let mut running = lock(&self.0);
        if running.ended.is_none() && !running.cancelled {
            running.cancelled = true;
            let _ = kill_process_group(Pid::from_child(&running.child), Signal::TERM);
        }
    }
}

/// Copies cargo's output to stderr, and keeps the beginning of it.
fn copy_output(stderr: ChildStderr, output: &Mutex<Vec<u8>>) {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A failure is ignored, because stderr may be closed.
        let _ = match colours {
            true => io::stderr().write_all(&line),
            false => io::stderr().write_all(ansi::strip(&String::from_utf8_lossy(&line)).as_bytes()),
        };
        let mut output = lock(output);
        if output.len() + line.len() <= MAX_OUTPUT {
            output.extend_from_slice(&line);
        }
        line.clear();
    }
}

/// Reads cargo's messages, one JSON object a line, up to the end of the build.
fn read_executables(stdout: ChildStdout) -> Vec<Executable> {
    let mut executables = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)).map_while(Result::ok) {
        match message {
            Message::CompilerArtifact(Artifact { executable: Some(path), target, .. }) => {
                executables.push(Executable { name: target.name, path: path.into() });
            }
            Message::BuildFinished(_) => break,
            _ => {}
        }
    }
    executables
}
