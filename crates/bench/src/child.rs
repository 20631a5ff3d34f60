//! One peer in a process of its own: started through this very program, pinned, awaited, and ended.

use crate::certificate;
use crate::peers::{self, Mode, Peer, Site};
use crate::{proc, Result};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The core servers are pinned to.
pub const SERVER_CORE: usize = 0;

/// How long a server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running peer. Dropping it ends the process.
pub struct Server {
    child: Child,
    /// The loopback port it listens on.
    pub port: u16,
}

impl Server {
    /// Starts the peer and returns once its port accepts.
    ///
    /// # Errors
    ///
    /// When the process cannot be started, ends at once, or does not listen in time.
    pub fn start(peer: &Peer, mode: Mode, pinned: bool) -> Result<Self> {
        let port = free_port()?;
        let program = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
        let mut command = pinned_command(&program.to_string_lossy(), pinned.then_some(SERVER_CORE));
        command.args(["serve", peer.name, &port.to_string(), mode.word()]).arg(certificate::folder(std::process::id()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| could_not_start(&command, &error))?;
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
    /// Asks first, because nginx has to end its workers; then insists.
    fn drop(&mut self) {
        proc::terminate(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            // actix-web finishes its connections for up to 30 s; only nginx needs the time.
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

/// Returns once the loopback port accepts.
///
/// # Errors
///
/// When the server ends, or does not listen in time.
pub fn wait_until_listening(child: &mut Child, port: u16, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("{name} ended before it listened: {status}"));
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{name} does not listen"))
}

/// A command, through taskset when it is to run on one core. Taskset replaces itself with the program: the process id is the
/// program's.
pub fn pinned_command(program: &str, core: Option<usize>) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string(), program]);
            command
        }
    }
}

/// The sentence for a program that did not start.
pub fn could_not_start(command: &Command, error: &io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    let package = match program.as_ref() {
        "taskset" => "util-linux",
        other => other,
    };
    if error.kind() == io::ErrorKind::NotFound {
        format!("{program} is missing: install it (Debian: apt-get install {package})")
    } else {
        format!("{program} could not be started: {error}")
    }
}

/// The hidden subcommand `serve <peer> <port> <mode> <folder>`: becomes that server.
///
/// # Errors
///
/// A sentence with what the server said when it gave up.
pub fn serve(arguments: &[String]) -> Result<()> {
    let [name, port, mode, folder] = arguments else {
        return Err("serve takes a peer, a port, a mode and the folder of the certificate".into());
    };
    let peer = peers::find(name).ok_or_else(|| format!("there is no peer {name:?}"))?;
    proc::raise_open_files();
    let site = Site {
        port: port.parse().map_err(|_| format!("{port:?} is no port number"))?,
        // Respects the cores this process is pinned to.
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        mode: Mode::from_word(mode).ok_or_else(|| format!("there is no mode {mode:?}"))?,
        folder: folder.into(),
    };
    (peer.serve)(&site).map_err(|error| format!("{name}: {error}"))
}

/// A loopback port nobody listens on.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> Result<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port on the loopback interface: {error}"))
}
