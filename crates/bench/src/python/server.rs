//! One server in a process of its own: started from the environment, pinned, awaited, and ended with its workers.

use super::peers::THREADS;
use super::site::last_words;
use super::Bench;
use crate::child::{could_not_start, free_port, pinned_command, wait_until_listening, SERVER_CORE};
use crate::{proc, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server. Dropping it ends its processes.
pub struct Server {
    child: Child,
    /// The loopback port it listens on.
    pub port: u16,
    folder: PathBuf,
}

impl Server {
    /// Starts a command of [`Peer::command`](super::peers::Peer::command)'s kind on `module:object` and returns once its port
    /// accepts.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends at once, or does not listen in time; with its last words.
    pub fn start(bench: &Bench, name: &str, command: &str, object: &str, pinned: bool) -> Result<Server> {
        let port = free_port()?;
        let bench_program = std::env::current_exe().unwrap_or_default();
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| {
                word.replace("PORT", &port.to_string())
                    .replace("THREADS", &THREADS.to_string())
                    .replace("OBJECT", object)
                    .replace("BENCH", &bench_program.to_string_lossy())
                    .replace("ENVIRONMENT", &bench.environment.folder().to_string_lossy())
            })
            .collect();
        let Some((program, arguments)) = words.split_first() else {
            return Err(format!("{name} has no command"));
        };
        let program = bench.environment.program(program);
        let folder = bench.site.folder();
        let log = bench.site.log();
        let errors = File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut command = pinned_command(&program.to_string_lossy(), pinned.then_some(SERVER_CORE));
        command.args(arguments).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        // Half of the servers would look for the application's modules elsewhere, or be told about another environment.
        command.env_remove("PYTHONPATH").env_remove("VIRTUAL_ENV");
        let child = command.spawn().map_err(|error| could_not_start(&command, &error))?;
        let mut server = Server { child, port, folder };
        wait_until_listening(&mut server.child, port, name).map_err(|why| format!("{why} ({})", last_words(&log)))?;
        Ok(server)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    /// Asks first, then insists, and takes along the workers that did not notice.
    fn drop(&mut self) {
        let workers = proc::children(self.pid());
        proc::terminate(self.pid());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for worker in workers {
            end_worker(worker, &self.folder, deadline);
        }
    }
}

/// Waits for an orphan to end by itself, and ends it after that. The number may be somebody else's by then, who does not work in
/// our folder.
fn end_worker(pid: u32, folder: &Path, deadline: Instant) {
    let is_ours = || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|working| working == folder);
    while is_ours() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    if is_ours() {
        proc::kill(pid);
    }
}
