//! Calls of every Unix system.

use std::ffi::{c_char, c_int, c_short, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{check, milliseconds};

pub(in crate::server) use std::os::fd::{BorrowedFd as Handle, RawFd as Raw};

pub(in crate::server) fn handle(of: &impl AsFd) -> Handle<'_> {
    of.as_fd()
}

pub(in crate::server) fn raw(handle: Handle<'_>) -> Raw {
    handle.as_raw_fd()
}

/// Two connected streams, for waking.
pub(in crate::server) type Pair = UnixStream;

pub(in crate::server) fn pair() -> io::Result<(Pair, Pair)> {
    UnixStream::pair()
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(in crate::server) struct PollFd {
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

pub(in crate::server) const POLLIN: c_short = 1;
pub(in crate::server) const POLLOUT: c_short = 4;
/// The other side sends nothing more. Without it, errors and a connection closed for both are told all the same.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(in crate::server) const POLLRDHUP: c_short = 0x2000;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(in crate::server) const POLLRDHUP: c_short = 0;

#[cfg(any(target_os = "linux", target_os = "android"))]
type NumberOfFds = std::ffi::c_ulong;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
type NumberOfFds = std::ffi::c_uint;

extern "C" {
    fn poll(fds: *mut PollFd, count: NumberOfFds, timeout: c_int) -> c_int;
    fn listen(socket: c_int, backlog: c_int) -> c_int;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
    fn pthread_atfork(before: Option<AtFork>, in_parent: Option<AtFork>, in_child: Option<AtFork>) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    pub(super) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn setsockopt(socket: c_int, level: c_int, name: c_int, value: *const c_void, length: u32) -> c_int;
    fn getsockopt(socket: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
}

/// Waits until one of `fds` is ready; how many are.
pub(in crate::server) fn poll_many(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    // SAFETY: pointer and count describe one slice, which the system writes only `revents` of.
    let ready = check(unsafe { poll(fds.as_mut_ptr(), fds.len() as NumberOfFds, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Makes the queue of connections that wait to be accepted longer than std's.
pub(in crate::server) fn set_backlog(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Sets a socket option to a value of the layout that the option asks for.
pub(super) fn set_option<T: Copy>(socket: BorrowedFd<'_>, (level, name): (c_int, c_int), value: T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    // SAFETY: `value` is as large as `length` says, and outlives the call.
    check(unsafe { setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Reads a socket option of numbers of four bytes, as many as there is room for; fewer are an error.
pub(super) fn get_option(socket: BorrowedFd<'_>, (level, name): (c_int, c_int), value: &mut [u32]) -> io::Result<()> {
    let room = size_of_val(value) as u32;
    let mut length = room;
    // SAFETY: `value` is as large as `length` says, and both outlive the call.
    check(unsafe { getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) })?;
    if length < room {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Reads from a place in a file, wherever its position is.
pub(in crate::server) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Writes at a place in a file, wherever its position is.
pub(in crate::server) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Creates a file that only this process can reach: readable by its user alone, and without a name as soon as it exists,
/// so that it goes away with its last descriptor. Fails if there is something under `path`.
pub(in crate::server) fn create_unlinked(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Is this a socket that listens?
pub(in crate::server) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (1, 30);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (0xffff, 2);
    let mut value = [0; 1];
    get_option(socket, SOL_SOCKET_ACCEPTCONN, &mut value)?;
    Ok(value[0] != 0)
}

/// Makes closing this socket a reset instead of an orderly end (SO_LINGER with zero seconds).
pub(in crate::server) fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (1, 13);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (0xffff, 0x80);
    // `struct linger`: on, for zero seconds.
    set_option(socket, SOL_SOCKET_LINGER, [1 as c_int, 0])
}

/// Which side of a fork this is.
pub(in crate::server) enum Forked {
    Parent(i32),
    Child,
}

/// Splits the process in two. Call it only while this is the only thread that may hold a lock.
pub(in crate::server) fn fork_process() -> io::Result<Forked> {
    // SAFETY: `fork` itself touches no memory of ours. In the child only this thread exists; locks that other threads
    // held stay locked, which is why `ForkingWsgiServer` refuses to run beside threads of this crate and documents the
    // rest for its users.
    match check(unsafe { fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// What runs in every process that is forked from this one.
type AtFork = extern "C" fn();

/// Has something run in every process that is forked from this one, before anything else of it does. It may do what a
/// signal handler may do.
pub(in crate::server) fn at_fork(in_child: AtFork) {
    // SAFETY: keeps a pointer to a function, which is there for as long as this library is. Without memory for that
    // there is an error, and things stay as they are.
    unsafe { pthread_atfork(None, None, Some(in_child)) };
}

/// Has these descriptors, which are ours, stand for the null device from now on: what they stood for is closed, as far
/// as this process is concerned, and whoever still knows their numbers does no harm. Does what a signal handler may do.
pub(in crate::server) fn redirect_to_null<Fds: Iterator<Item = RawFd>>(fds: impl Fn() -> Fds) {
    const O_RDWR: c_int = 2;
    const F_SETFD: c_int = 2;
    const FD_CLOEXEC: c_int = 1;
    // SAFETY: the path is a string that ends in NUL, and the rest are numbers. A number that is ours, and noted as such,
    // is nobody else's.
    unsafe {
        let open_null = || open(c"/dev/null".as_ptr(), O_RDWR);
        let mut null = open_null();
        if null < 0 {
            // In a full file table one of them makes room.
            let Some(first) = fds().next() else { return };
            close(first);
            null = open_null();
        }
        if null < 0 {
            return;
        }
        let mut is_spare = true;
        for fd in fds() {
            if fd == null {
                is_spare = false;
            } else {
                dup2(null, fd);
            }
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        if is_spare {
            close(null);
        }
    }
}

/// Ends a forked child at once, without the destructors and exit handlers that belong to the parent.
pub(in crate::server) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of ours runs afterwards.
    unsafe { _exit(code) }
}

/// How a child ended: its exit code, or `None` when a signal ended it.
pub(in crate::server) fn reap(pid: i32, block: bool) -> io::Result<Option<Option<i32>>> {
    const WNOHANG: c_int = 1;
    let mut status: c_int = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match check(unsafe { waitpid(pid, &raw mut status, if block { 0 } else { WNOHANG }) }) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some((status & 0x7f == 0).then_some(status >> 8 & 0xff))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends a child of ours that outstays the shutdown's deadline.
pub(in crate::server) fn kill_child(pid: i32) {
    const SIGKILL: c_int = 9;
    // SAFETY: takes no pointers. `pid` is a child that has not been reaped, so the number can't belong to another.
    let _ = unsafe { kill(pid, SIGKILL) };
}
