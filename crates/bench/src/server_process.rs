//! A peer in a process of its own: this program, started again with the subcommand `serve`.

use crate::certificate;
use crate::file_folder;
use crate::peers::{self, Mode, Peer, PeerConfig};
use crate::proc;
use crate::process::{free_port, pinned_command, spawn_error, wait_until_listening, SERVER_CORE};
use crate::result::Result;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long nginx may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running peer. Dropping it ends the process.
pub struct Server {
    child: Child,
    /// Its port on the loopback interface.
    pub port: u16,
}

impl Server {
    /// Starts the peer and waits until it listens.
    ///
    /// # Errors
    ///
    /// When the process cannot be started, ends at once, or does not listen in time.
    pub fn start(peer: &Peer, mode: Mode, pinned: bool) -> Result<Self> {
        let port = free_port()?;
        let folder = match mode {
            Mode::Files => file_folder::folder(std::process::id()),
            _ => certificate::folder(std::process::id()),
        };
        let program = std::env::current_exe().map_err(|error| format!("can't find this program's path: {error}"))?;
        let mut command = pinned_command(&program.to_string_lossy(), pinned.then_some(SERVER_CORE));
        command.args(["serve", peer.name, &port.to_string(), mode.name()]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| spawn_error(&command, &error))?;
        let mut server = Server { child, port };
        wait_until_listening(&mut server.child, server.port, peer.name)?;
        Ok(server)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    /// Sends SIGTERM first, because nginx has to stop its workers, and kills the process later.
    fn drop(&mut self) {
        proc::terminate(self.child.id());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            // Only nginx needs the time. actix-web would wait for its connections for up to 30 s.
            std::thread::sleep(Duration::from_millis(10));
            if !peers::nginx::folder(self.child.id()).exists() {
                break;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(peers::nginx::folder(self.child.id()));
    }
}

/// The hidden subcommand `serve <peer> <port> <mode> <folder>`, which serves as that peer.
///
/// # Errors
///
/// A message with the error of the server.
pub fn serve(arguments: &[String]) -> Result<()> {
    let [name, port, mode, folder] = arguments else {
        return Err("serve takes a peer, a port, a mode and a folder".into());
    };
    let peer = peers::find(name).ok_or_else(|| format!("there is no peer {name:?}"))?;
    proc::raise_open_file_limit();
    let config = PeerConfig {
        port: port.parse().map_err(|_| format!("{port:?} is not a port number"))?,
        // `available_parallelism` respects the cores that this process is pinned to.
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        mode: Mode::from_name(mode).ok_or_else(|| format!("there is no mode {mode:?}"))?,
        folder: folder.into(),
    };
    (peer.serve)(&config).map_err(|error| format!("{name}: {error}"))
}
