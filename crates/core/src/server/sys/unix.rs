//! System calls of all Unix systems.

use std::ffi::{c_char, c_int, c_short, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::ffi::{check, milliseconds};

pub(in crate::server) use std::os::fd::{BorrowedFd as Handle, RawFd as Raw};

/// Borrows the descriptor of a value.
pub(in crate::server) fn handle(of: &impl AsFd) -> Handle<'_> {
    of.as_fd()
}

/// Returns the number of a descriptor.
pub(in crate::server) fn raw(handle: Handle<'_>) -> Raw {
    handle.as_raw_fd()
}

/// One of two connected streams, for the waker.
pub(in crate::server) type Pair = UnixStream;

/// Makes two connected streams.
pub(in crate::server) fn pair() -> io::Result<(Pair, Pair)> {
    UnixStream::pair()
}

/// `struct pollfd` (`poll(2)`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(in crate::server) struct PollFd {
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

pub(in crate::server) const POLLIN: c_short = 1;
pub(in crate::server) const POLLOUT: c_short = 4;
/// Reports that the peer has closed its sending half. Errors and a connection closed in both directions are reported
/// without it, too.
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
    fn recv(socket: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
    fn getsockopt(socket: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
}

/// Waits until one of `fds` is ready, at most for `timeout` if there is one (`poll(2)`). Returns how many are ready.
pub(in crate::server) fn poll_many(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    // SAFETY: pointer and count describe one mutable slice, in which the system writes only the `revents` fields.
    let ready = check(unsafe { poll(fds.as_mut_ptr(), fds.len() as NumberOfFds, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Returns the first bytes that have arrived, without taking them out of the socket (`recv(2)`). std can do this only for
/// TCP.
pub(in crate::server) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    const MSG_PEEK: c_int = 2;
    // SAFETY: the pointer and the length describe a mutable slice.
    let count = unsafe { recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), MSG_PEEK) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sets the length of the queue of connections that wait to be accepted (`listen(2)`); std has no setting for it.
pub(in crate::server) fn set_backlog(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    check(unsafe { listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Sets a socket option (`setsockopt(2)`). `T` has to have the layout of the option's value.
pub(super) fn set_option<T: Copy>(socket: BorrowedFd<'_>, (level, name): (c_int, c_int), value: T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    // SAFETY: `length` is the size of `value`, which the system only reads and which outlives the call.
    check(unsafe { setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) }).map(drop)
}

/// Reads a socket option that consists of 32-bit numbers (`getsockopt(2)`). Fills `value`; an option that is shorter is an
/// error.
pub(super) fn get_option(socket: BorrowedFd<'_>, (level, name): (c_int, c_int), value: &mut [u32]) -> io::Result<()> {
    let size = size_of_val(value) as u32;
    let mut length = size;
    // SAFETY: `length` is the size of `value`, so the system writes at most that many bytes to it, and every bit pattern is
    // a valid `u32`. Both values outlive the call.
    check(unsafe { getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) })?;
    if length < size {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Reads from a file at an offset, without its position (`pread(2)`).
pub(in crate::server) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Writes to a file at an offset, without its position (`pwrite(2)`).
pub(in crate::server) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Creates a file with mode 0600 and removes its name at once, so that the file disappears with its last descriptor. Fails
/// if `path` exists.
pub(in crate::server) fn create_unlinked(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Whether this is a listening socket (SO_ACCEPTCONN, `socket(7)`).
///
/// # Errors
/// When it is not a socket.
pub(in crate::server) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (1, 30);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (0xffff, 2);
    let mut value = [0; 1];
    get_option(socket, SOL_SOCKET_ACCEPTCONN, &mut value)?;
    Ok(value[0] != 0)
}

/// Makes the close of this socket a reset instead of an orderly end (SO_LINGER with zero seconds, `socket(7)`).
pub(in crate::server) fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (1, 13);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (0xffff, 0x80);
    // `struct linger`: on, zero seconds.
    set_option(socket, SOL_SOCKET_LINGER, [1 as c_int, 0])
}

/// The process in which a fork has returned; the parent has the child's process id.
pub(in crate::server) enum Forked {
    Parent(i32),
    Child,
}

/// Forks the process (`fork(2)`). Must be called only while no other thread can hold a lock.
pub(in crate::server) fn fork_process() -> io::Result<Forked> {
    // SAFETY: `fork` takes no pointers and changes no memory of this process. In the child, only this thread exists, and
    // locks that other threads held stay locked. For that reason `ForkingWsgiServer` refuses to run beside threads of this
    // crate, and its documentation tells users about threads of their own.
    match check(unsafe { fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// A function that runs in every process forked from this one.
type AtFork = extern "C" fn();

/// Registers a function that runs in every process forked from this one, before any other code of it
/// (`pthread_atfork(3)`). The function must be async-signal-safe.
pub(in crate::server) fn at_fork(in_child: AtFork) {
    // SAFETY: the system keeps the pointer to the function, which is valid while this library is loaded. When glibc unloads
    // a library, it drops the library's handlers; musl unloads none. The only error is ENOMEM, after which nothing is
    // registered and forked processes keep the descriptors.
    unsafe { pthread_atfork(None, None, Some(in_child)) };
}

/// Redirects descriptors that the server owns to the null device. This closes the process's copies of the sockets and
/// files, while their numbers stay in use, so that code which still has a number does no harm. Async-signal-safe.
pub(in crate::server) fn redirect_to_null<Fds: Iterator<Item = RawFd>>(fds: impl Fn() -> Fds) {
    const O_RDWR: c_int = 2;
    const F_SETFD: c_int = 2;
    const FD_CLOEXEC: c_int = 1;
    // SAFETY: the path is a string that ends in NUL, and all other arguments are numbers. The server owns the descriptors
    // with these numbers, as the caller guarantees, so no other code relies on what they refer to. `null` is closed only if
    // this function has opened it and it is not one of them.
    unsafe {
        let open_null = || open(c"/dev/null".as_ptr(), O_RDWR);
        let mut null = open_null();
        if null < 0 {
            // The file table is full: closing one of the descriptors frees an entry.
            let Some(first) = fds().next() else { return };
            close(first);
            null = open_null();
        }
        if null < 0 {
            return;
        }
        let mut is_extra = true;
        for fd in fds() {
            if fd == null {
                is_extra = false;
            } else {
                dup2(null, fd);
            }
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        if is_extra {
            close(null);
        }
    }
}

/// Ends a forked child at once (`_exit(2)`), without the destructors and exit handlers that belong to the parent.
pub(in crate::server) fn exit_now(code: i32) -> ! {
    // SAFETY: the call takes no pointers and ends the process, so no code can see the skipped destructors.
    unsafe { _exit(code) }
}

/// Reaps a child (`waitpid(2)`). Returns its exit code, `Some(None)` if a signal ended it, and `None` if it is still
/// running. With `block`, waits for its end.
pub(in crate::server) fn reap(pid: i32, block: bool) -> io::Result<Option<Option<i32>>> {
    const WNOHANG: c_int = 1;
    let mut status: c_int = 0;
    loop {
        // SAFETY: the system writes one `int` to `status`, which outlives the call.
        match check(unsafe { waitpid(pid, &raw mut status, if block { 0 } else { WNOHANG }) }) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some((status & 0x7f == 0).then_some(status >> 8 & 0xff))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Kills a child of this process that is still running at the deadline of the shutdown.
pub(in crate::server) fn kill_child(pid: i32) {
    const SIGKILL: c_int = 9;
    // SAFETY: the call takes no pointers. `pid` is a child that has not been reaped, so the number can't belong to another
    // process.
    let _ = unsafe { kill(pid, SIGKILL) };
}
