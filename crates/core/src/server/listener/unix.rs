//! Listening on Unix domain sockets, and on sockets that another process has opened.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use super::socket::{Listener, SocketFile};
use crate::server::sys;

/// Listens on a path. Replaces the file of a socket that no process uses any more.
pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<Listener> {
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path exists and is not a socket; choose another path or remove the file",
            ));
        }
        if is_in_use(path)? {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there; stop it first"));
        }
        // The socket is stale: its program was killed.
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    let inode = std::fs::symlink_metadata(path)?.ino();
    let file = SocketFile { path: path.to_owned(), inode, owner: std::process::id() };
    Listener::unix(listener, Some(path.to_owned()), Some(file))
}

/// Whether a process has a socket bound to this path.
///
/// The check uses a datagram socket, whose `connect` never blocks. The `connect` of a stream socket would block while the
/// backlog of a listener that does not accept is full. The error for a live socket of another type is EPROTOTYPE, which has
/// no `ErrorKind`.
fn is_in_use(path: &Path) -> io::Result<bool> {
    match UnixDatagram::unbound()?.connect(path) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(false),
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        },
    }
}

fn check_listening(socket: BorrowedFd<'_>) -> io::Result<()> {
    if sys::is_listening(socket)? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the socket does not listen; call listen(2) on it before it is passed on",
    ))
}

/// Takes the listening socket that this process was started with under this descriptor number.
pub(super) fn take_inherited(number: RawFd) -> io::Result<Listener> {
    sys::inherited::take(number, check_listening).and_then(adopt)
}

/// Adopts a listening socket, TCP or Unix.
pub(super) fn adopt(fd: OwnedFd) -> io::Result<Listener> {
    check_listening(fd.as_fd())?;
    // `local_addr` tells the family: std fails to convert the address of a Unix socket to a `SocketAddr`.
    let tcp = TcpListener::from(fd);
    match tcp.local_addr() {
        Ok(_) => Listener::tcp(tcp, None, None),
        Err(_) => {
            let unix = UnixListener::from(OwnedFd::from(tcp));
            let path = unix.local_addr()?.as_pathname().map(Path::to_owned);
            Listener::unix(unix, path, None)
        }
    }
}

/// Returns the sockets that systemd has passed to this process (`LISTEN_PID`, `LISTEN_FDS`, `sd_listen_fds(3)`), which may
/// be none.
pub(super) fn from_systemd() -> io::Result<Vec<Listener>> {
    let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u32>().ok());
    if variable("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    const FIRST: i32 = 3;
    let count = variable("LISTEN_FDS").unwrap_or(0) as i32;
    (FIRST..FIRST + count)
        .map(|number| {
            take_inherited(number).map_err(|error| {
                io::Error::new(error.kind(), format!("can't listen on descriptor {number} of LISTEN_FDS: {error}"))
            })
        })
        .collect()
}
