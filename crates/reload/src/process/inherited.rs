//! What a child inherits from its supervisor, and how it takes that over.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use super::control::{ControlMessage, ControlSocket};
use super::env::{CONTROL_FD, GENERATION, RUN_MAIN, SERVER_FD, SPARE};
use crate::sync::lock;

/// Whether this process is a forked child, for which no variables are set.
static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);

pub(super) fn mark_as_forked_child() {
    IS_FORKED_CHILD.store(true, Ordering::SeqCst);
}

/// Whether this process is a supervisor's child.
pub fn is_running_from_reloader() -> bool {
    IS_FORKED_CHILD.load(Ordering::SeqCst) || std::env::var_os(RUN_MAIN).is_some_and(|value| value == "true")
}

/// The sockets that the supervisor passed to this process. Environment variables describe them:
///
/// | variable | meaning |
/// |---|---|
/// | `AMBOSS_RUN_MAIN` | `true`: this process is a supervisor's child |
/// | `AMBOSS_SERVER_FD` | the descriptors of the listening sockets: `3` or `3,4,…` |
/// | `LISTEN_FDS`, `LISTEN_PID` | the same for programs that use systemd's socket activation, `sd_listen_fds(3)` |
/// | `AMBOSS_CONTROL_FD` | the descriptor of the [`ControlSocket`] |
/// | `AMBOSS_GENERATION` | counts the replacements; the children of one rolling restart share it |
/// | `AMBOSS_CHILD_SPARE` | set if the process is a [spare](crate::SupervisorOptions::spare): it prepares itself, sends [`Waiting`](ControlMessage::Waiting), and waits for [`Start`](ControlMessage::Start) |
/// | `WERKZEUG_SERVER_FD` | the descriptor of the first listening socket, for programs that get `WERKZEUG_RUN_MAIN` |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inherited {
    /// The descriptors of the listening sockets.
    listeners: Vec<RawFd>,
    /// The descriptor of the control socket, unless the program is not expected to use one.
    control: Option<RawFd>,
    /// Counts the replacements, from 1. A spare learns it when it starts.
    pub generation: u64,
    /// Whether this process is a spare.
    pub is_spare: bool,
}

impl Inherited {
    /// Reads the environment. Returns `None` if no supervisor started this process, or no sockets were passed to it.
    ///
    /// # Errors
    /// A variable does not contain descriptors.
    pub fn from_env() -> io::Result<Option<Inherited>> {
        // Without sockets this is a process that a child started, after it took them over and removed the variable.
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
                let why =
                    format!("{name} is {value:?}; it must be a list of descriptors separated by commas, as in 3,4");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })
        };
        Ok(Inherited {
            listeners: numbers(SERVER_FD)?,
            control: numbers(CONTROL_FD)?.first().copied(),
            generation: variable(GENERATION).and_then(|value| value.to_str()?.parse().ok()).unwrap_or(0),
            is_spare: variable(SPARE).is_some(),
        })
    }

    /// Takes over the control socket; `None` if there is none.
    ///
    /// # Errors
    /// The descriptor is not open, was not inherited, or was taken over before.
    pub fn take_control(&self) -> io::Result<Option<ControlSocket>> {
        let Some(number) = self.control else { return Ok(None) };
        ControlSocket::new(UnixStream::from(take(number)?)).map(Some)
    }

    /// Takes over the listening sockets.
    ///
    /// # Errors
    /// A descriptor is not open, was not inherited, or was taken over before.
    pub fn take_listeners(&self) -> io::Result<Vec<OwnedFd>> {
        self.listeners.iter().map(|&number| take(number)).collect()
    }
}

/// Takes over an inherited descriptor. It gets a new number and FD_CLOEXEC, and the old number is closed.
///
/// A number alone proves nothing: the descriptor may have an owner in this process. Each number is therefore taken over
/// only once, and only if the descriptor is not known to have FD_CLOEXEC. An inherited descriptor cannot have that
/// flag, and std and other careful libraries set it on everything they open.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    use nix::sys::socket::{sendmsg, ControlMessage as Ancillary, MsgFlags};
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let refuse = |why: &str| {
        let why = format!("descriptor {number} {why}; is the environment that of another process?");
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    };
    let mut taken = lock(&TAKEN);
    if taken.contains(&number) {
        return refuse("was taken over before");
    }
    if is_close_on_exec(number) {
        return refuse("was not inherited");
    }
    // Only the system can tell whether a number is an open descriptor. Sending it to ourselves makes an owned
    // descriptor of it without unsafe code.
    let (sender, receiver) = UnixStream::pair()?;
    let mut receiver = ControlSocket::new(receiver)?;
    let sockets = [number];
    let frame = [IoSlice::new(b"C\0\0\0\0")];
    sendmsg::<()>(sender.as_raw_fd(), &frame, &[Ancillary::ScmRights(&sockets)], MsgFlags::empty(), None)
        .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("descriptor {number}: {error}")))?;
    match receiver.receive()? {
        Some(ControlMessage::Connection { socket, .. }) => {
            taken.insert(number);
            let _ = nix::unistd::close(number);
            Ok(socket)
        }
        _ => Err(io::Error::other(format!("descriptor {number} can't be taken over: too many files are open"))),
    }
}

/// Whether a descriptor is known to have FD_CLOEXEC. Only Linux tells without borrowing the descriptor.
fn is_close_on_exec(number: RawFd) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    // The kernel shows the descriptor's flag as the corresponding flag of `open`.
    flags.is_some_and(|flags| flags & nix::fcntl::OFlag::O_CLOEXEC.bits() as u32 != 0)
}

/// Makes `accept` on a listening socket block, as programs that know only `LISTEN_FDS` expect. This affects every
/// process that shares the socket.
///
/// # Errors
/// The system refuses, for example because the descriptor is not a socket.
pub fn set_blocking(listener: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(listener, false)?)
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
    fn descriptors_are_read_from_the_environment() {
        let inherited = from(&[(SERVER_FD, "3,4"), (CONTROL_FD, "5"), (GENERATION, "7")]).unwrap();
        assert_eq!(inherited, Inherited { listeners: vec![3, 4], control: Some(5), generation: 7, is_spare: false });
        let inherited = from(&[(SERVER_FD, "3")]).unwrap();
        assert_eq!(inherited, Inherited { listeners: vec![3], ..Inherited::default() });
        assert!(from(&[(SERVER_FD, "3"), (SPARE, "true")]).unwrap().is_spare);
    }

    #[test]
    fn an_invalid_descriptor_is_named_in_the_error() {
        for wrong in ["x", "3,", "-1", "3;4"] {
            let error = from(&[(SERVER_FD, wrong)]).unwrap_err().to_string();
            assert!(error.contains("AMBOSS_SERVER_FD") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_taken_descriptor_is_the_same_socket_and_its_old_number_is_closed() {
        let (mut client, server) = UnixStream::pair().unwrap();
        // An inherited descriptor has no FD_CLOEXEC.
        rustix::io::fcntl_setfd(&server, rustix::io::FdFlags::empty()).unwrap();
        let number = server.into_raw_fd();
        let mut taken = UnixStream::from(take(number).unwrap());
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        taken.write_all(b"here").unwrap();
        // No other copy is open, so the client sees the end of the stream.
        drop(taken);
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "here");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_descriptor_that_this_process_opened_is_not_taken_over() {
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
