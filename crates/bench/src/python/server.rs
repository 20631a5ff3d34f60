//! A server in a process of its own: started from the virtual environment, pinned, and ended with its workers.

use super::app_folder::last_lines;
use super::bench::Bench;
use super::peers::THREADS;
use crate::proc;
use crate::process::{free_port, pinned_command, spawn_error, wait_until_listening, SERVER_CORE};
use crate::result::Result;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Dropping it ends its processes.
pub struct Server {
    child: Child,
    /// Its port on the loopback interface.
    pub port: u16,
    folder: PathBuf,
}

impl Server {
    /// Starts a command like [`Peer::command`](super::peers::Peer::command) with `module:object`, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// When the server cannot be started, ends at once, or does not listen in time: a message with the last lines of
    /// its log.
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
                    .replace("ENVIRONMENT", &bench.venv.folder().to_string_lossy())
            })
            .collect();
        let Some((program, arguments)) = words.split_first() else {
            return Err(format!("{name} has no command"));
        };
        let program = bench.venv.program(program);
        let folder = bench.apps.path();
        let log = bench.apps.log();
        let errors = File::create(&log).map_err(|error| format!("can't write {}: {error}", log.display()))?;
        let mut command = pinned_command(&program.to_string_lossy(), pinned.then_some(SERVER_CORE));
        command.args(arguments).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        // These variables would change where servers look for modules.
        command.env_remove("PYTHONPATH").env_remove("VIRTUAL_ENV");
        let child = command.spawn().map_err(|error| spawn_error(&command, &error))?;
        let mut server = Server { child, port, folder };
        wait_until_listening(&mut server.child, port, name)
            .map_err(|reason| format!("{reason} ({})", last_lines(&log)))?;
        Ok(server)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    /// Sends SIGTERM first, kills the process later, and then ends the workers that are left.
    fn drop(&mut self) {
        let workers = proc::children(self.pid());
        proc::terminate(self.pid());
        let deadline = Instant::now() + STOP_TIMEOUT;
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

/// Waits until an orphaned worker ends, and kills it after the deadline. Checks its working directory, because the
/// process id may have been reused for another process.
fn end_worker(pid: u32, folder: &Path, deadline: Instant) {
    let is_ours = || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|working| working == folder);
    while is_ours() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    if is_ours() {
        proc::kill(pid);
    }
}
