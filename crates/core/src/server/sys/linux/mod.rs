//! What Linux has of its own: epoll, sendfile, accept4.

use std::ffi::{c_int, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{check, get_option, milliseconds, set_option};

pub(in crate::server) use accept::{accept_tcp, accept_unix};

mod accept;

/// `struct epoll_event`, which x86-64 packs.
#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
pub(in crate::server) struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

pub(in crate::server) const EPOLLIN: u32 = 1;
pub(in crate::server) const EPOLLOUT: u32 = 4;
pub(in crate::server) const EPOLLEXCLUSIVE: u32 = 1 << 28;
pub(in crate::server) const CTL_ADD: c_int = 1;
pub(in crate::server) const CTL_DEL: c_int = 2;
pub(in crate::server) const CTL_MOD: c_int = 3;

extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut EpollEvent, count: c_int, timeout: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn send(socket: c_int, bytes: *const c_void, count: usize, flags: c_int) -> isize;
    fn sendfile(out: c_int, file: c_int, offset: *mut i64, count: usize) -> isize;
}

pub(in crate::server) fn epoll_new() -> io::Result<OwnedFd> {
    const EPOLL_CLOEXEC: c_int = 0o2000000;
    // SAFETY: takes no pointers.
    let fd = check(unsafe { epoll_create1(EPOLL_CLOEXEC) })?;
    // SAFETY: the system just opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(in crate::server) fn epoll_change(
    epoll: BorrowedFd<'_>,
    operation: c_int,
    fd: RawFd,
    events: u32,
    data: u64,
) -> io::Result<()> {
    let mut event = EpollEvent { events, data };
    // SAFETY: `event` outlives the call; a descriptor that is not open is an error the system reports.
    check(unsafe { epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
}

pub(in crate::server) fn epoll_ready(
    epoll: BorrowedFd<'_>,
    events: &mut [EpollEvent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let count = events.len() as c_int;
    // SAFETY: pointer and count describe one slice.
    let ready = check(unsafe { epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), count, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Writes what fits of bytes that more follows at once, if it is the end: they leave together, in one segment, where two
/// would be two interrupts for either side.
pub(in crate::server) fn write_last(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    const MSG_NOSIGNAL: c_int = 0x4000;
    const MSG_MORE: c_int = 0x8000;
    // SAFETY: pointer and count describe one slice, which is only read.
    let sent = unsafe { send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), MSG_NOSIGNAL | MSG_MORE) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// After the end of this direction: has all of it left, and has nothing come that is unread?
pub(in crate::server) fn is_done(socket: &TcpStream) -> bool {
    const SIOCINQ: c_ulong = 0x541b;
    const SIOCOUTQNSD: c_ulong = 0x894b;
    let is_zero = |request| {
        let mut bytes: c_int = -1;
        // SAFETY: both requests write one `int`, and the value outlives the call.
        check(unsafe { ioctl(socket.as_raw_fd(), request, &raw mut bytes) }).is_ok() && bytes == 0
    };
    is_zero(SIOCOUTQNSD) && is_zero(SIOCINQ)
}

/// How long ago the last bytes came from the peer.
pub(in crate::server) fn since_data(socket: &TcpStream) -> Option<Duration> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_INFO: c_int = 11;
    /// `tcpi_last_data_recv` is the twelfth of the numbers of `struct tcp_info`, behind eight single bytes.
    const LAST_DATA_RECV: usize = 2 + 11;
    let mut info = [0_u32; LAST_DATA_RECV + 1];
    get_option(socket.as_fd(), (IPPROTO_TCP, TCP_INFO), &mut info).ok()?;
    Some(Duration::from_millis(info[LAST_DATA_RECV].into()))
}

/// Sends up to `count` bytes of a file from `offset` on, without copying them through this process; `None` when the file
/// is of a kind that can't be sent this way.
pub(in crate::server) fn send_file(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<Option<usize>> {
    let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `offset` outlives the call; both descriptors are borrowed and so open.
    let sent = unsafe { sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    if let Ok(sent) = usize::try_from(sent) {
        return Ok(Some(sent));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        error => Err(error),
    }
}

/// Switches Nagle's algorithm off for every connection that this listener will accept, as Linux inherits it.
pub(in crate::server) fn prepare_accepting(listener: &TcpListener) -> io::Result<()> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_NODELAY: c_int = 1;
    set_option(listener.as_fd(), (IPPROTO_TCP, TCP_NODELAY), 1 as c_int)
}
