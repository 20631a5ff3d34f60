//! What a supervisor tells the program that it runs in.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

/// Told what happens, from the supervisor's thread: whatever takes long belongs into another.
pub trait Events: Send {
    /// The children of this generation will be stand-ins, see
    /// [`SupervisorHandle::stand_in`](super::SupervisorHandle::stand_in). None of them was started yet.
    fn stands_in(&mut self, generation: u64) {
        let _ = generation;
    }

    /// A child was started.
    fn started(&mut self, generation: u64, pid: u32) {
        let _ = (generation, pid);
    }

    /// A child serves.
    fn ready(&mut self, generation: u64) {
        let _ = generation;
    }

    /// A child could not be started, or has ended before it was ready. It is not started again unless
    /// [`Options::retry`](super::Options::retry) says so and children are missing.
    fn failed(&mut self, failure: &Failure) {
        let _ = failure;
    }

    /// A child that was ready has died, and will be replaced.
    fn died(&mut self, death: &Death) {
        let _ = death;
    }

    /// The generation `new` has taken over: the children of `old` have been told to accept nothing more and to hand
    /// their connections back. In the moment until they hear it they may still answer something.
    fn swapped(&mut self, old: u64, new: u64) {
        let _ = (old, new);
    }

    /// It stops: no child is started any more, and the sockets are the children's alone. Whoever has copies of them closes
    /// them now, or clients that come are kept waiting until the end. Called once.
    fn stopping(&mut self) {}

    /// A child that was started then says that it consists of these files; it may not be ready yet, and never be. Paths
    /// are absolute.
    fn files(&mut self, files: Vec<PathBuf>, started: SystemTime) {
        let _ = (files, started);
    }

    /// A line for people.
    fn say(&mut self, line: &str) {
        // In one piece: the children speak to the same terminal. Nobody can be told when it can't be written.
        let _ = std::io::stderr().write_all(format!(" * {line}\n").as_bytes());
    }
}

/// Prints what is for people to stderr, and does nothing else.
impl Events for () {}

/// A child that did not become ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Its generation.
    pub generation: u64,
    /// The end of what it wrote to stderr, at most 64 KiB; empty unless
    /// [`Program::capture`](crate::child::Program::capture) is set.
    pub output: Vec<u8>,
    /// How it ended; `None` when it was never started, or was too slow.
    pub status: Option<ExitStatus>,
    /// Why it counts as failed, for people.
    pub why: String,
    /// Do older children still serve?
    pub serving: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The end of a child that was ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Death {
    /// Its generation.
    pub generation: u64,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// As [`Failure::output`].
    pub output: Vec<u8>,
    /// How long it was ready.
    pub lived: Duration,
    /// How many deaths followed each other.
    pub row: u32,
    /// When a new one is started.
    pub again_in: Duration,
}

/// The last line with anything in it, for a sentence that has to be short.
pub(super) fn last_line(output: &[u8]) -> Option<String> {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect())
}
