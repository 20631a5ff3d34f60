//! The exec wrapper: a process that prepares itself as a supervisor's child, and then executes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;

use super::env::{KILL_SUFFIX, LISTEN_PID, SUPERVISOR};
use super::parent_death::die_with_parent;

/// Executes the program `arguments[0]` in place of this process, with the other arguments as its own. Returns only if
/// that fails, with the reason.
///
/// This is the body of the hidden subcommand that [`Program::exec_wrapper`](crate::Program::exec_wrapper) names. Only
/// the process itself knows its process id and can ask to be ended with its parent. It sets `LISTEN_PID`, asks for
/// SIGTERM on its parent's death (on Linux; SIGKILL with
/// [`Program::kill_with_parent`](crate::Program::kill_with_parent)), and executes the program.
pub fn exec_as_child(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let Some(program) = arguments.next() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program is given; name the program to run");
    };
    if let Err(error) = die_with_supervisor() {
        return error;
    }
    let mut command = Command::new(&program);
    command.args(arguments).env_remove(SUPERVISOR).env(LISTEN_PID, std::process::id().to_string());
    let error = command.exec();
    io::Error::new(error.kind(), format!("can't run {}: {error}", program.to_string_lossy()))
}

fn die_with_supervisor() -> io::Result<()> {
    let supervisor = std::env::var(SUPERVISOR).unwrap_or_default();
    let (pid, kill) = match supervisor.strip_suffix(KILL_SUFFIX) {
        Some(pid) => (pid, true),
        None => (supervisor.as_str(), false),
    };
    die_with_parent(pid.parse().ok().and_then(Pid::from_raw), kill)
}
