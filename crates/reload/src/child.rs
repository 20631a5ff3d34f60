//! Starting a program with listening sockets and a control socket, under the numbers its environment tells it; or a copy
//! of this process, which has them at hand.

mod fork;
mod process;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use fork::Forker;
pub use fork::{Entered, Forked};
pub(crate) use process::Process;

use crate::inherited::{
    CONTROL_FD, GENERATION, KILL, LISTEN_FDS, NOT_PASSED_ON, RUN_MAIN, SERVER_FD, SUPERVISOR, WERKZEUG_RUN_MAIN,
    WERKZEUG_SERVER_FD,
};

/// The first descriptor that is passed on: `sd_listen_fds(3)` says so.
const FIRST: RawFd = 3;

/// What to run.
///
/// ```
/// use amboss_reload::child::Program;
/// let mut program = Program::new("./target/debug/app");
/// program.args.push("--verbose".into());
/// program.env.push(("RUST_BACKTRACE".into(), "1".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// The executable: a path (a relative one is looked up from `current_dir`), or a name that is looked up in `PATH`.
    pub path: PathBuf,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
    /// Variables set in addition to the supervisor's own.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; the supervisor's own folder without it.
    pub current_dir: Option<PathBuf>,
    /// An executable and its first arguments that make the rest of its arguments the program, by
    /// [`exec_as_child`](crate::inherited::exec_as_child). Without it the program gets no `LISTEN_PID`, and one that
    /// does not read its control socket outlives a supervisor that was killed.
    pub shim: Option<Vec<OsString>>,
    /// When the supervisor is killed, so is the program, instead of being asked to end (Linux, with a
    /// [`shim`](Program::shim)): for programs that may not obey, and would hold the port.
    pub kill_with_parent: bool,
    /// Its stderr goes through the supervisor, which keeps the end of it for
    /// [`Failure::output`](crate::supervisor::Failure::output). The program then sees a pipe instead of a terminal.
    pub capture: bool,
    /// Instead of starting the program, this process is copied; see [`Program::forked`].
    fork: Option<Forker>,
}

impl Program {
    /// A program without arguments.
    pub fn new(path: impl Into<PathBuf>) -> Program {
        Program {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            current_dir: None,
            shim: None,
            kill_with_parent: false,
            capture: false,
            fork: None,
        }
    }

    /// A copy of this process, made by `fork`: in the parent it returns the copy's process id; in the copy it
    /// [enters](Forked::enter) what it was given, serves, and ends the process. Called in the thread that
    /// [runs](crate::supervisor::Supervisor::run) the supervisor, the only one that the copy has. In the copy the child is
    /// known by what it was given and not by its environment, and speaks over its control socket.
    ///
    /// Of the fields only `kill_with_parent` counts.
    pub fn forked(fork: impl Fn(Forked) -> io::Result<u32> + Send + Sync + 'static) -> Program {
        Program { fork: Some(Forker::new(fork)), ..Program::new("") }
    }

    /// Is it a copy of this process?
    pub(crate) fn is_forked(&self) -> bool {
        self.fork.is_some()
    }

    fn command(&self) -> Command {
        let mut command = match self.shim.as_deref() {
            Some([shim, first @ ..]) => {
                let mut command = Command::new(shim);
                command.args(first).arg(&self.path);
                command
            }
            _ => Command::new(&self.path),
        };
        command.args(&self.args);
        for name in NOT_PASSED_ON {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.current_dir {
            command.current_dir(folder);
        }
        if self.capture {
            command.stderr(Stdio::piped());
        }
        command
    }
}

/// Starts a program; the supervisor's end of the control socket is given when the program is to have one. A copy of this
/// process closes those descriptors that are `of_the_supervisor`.
///
/// To be called from the thread that waits for the children to the end: on Linux, the death of the thread that started
/// a child counts as its parent's.
pub(crate) fn start(
    program: &Program,
    listeners: &[OwnedFd],
    generation: u64,
    with_control: bool,
    of_the_supervisor: Vec<RawFd>,
) -> io::Result<(Process, Option<UnixStream>)> {
    crate::sigchld::ensure_collectable()?;
    if let Some(forker) = &program.fork {
        return fork::fork(forker, program.kill_with_parent, listeners, generation, of_the_supervisor);
    }
    let mut command = program.command();
    let mut mappings = Vec::with_capacity(listeners.len() + 1);
    for (child_fd, listener) in (FIRST..).zip(listeners) {
        mappings.push(FdMapping { parent_fd: listener.try_clone()?, child_fd });
    }
    let numbers: Vec<String> = mappings.iter().map(|mapping| mapping.child_fd.to_string()).collect();
    command
        .env(RUN_MAIN, "true")
        .env(SERVER_FD, numbers.join(","))
        .env(LISTEN_FDS, listeners.len().to_string())
        .env(GENERATION, generation.to_string())
        .env(SUPERVISOR, format!("{}{}", std::process::id(), if program.kill_with_parent { KILL } else { "" }));
    // Without it Werkzeug's own server fails in a process that Werkzeug takes for its reloader's child.
    if program.env.iter().any(|(name, _)| name == WERKZEUG_RUN_MAIN) {
        command.env(WERKZEUG_SERVER_FD, FIRST.to_string());
    }
    let mut control = None;
    if with_control {
        let (ours, theirs) = UnixStream::pair()?;
        let child_fd = FIRST + listeners.len() as RawFd;
        command.env(CONTROL_FD, child_fd.to_string());
        mappings.push(FdMapping { parent_fd: theirs.into(), child_fd });
        control = Some(ours);
    }
    let end = FIRST + mappings.len() as RawFd;
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    let _occupied = occupy_below(end)?;
    Ok((Process::Spawned(command.spawn()?), control))
}

/// Occupies every free descriptor below `end`. `spawn` learns through a pipe why a program can't be executed; with a
/// number that is passed on, that pipe would be replaced.
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
    fn a_program_that_is_not_there_is_an_error() {
        let program = Program::new("/nowhere/at/all");
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let listeners: Vec<OwnedFd> = (0..20).map(|_| listener.try_clone().unwrap()).collect();
        // A test beside this one may close a descriptor just when all were occupied.
        let error = (0..20).find_map(|_| match start(&program, &listeners, 1, true, Vec::new()) {
            Ok((mut child, _)) => child.collect().map(|_| None).unwrap(),
            Err(error) => Some(error),
        });
        assert_eq!(error.unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_the_supervisor_was_told_is_not_passed_on() {
        let mut program = Program::new("app");
        program.env.push(("NOTIFY_SOCKET".into(), "/run/another".into()));
        let command = program.command();
        let of = |name: &str| command.get_envs().find(|(key, _)| *key == name).map(|(_, value)| value);
        assert_eq!(of("LISTEN_PID"), Some(None));
        assert_eq!(of("AMBOSS_CONTROL_FD"), Some(None));
        assert_eq!(of("NOTIFY_SOCKET"), Some(Some("/run/another".as_ref())));
    }

    #[test]
    fn a_child_gets_its_sockets_and_nothing_else() {
        let mut program = Program::new("sh");
        let script = r#"for fd in 3 4 5 6 7 8 9; do [ -e /dev/fd/$fd ] && printf "%s " $fd; done
            echo "$AMBOSS_RUN_MAIN $AMBOSS_SERVER_FD $LISTEN_FDS $AMBOSS_CONTROL_FD $AMBOSS_GENERATION $COLOUR" >&2"#;
        program.args = vec!["-c".into(), format!("exec >&2; {script}").into()];
        program.env.push(("COLOUR".into(), "blue".into()));
        program.capture = true;
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let (mut child, control) =
            start(&program, &[listener.try_clone().unwrap(), listener], 7, true, Vec::new()).unwrap();
        let mut said = String::new();
        child.take_stderr().unwrap().read_to_string(&mut said).unwrap();
        child.collect().unwrap();
        // What whoever runs the tests has left open is in every program that they start.
        let plain = std::process::Command::new("sh").arg("-c").arg(format!("exec 2>&1; {script}")).output().unwrap();
        let plain = String::from_utf8(plain.stdout).unwrap();
        let left = plain.split(' ').filter(|number| matches!(*number, "6" | "7" | "8" | "9"));
        let said = left.fold(said, |said, number| said.replacen(&format!("{number} "), "", 1));
        assert_eq!(said, "3 4 5 true 3,4 2 5 7 blue\n");
        let end = control.unwrap().read(&mut [0]).unwrap();
        assert_eq!(end, 0, "the child's end must be the only other one");
    }
}
