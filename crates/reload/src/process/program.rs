//! The program that a supervisor runs.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::env::NOT_PASSED_ON;
use super::fork::{Forked, Forker};

/// The program to run as a child.
///
/// ```
/// use amboss_reload::Program;
/// let mut program = Program::new("./target/debug/app");
/// program.args.push("--verbose".into());
/// program.env.push(("RUST_BACKTRACE".into(), "1".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// The executable: a path, or a name that is searched in `PATH`.
    pub path: PathBuf,
    /// The arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Environment variables, set in addition to the supervisor's own.
    pub env: Vec<(OsString, OsString)>,
    /// A command that executes the program which is appended to it, by [`exec_as_child`](crate::exec_as_child). Without
    /// it the program gets no `LISTEN_PID`, and a program that does not read its control socket outlives a supervisor
    /// that was killed.
    pub exec_wrapper: Option<Vec<OsString>>,
    /// Whether the program is killed when the supervisor dies, instead of being asked to end (Linux, with an
    /// [`exec_wrapper`](Program::exec_wrapper)). For programs that may ignore SIGTERM and would keep the port open.
    pub kill_with_parent: bool,
    /// Whether stderr goes through the supervisor, which keeps the last part of the output for
    /// [`WorkerFailure::output`](crate::WorkerFailure::output). The program then sees a pipe instead of a terminal.
    pub capture_stderr: bool,
    /// If set, this process is forked instead of executing a program; see [`Program::forked`].
    pub(super) fork: Option<Forker>,
}

impl Program {
    /// A program without arguments.
    pub fn new(path: impl Into<PathBuf>) -> Program {
        Program {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            exec_wrapper: None,
            kill_with_parent: false,
            capture_stderr: false,
            fork: None,
        }
    }

    /// A copy of this process, made by the function `fork`. In the parent, `fork` returns the process id of the copy.
    /// In the copy, it calls [`Forked::enter`], serves, and ends the process.
    ///
    /// `fork` is called on the thread that [runs](crate::Supervisor::run) the supervisor, which is the only thread of
    /// the copy. No environment variables are set for a forked child, and it always uses its control socket. Of the
    /// program's fields only `kill_with_parent` applies.
    pub fn forked(fork: impl Fn(Forked) -> io::Result<u32> + Send + Sync + 'static) -> Program {
        Program { fork: Some(Forker::new(fork)), ..Program::new("") }
    }

    /// Whether the program is a copy of this process.
    pub(crate) fn is_forked(&self) -> bool {
        self.fork.is_some()
    }

    /// The command that executes the program, without the variables that describe its sockets.
    pub(super) fn command(&self) -> Command {
        let mut command = match self.exec_wrapper.as_deref() {
            Some([wrapper, arguments @ ..]) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&self.path);
                command
            }
            _ => Command::new(&self.path),
        };
        command.args(&self.args);
        for name in NOT_PASSED_ON {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if self.capture_stderr {
            command.stderr(Stdio::piped());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisors_own_variables_are_not_passed_on() {
        let mut program = Program::new("app");
        program.env.push(("NOTIFY_SOCKET".into(), "/run/another".into()));
        let command = program.command();
        let of = |name: &str| command.get_envs().find(|(key, _)| *key == name).map(|(_, value)| value);
        assert_eq!(of("LISTEN_PID"), Some(None));
        assert_eq!(of("AMBOSS_CONTROL_FD"), Some(None));
        assert_eq!(of("NOTIFY_SOCKET"), Some(Some("/run/another".as_ref())));
    }
}
