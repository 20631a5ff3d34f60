//! Starting child processes: pinned to a core, on a free port, and waiting until they listen.

use crate::result::Result;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The core that servers are pinned to.
pub const SERVER_CORE: usize = 0;

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until the loopback port accepts connections.
///
/// # Errors
///
/// When the server ends, or does not listen in time.
pub fn wait_until_listening(child: &mut Child, port: u16, name: &str) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("{name} ended before it listened: {status}"));
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{name} does not listen after {START_TIMEOUT:?}"))
}

/// A command for a program that runs on one core, if any. `taskset` replaces itself with the program: the process id is
/// that of the program.
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

/// The message for a program that could not be started.
pub fn spawn_error(command: &Command, error: &io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    let package = match program.as_ref() {
        "taskset" => "util-linux",
        other => other,
    };
    if error.kind() == io::ErrorKind::NotFound {
        format!("{program} is not installed; install it (Debian: apt-get install {package})")
    } else {
        format!("{program} could not be started: {error}")
    }
}

/// Finds a free port on the loopback interface.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> Result<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("there is no free port on the loopback interface: {error}"))
}
