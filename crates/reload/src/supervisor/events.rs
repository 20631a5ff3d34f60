//! What a supervisor reports to the program that it runs in.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

/// Called when something happens, on the supervisor's thread; long work belongs on another thread.
///
/// The implementation for `()` prints messages to stderr and ignores everything else.
pub trait EventHandler: Send {
    /// The workers of this generation will run the fallback program, see
    /// [`SupervisorHandle::run_fallback`](crate::SupervisorHandle::run_fallback). None of them was started yet.
    fn fallback_starting(&mut self, generation: u64) {
        let _ = generation;
    }

    /// A worker was started.
    fn started(&mut self, generation: u64, pid: u32) {
        let _ = (generation, pid);
    }

    /// A worker serves.
    fn ready(&mut self, generation: u64) {
        let _ = generation;
    }

    /// A worker could not be started, or has ended before it was ready. It is started again only if workers are missing
    /// and [`SupervisorOptions::retry`](crate::SupervisorOptions::retry) is set.
    fn failed(&mut self, failure: &WorkerFailure) {
        let _ = failure;
    }

    /// A worker that was ready has died, and will be replaced.
    fn died(&mut self, death: &WorkerDeath) {
        let _ = death;
    }

    /// The generation `new` has replaced `old`: all workers of `old` have been told to accept no more connections and
    /// to hand theirs back. Until they have received that, they may still answer requests.
    fn replaced(&mut self, old: u64, new: u64) {
        let _ = (old, new);
    }

    /// The supervisor stops: no more workers are started, and only the workers keep the listening sockets. A handler
    /// that owns copies of them must close them now, or new clients are kept waiting until the end. Called once.
    fn stopping(&mut self) {}

    /// A worker reports that its program consists of these files. The paths are absolute, `started` is when the worker
    /// was started. The worker may not be ready yet, and may never be.
    fn files(&mut self, files: Vec<PathBuf>, started: SystemTime) {
        let _ = (files, started);
    }

    /// A message for people, without a line end.
    fn log(&mut self, line: &str) {
        // Written in one piece, because the workers write to the same terminal. A failure cannot be reported anywhere.
        let _ = std::io::stderr().write_all(format!(" * {line}\n").as_bytes());
    }
}

impl EventHandler for () {}

/// A worker that did not become ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerFailure {
    /// The worker's generation.
    pub generation: u64,
    /// The last part of what the worker wrote to stderr, at most 64 KiB; empty unless
    /// [`Program::capture_stderr`](crate::Program::capture_stderr) is set.
    pub output: Vec<u8>,
    /// How the worker ended; `None` if the worker was never started, or was too slow.
    pub status: Option<ExitStatus>,
    /// Why the worker counts as failed, in a sentence.
    pub reason: String,
    /// Whether older workers still serve.
    pub serving: bool,
}

impl fmt::Display for WorkerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The death of a worker that was ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerDeath {
    /// The worker's generation.
    pub generation: u64,
    /// The worker's process id.
    pub pid: u32,
    /// How the worker ended.
    pub status: ExitStatus,
    /// The last part of what the worker wrote to stderr, as in [`WorkerFailure::output`].
    pub output: Vec<u8>,
    /// How long the worker was ready.
    pub uptime: Duration,
    /// The number of deaths since the last healthy run, this one included.
    pub consecutive_failures: u32,
    /// How long the supervisor waits before it starts a replacement.
    pub restart_in: Duration,
}
