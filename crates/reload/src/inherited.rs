//! What a child finds in its environment, and how it takes it over.
//!
//! | variable | meaning |
//! |---|---|
//! | `AMBOSS_RUN_MAIN` | `true`: this process is a supervisor's child |
//! | `AMBOSS_SERVER_FD` | the listening sockets' descriptors: `3` or `3,4,…` |
//! | `LISTEN_FDS`, `LISTEN_PID` | the same for programs that know systemd's way, `sd_listen_fds(3)` |
//! | `AMBOSS_CONTROL_FD` | the descriptor of the socket that [`control`](crate::control) speaks over |
//! | `AMBOSS_GENERATION` | counts the replacements; children that serve beside each other share it |
//! | `WERKZEUG_SERVER_FD` | the first listening socket's descriptor, for programs that are given `WERKZEUG_RUN_MAIN` |

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Pid;

use crate::control::{Control, Message};

pub(crate) const RUN_MAIN: &str = "AMBOSS_RUN_MAIN";
pub(crate) const SERVER_FD: &str = "AMBOSS_SERVER_FD";
pub(crate) const CONTROL_FD: &str = "AMBOSS_CONTROL_FD";
pub(crate) const GENERATION: &str = "AMBOSS_GENERATION";
/// The supervisor's process id, for the shim alone.
pub(crate) const SUPERVISOR: &str = "AMBOSS_SUPERVISOR";
/// Behind the supervisor's process id: the child is to be killed with it.
pub(crate) const KILL: &str = " KILL";
/// By which Werkzeug takes a process for its reloader's child.
pub(crate) const WERKZEUG_RUN_MAIN: &str = "WERKZEUG_RUN_MAIN";
/// Where Werkzeug's own server listens in such a process.
pub(crate) const WERKZEUG_SERVER_FD: &str = "WERKZEUG_SERVER_FD";
pub(crate) const LISTEN_FDS: &str = "LISTEN_FDS";
pub(crate) const LISTEN_PID: &str = "LISTEN_PID";

/// What a parent of this process, or this process as a child, was told by its own parent: nothing of it concerns the
/// next program.
pub(crate) const NOT_PASSED_ON: [&str; 12] = [
    RUN_MAIN,
    SERVER_FD,
    CONTROL_FD,
    GENERATION,
    SUPERVISOR,
    LISTEN_FDS,
    LISTEN_PID,
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    WERKZEUG_RUN_MAIN,
    WERKZEUG_SERVER_FD,
];

/// This process was made a child without any variables.
static FORKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn became_a_child() {
    FORKED.store(true, Ordering::SeqCst);
}

/// Is this process a supervisor's child?
pub fn is_running_from_reloader() -> bool {
    FORKED.load(Ordering::SeqCst) || std::env::var_os(RUN_MAIN).is_some_and(|value| value == "true")
}

/// What the supervisor passed on to this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inherited {
    /// Descriptors of the listening sockets.
    pub listeners: Vec<RawFd>,
    /// The descriptor of the control socket, unless the supervisor takes this for a program that does not know it.
    pub control: Option<RawFd>,
    /// Counts the replacements, from 1.
    pub generation: u64,
}

impl Inherited {
    /// Reads the environment; `None` when no supervisor started this process, or nobody tells it of sockets.
    ///
    /// # Errors
    /// Variables that are no descriptors.
    pub fn from_env() -> io::Result<Option<Inherited>> {
        // Without sockets it is what a child has started in its turn, and has taken them out of its environment for.
        if !is_running_from_reloader() || std::env::var_os(SERVER_FD).is_none() {
            return Ok(None);
        }
        Inherited::from_variables(|name| std::env::var_os(name)).map(Some)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Inherited> {
        let numbers = |name: &str| -> io::Result<Vec<RawFd>> {
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { return Ok(Vec::new()) };
            let parse = |word: &str| word.trim().parse().ok().filter(|number: &RawFd| *number >= 0);
            let numbers = value.to_str().and_then(|text| text.split(',').map(parse).collect());
            numbers.ok_or_else(|| {
                let why = format!("{name} is {value:?}; it has to be descriptors with commas between them, as in 3,4");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })
        };
        Ok(Inherited {
            listeners: numbers(SERVER_FD)?,
            control: numbers(CONTROL_FD)?.first().copied(),
            generation: variable(GENERATION).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(0),
        })
    }

    /// Takes over the control socket; `None` without one.
    ///
    /// # Errors
    /// When the descriptor is not open, was not inherited, or was taken over before.
    pub fn take_control(&self) -> io::Result<Option<Control>> {
        let Some(number) = self.control else { return Ok(None) };
        Control::new(UnixStream::from(take(number)?)).map(Some)
    }

    /// Takes over the listening sockets.
    ///
    /// # Errors
    /// When a descriptor is not open, was not inherited, or was taken over before.
    pub fn take_listeners(&self) -> io::Result<Vec<OwnedFd>> {
        self.listeners.iter().map(|&number| take(number)).collect()
    }
}

/// Takes over an inherited descriptor: it gets another number, is closed on `exec`, and the old number is closed.
///
/// A number proves nothing, and the descriptor may have an owner in this process. So each number is taken over once, and
/// only if the descriptor has no FD_CLOEXEC, as far as the system tells: what a process inherits cannot have it, and
/// what std and other careful libraries open has it.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let refuse = |why: &str| {
        let why = format!("descriptor {number} {why}; is the environment that of another process?");
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    };
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&number) {
        return refuse("was taken over before");
    }
    if is_closed_on_exec(number) {
        return refuse("was not inherited");
    }
    // Only the system can tell whether a number is a descriptor, and make an owned one of it without a promise: the
    // process sends it to itself.
    let (sender, receiver) = UnixStream::pair()?;
    let mut receiver = Control::new(receiver)?;
    let sockets = [number];
    let frame = [IoSlice::new(b"C\0\0\0\0")];
    sendmsg::<()>(sender.as_raw_fd(), &frame, &[ControlMessage::ScmRights(&sockets)], MsgFlags::empty(), None)
        .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("descriptor {number}: {error}")))?;
    match receiver.receive()? {
        Some(Message::Connection { socket, .. }) => {
            taken.insert(number);
            let _ = nix::unistd::close(number);
            Ok(socket)
        }
        _ => Err(io::Error::other(format!("descriptor {number} can't be taken over: too many files are open"))),
    }
}

/// Whether a descriptor is known to have FD_CLOEXEC; only Linux tells without borrowing it.
fn is_closed_on_exec(number: RawFd) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    // The kernel shows the flag of the descriptor as the one that `open` takes.
    flags.is_some_and(|flags| flags & nix::fcntl::OFlag::O_CLOEXEC.bits() as u32 != 0)
}

/// Becomes the program `arguments[0]` with the rest as its arguments, as a supervisor's child; returns only with the
/// reason why that failed.
///
/// For the hidden subcommand that [`Program::shim`](crate::child::Program::shim) names. Only the process itself knows
/// its id and can ask to be ended with its parent, so this says `LISTEN_PID`, asks for SIGTERM on the parent's death (on
/// Linux; SIGKILL with [`Program::kill_with_parent`](crate::child::Program::kill_with_parent)), and executes the program
/// in its own place.
pub fn exec_as_child(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let Some(program) = arguments.next() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "name the program to run");
    };
    if let Err(error) = end_with_parent() {
        return error;
    }
    let mut command = Command::new(&program);
    command.args(arguments).env_remove(SUPERVISOR).env(LISTEN_PID, std::process::id().to_string());
    let error = command.exec();
    io::Error::new(error.kind(), format!("can't run {}: {error}", program.to_string_lossy()))
}

/// Makes `accept` on a listening socket wait, as programs expect that know only `LISTEN_FDS`; in all processes that have
/// it.
///
/// # Errors
/// When it is not open.
pub fn block(listener: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(listener, false)?)
}

/// CTRL+C does not end this process from now on. A terminal sends it to the supervisor as well, which says what is to
/// be done: running requests finish. A handler that the program has, or sets later, is called nevertheless.
///
/// # Errors
/// When the system takes no handler.
pub fn leave_interrupts_to_the_supervisor() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::new(AtomicBool::new(false))).map(drop)
}

fn end_with_parent() -> io::Result<()> {
    let supervisor = std::env::var(SUPERVISOR).unwrap_or_default();
    let (pid, kill) = match supervisor.strip_suffix(KILL) {
        Some(pid) => (pid, true),
        None => (supervisor.as_str(), false),
    };
    end_with(pid.parse().ok().and_then(Pid::from_raw), kill)
}

/// On Linux the end of this process' parent is from now on its own: by SIGTERM, or by SIGKILL.
pub(crate) fn end_with(supervisor: Option<Pid>, kill: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{set_parent_process_death_signal, Signal};
        set_parent_process_death_signal(Some(if kill { Signal::KILL } else { Signal::TERM }))?;
    }
    // Whoever died before the request sends no signal any more.
    if supervisor.is_some() && supervisor != rustix::process::getppid() {
        return Err(io::Error::other("the supervisor has ended"));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = kill;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::IntoRawFd;

    fn from(variables: &[(&str, &str)]) -> io::Result<Inherited> {
        Inherited::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_environment_names_descriptors() {
        let inherited = from(&[(SERVER_FD, "3,4"), (CONTROL_FD, "5"), (GENERATION, "7")]).unwrap();
        assert_eq!(inherited, Inherited { listeners: vec![3, 4], control: Some(5), generation: 7 });
        let inherited = from(&[(SERVER_FD, "3")]).unwrap();
        assert_eq!(inherited, Inherited { listeners: vec![3], control: None, generation: 0 });
    }

    #[test]
    fn what_is_no_descriptor_is_named_in_the_error() {
        for wrong in ["x", "3,", "-1", "3;4"] {
            let error = from(&[(SERVER_FD, wrong)]).unwrap_err().to_string();
            assert!(error.contains("AMBOSS_SERVER_FD") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_taken_descriptor_is_the_same_socket_and_the_number_is_free() {
        let (mut client, server) = UnixStream::pair().unwrap();
        // As `exec` would have left it.
        rustix::io::fcntl_setfd(&server, rustix::io::FdFlags::empty()).unwrap();
        let number = server.into_raw_fd();
        let mut taken = UnixStream::from(take(number).unwrap());
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        taken.write_all(b"here").unwrap();
        // Only one copy is left: its end is the stream's.
        drop(taken);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "here");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_descriptor_that_has_an_owner_here_is_left_alone() {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let inherited = Inherited { listeners: vec![server.as_raw_fd()], ..Inherited::default() };
        let error = inherited.take_listeners().unwrap_err().to_string();
        assert!(error.contains("was not inherited"), "{error}");
        server.write_all(b"x").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 1);
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = take(9999).unwrap_err().to_string();
        assert!(error.contains("descriptor 9999"), "{error}");
    }
}
