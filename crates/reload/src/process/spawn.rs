//! Starting a program with listening sockets and a control socket, under the descriptor numbers that its environment
//! names.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use command_fds::{CommandFdExt, FdMapping};

use super::child::ChildProcess;
use super::env::{
    CONTROL_FD, GENERATION, KILL_SUFFIX, LISTEN_FDS, RUN_MAIN, SERVER_FD, SUPERVISOR, WERKZEUG_RUN_MAIN,
    WERKZEUG_SERVER_FD,
};
use super::fork::fork;
use super::program::Program;
use super::sigchld::ensure_children_are_reapable;

/// The first descriptor that is passed on, as `sd_listen_fds(3)` requires.
const FIRST_FD: RawFd = 3;

/// Starts a program. Returns the child and, `with_control`, the supervisor's end of the control socket. A forked child
/// closes the descriptors in `close_in_fork`.
///
/// To be called on a thread that lives until the children have ended: on Linux, the death of the thread that started a
/// child counts as the death of its parent.
pub(crate) fn start(
    program: &Program,
    listeners: &[OwnedFd],
    generation: u64,
    with_control: bool,
    close_in_fork: Vec<RawFd>,
) -> io::Result<(ChildProcess, Option<UnixStream>)> {
    ensure_children_are_reapable()?;
    if let Some(forker) = &program.fork {
        return fork(forker, program.kill_with_parent, listeners, generation, close_in_fork);
    }
    let mut command = program.command();
    let mut mappings = Vec::with_capacity(listeners.len() + 1);
    for (child_fd, listener) in (FIRST_FD..).zip(listeners) {
        mappings.push(FdMapping { parent_fd: listener.try_clone()?, child_fd });
    }
    let numbers: Vec<String> = mappings.iter().map(|mapping| mapping.child_fd.to_string()).collect();
    let kill_suffix = if program.kill_with_parent { KILL_SUFFIX } else { "" };
    command
        .env(RUN_MAIN, "true")
        .env(SERVER_FD, numbers.join(","))
        .env(LISTEN_FDS, listeners.len().to_string())
        .env(GENERATION, generation.to_string())
        .env(SUPERVISOR, format!("{}{kill_suffix}", std::process::id()));
    // Without this variable Werkzeug's own server fails in a process that Werkzeug takes for its reloader's child.
    if program.env.iter().any(|(name, _)| name == WERKZEUG_RUN_MAIN) {
        command.env(WERKZEUG_SERVER_FD, FIRST_FD.to_string());
    }
    let mut control = None;
    if with_control {
        let (ours, theirs) = UnixStream::pair()?;
        let child_fd = FIRST_FD + listeners.len() as RawFd;
        command.env(CONTROL_FD, child_fd.to_string());
        mappings.push(FdMapping { parent_fd: theirs.into(), child_fd });
        control = Some(ours);
    }
    let end = FIRST_FD + mappings.len() as RawFd;
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    let _occupied = occupy_below(end)?;
    Ok((ChildProcess::Spawned(command.spawn()?), control))
}

/// Occupies every free descriptor below `end`. `Command::spawn` learns through a pipe why a program cannot be executed;
/// if that pipe got a number that is passed on, the mapping would replace it.
fn occupy_below(end: RawFd) -> io::Result<Vec<OwnedFd>> {
    let (any, _) = UnixStream::pair()?;
    let mut occupied = Vec::new();
    loop {
        let descriptor = OwnedFd::from(any.try_clone()?);
        if descriptor.as_raw_fd() >= end {
            return Ok(occupied);
        }
        occupied.push(descriptor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_missing_program_is_an_error() {
        let program = Program::new("/nowhere/at/all");
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let listeners: Vec<OwnedFd> = (0..20).map(|_| listener.try_clone().unwrap()).collect();
        // A test that runs at the same time may close a descriptor just after all were occupied.
        let error = (0..20).find_map(|_| match start(&program, &listeners, 1, true, Vec::new()) {
            Ok((mut child, _)) => child.reap().map(|_| None).unwrap(),
            Err(error) => Some(error),
        });
        assert_eq!(error.unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_gets_its_sockets_and_no_other_descriptors() {
        let mut program = Program::new("sh");
        let script = r#"for fd in 3 4 5 6 7 8 9; do [ -e /dev/fd/$fd ] && printf "%s " $fd; done
            echo "$AMBOSS_RUN_MAIN $AMBOSS_SERVER_FD $LISTEN_FDS $AMBOSS_CONTROL_FD $AMBOSS_GENERATION $COLOUR" >&2"#;
        program.args = vec!["-c".into(), format!("exec >&2; {script}").into()];
        program.env.push(("COLOUR".into(), "blue".into()));
        program.capture_stderr = true;
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let (mut child, control) =
            start(&program, &[listener.try_clone().unwrap(), listener], 7, true, Vec::new()).unwrap();
        let mut said = String::new();
        child.take_stderr().unwrap().read_to_string(&mut said).unwrap();
        child.reap().unwrap();
        // Descriptors that the process running the tests left open are inherited by every program.
        let plain = std::process::Command::new("sh").arg("-c").arg(format!("exec 2>&1; {script}")).output().unwrap();
        let plain = String::from_utf8(plain.stdout).unwrap();
        let left_open = plain.split(' ').filter(|number| matches!(*number, "6" | "7" | "8" | "9"));
        let said = left_open.fold(said, |said, number| said.replacen(&format!("{number} "), "", 1));
        assert_eq!(said, "3 4 5 true 3,4 2 5 7 blue\n");
        let end = control.unwrap().read(&mut [0]).unwrap();
        assert_eq!(end, 0, "the child's end must be the only other end");
    }
}
