//! The process of a script: its pipes, its end, and the end of everything that it has started.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroI32;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use amboss_core::Client;
use rustix::process::{kill_process_group, waitid, Pid, Signal, WaitId, WaitIdOptions};

use super::error_lines::ErrorLines;
use super::fault::Fault;
use super::launch::launch;
use super::lookup::FoundScript;
use super::pipes;
use super::request_body::RequestBody;
use super::slots::Permit;

/// How often to check, while a script writes nothing, whether the client has left or the script has exited.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How many bytes to read from a pipe or a body at once: what a pipe of Linux holds.
const BLOCK: usize = 64 * 1024;
/// How many bytes of standard error to read at once.
const ERROR_BLOCK: usize = 4096;

/// The process groups of this process's scripts. A script is taken out before it is reaped, so each of these ids still
/// belongs to it.
static RUNNING: Mutex<Running> = Mutex::new(Running { process: 0, groups: BTreeSet::new() });

struct Running {
    /// The process that has started the scripts. A fork of it inherits this value, and must not kill them.
    process: u32,
    groups: BTreeSet<NonZeroI32>,
}

/// Calls `change` with the scripts of this process.
fn with_running<R>(change: impl FnOnce(&mut BTreeSet<NonZeroI32>) -> R) -> R {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if running.process != std::process::id() {
        *running = Running { process: std::process::id(), groups: BTreeSet::new() };
    }
    change(&mut running.groups)
}

/// Kills all scripts that this process runs, with everything in their process groups. For a program that is about to
/// end: scripts do not end by themselves with the process that has started them.
pub fn kill_scripts() {
    with_running(|groups| {
        for group in groups.iter().filter_map(|&group| Pid::from_raw(group.get())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    });
}

/// A running script. One thread at a time moves the bytes of all three pipes, so a script can't block on one that is
/// not served. Dropping the value kills the process group and reaps the script.
///
/// The script leads a process group. The group is killed with the script, and also after its exit: a process that
/// must live longer has to leave the group, as `setsid` does.
pub(super) struct Script {
    child: Child,
    group: Pid,
    /// `None` when the body has been written, or the script has closed its standard input.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    source: RequestBody,
    /// The bytes for standard input that the pipe has not taken yet.
    pending: Vec<u8>,
    /// `None` once the response is complete, so that it no longer matters whether the client leaves.
    client: Option<Client>,
    checked: Instant,
    status: Option<ExitStatus>,
    reaped: bool,
    pub errors: ErrorLines,
    _permit: Permit,
}

/// The outcome of [`Script::step`].
pub(super) enum Step {
    /// The script has written these bytes.
    Output(Vec<u8>),
    /// The script has closed its standard output, or exited.
    End,
    /// Something else happened.
    Other,
}

impl Script {
    pub(super) fn start(
        found: &FoundScript,
        variables: Vec<(OsString, OsString)>,
        source: RequestBody,
        client: Client,
        errors: ErrorLines,
        permit: Permit,
    ) -> io::Result<Script> {
        let has_body = !matches!(source, RequestBody::None);
        let mut child = launch(found, variables, has_body)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let group = Pid::from_child(&child);
        with_running(|groups| groups.insert(group.as_raw_nonzero()));
        let Some(stdout) = stdout else { unreachable!("standard output is piped") };
        let checked = Instant::now();
        let script = Script {
            child,
            group,
            stdin,
            stdout,
            stderr,
            source,
            pending: Vec::new(),
            client: Some(client),
            checked,
            status: None,
            reaped: false,
            errors,
            _permit: permit,
        };
        if let Some(stdin) = &script.stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        Ok(script)
    }

    /// Lets the script work on when the client has left: its response is complete.
    pub(super) fn forget_client(&mut self) {
        self.client = None;
    }

    /// Adds a piece of a streamed body. Call it again when [`has_pending`](Script::has_pending) is false.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Whether the script may still read bytes that were given.
    pub(super) fn has_pending(&self) -> bool {
        self.stdin.is_some() && !self.pending.is_empty()
    }

    /// Whether the script can still read its standard input.
    pub(super) fn is_reading(&self) -> bool {
        self.stdin.is_some()
    }

    /// Closes standard input after the last piece of a streamed body.
    pub(super) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Returns the next bytes that the script writes; `None` at the end.
    pub(super) fn read(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            match self.step(deadline)? {
                Step::Output(block) => return Ok(Some(block)),
                Step::End => return Ok(None),
                Step::Other => {}
            }
        }
    }

    /// Waits until a pipe is ready, or some time has passed, and moves bytes.
    pub(super) fn step(&mut self, deadline: Instant) -> Result<Step, Fault> {
        self.refill()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if !self.has_exited() {
                return Err(Fault::TimeOut);
            }
            // The script was in time, and its client was slow to read. Other processes may still write.
            self.kill();
        }
        let stdin = self.stdin.as_ref().filter(|_| !self.pending.is_empty());
        let ready =
            pipes::wait(&self.stdout, self.stderr.as_ref(), stdin, left.min(CHECK_INTERVAL)).map_err(Fault::Io)?;
        if self.checked.elapsed() >= CHECK_INTERVAL {
            self.checked = Instant::now();
            if self.client.as_ref().is_some_and(Client::has_left) {
                return Err(Fault::ClientLeft);
            }
        }
        if ready.stdin {
            self.write_stdin();
        }
        if ready.stderr {
            self.read_stderr();
        }
        if ready.stdout {
            let mut block = vec![0; BLOCK];
            return match self.stdout.read(&mut block) {
                Ok(0) => Ok(Step::End),
                Ok(count) => {
                    block.truncate(count);
                    Ok(Step::Output(block))
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Step::Other),
                Err(error) => Err(Fault::Io(error)),
            };
        }
        // Another process may keep the pipe open after the script's exit. The response ends with the script, and with
        // what it wrote between the wait and its exit.
        let is_idle = !ready.stdin && !ready.stderr;
        if !is_idle || !self.has_exited() || pipes::is_readable(&self.stdout, Duration::ZERO) {
            return Ok(Step::Other);
        }
        Ok(Step::End)
    }

    /// Reads the next piece of a collected body when the last one has been written.
    fn refill(&mut self) -> Result<(), Fault> {
        if self.stdin.is_some() && self.pending.is_empty() {
            if let RequestBody::Collected(reader) = &mut self.source {
                reader.take(BLOCK as u64).read_to_end(&mut self.pending).map_err(Fault::Io)?;
                if self.pending.is_empty() {
                    self.stdin = None;
                }
            }
        }
        Ok(())
    }

    fn write_stdin(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(&self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // EPIPE: a script need not read its input.
            Err(_) => self.stdin = None,
        }
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut block = [0; ERROR_BLOCK];
        match stderr.read(&mut block) {
            Ok(count @ 1..) => self.errors.push(&block[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => self.stderr = None,
        }
    }

    /// Whether the script has exited. It is not reaped, so its process id is not used again.
    pub(super) fn has_exited(&self) -> bool {
        if self.reaped {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that another part of the program has reaped the process.
        !matches!(waitid(WaitId::Pid(self.group), options), Ok(None))
    }

    /// Waits for the script's exit after it has closed its output, at most this long; then kills it. Returns the exit
    /// status, if it is known and was not caused by this.
    pub(super) fn finish(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = deadline_after(timeout);
        let mut pause = Duration::from_micros(100);
        self.stdin = None;
        while !self.has_exited() {
            if Instant::now() >= deadline {
                self.errors.log("it runs on after it has closed its output, so it is killed (`exit_timeout`)");
                self.kill();
                return None;
            }
            // The output is at its end and always ready, so only standard error can be waited for.
            match &self.stderr {
                Some(stderr) => {
                    if pipes::is_readable(stderr, pause) {
                        self.read_stderr();
                    }
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        self.kill();
        self.status
    }

    /// Kills the process group, and reaps the script. The script is the group's leader and not reaped before, so the
    /// signal can't reach another group.
    fn kill(&mut self) {
        if std::mem::replace(&mut self.reaped, true) {
            return;
        }
        with_running(|groups| groups.remove(&self.group.as_raw_nonzero()));
        let _ = kill_process_group(self.group, Signal::KILL);
        self.status = self.child.wait().ok();
        self.log_remaining_errors();
    }

    /// Logs what is left in the pipe of standard error. A process outside of the group may still write to it, so this
    /// neither waits nor reads more than a pipe holds.
    fn log_remaining_errors(&mut self) {
        for _ in 0..BLOCK / ERROR_BLOCK {
            let Some(stderr) = &self.stderr else { break };
            if !pipes::is_readable(stderr, Duration::ZERO) {
                break;
            }
            self.read_stderr();
        }
        self.errors.end_line();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a period that begins now. A duration such as [`Duration::MAX`], which stands for no limit, ends in a century.
pub(super) fn deadline_after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 24 * 60 * 60))
}
