//! System calls of Linux and Android alone: epoll, sendfile, accept4, TCP_INFO.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::ffi::c_long;
use std::ffi::{c_int, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::ffi::{check, milliseconds};
use super::unix::{get_option, set_option};

pub(in crate::server) use accept::{accept_tcp, accept_unix};

mod accept;

/// `struct epoll_event`, which is packed on x86-64 (`epoll_event(3type)`).
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
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn syscall(number: c_long, ...) -> c_long;
}

/// Opens an epoll instance (`epoll_create1(2)`), close-on-exec.
pub(in crate::server) fn epoll_new() -> io::Result<OwnedFd> {
    const EPOLL_CLOEXEC: c_int = 0o2000000;
    // SAFETY: the call takes no pointers.
    let fd = check(unsafe { epoll_create1(EPOLL_CLOEXEC) })?;
    // SAFETY: `epoll_create1` has just opened this descriptor, and this code is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds, changes or removes a descriptor (`epoll_ctl(2)`).
pub(in crate::server) fn epoll_change(
    epoll: BorrowedFd<'_>,
    operation: c_int,
    fd: RawFd,
    events: u32,
    data: u64,
) -> io::Result<()> {
    let mut event = EpollEvent { events, data };
    // SAFETY: `event` is a valid `epoll_event` and outlives the call. For a descriptor that is not open, the system reports
    // an error (EBADF).
    check(unsafe { epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
}

/// Waits until a descriptor is ready (`epoll_wait(2)`). Returns how many of `events` have been filled.
pub(in crate::server) fn epoll_ready(
    epoll: BorrowedFd<'_>,
    events: &mut [EpollEvent],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let count = events.len() as c_int;
    // SAFETY: pointer and count describe one mutable slice, to which the system writes at most `count` events.
    let ready = check(unsafe { epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), count, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Writes as many bytes as the socket takes now. The system holds the last segment back for what follows (MSG_MORE, see
/// `send(2)`), so that it can carry the end of the stream, too: two segments would be two interrupts on each side.
pub(in crate::server) fn write_last(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    const MSG_NOSIGNAL: c_int = 0x4000;
    const MSG_MORE: c_int = 0x8000;
    // SAFETY: pointer and count describe one slice, which the system only reads.
    let sent = unsafe { send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), MSG_NOSIGNAL | MSG_MORE) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Whether, after the end of this direction, all bytes have been sent and no received bytes are unread (`tcp(7)`,
/// `SIOCOUTQNSD` in `linux/sockios.h`).
pub(in crate::server) fn is_done(socket: &TcpStream) -> bool {
    const SIOCINQ: c_ulong = 0x541b;
    const SIOCOUTQNSD: c_ulong = 0x894b;
    let is_zero = |request| {
        let mut bytes: c_int = -1;
        // SAFETY: both requests write one `int` to the pointer, and `bytes` is one that outlives the call.
        check(unsafe { ioctl(socket.as_raw_fd(), request, &raw mut bytes) }).is_ok() && bytes == 0
    };
    is_zero(SIOCOUTQNSD) && is_zero(SIOCINQ)
}

/// Returns how long ago the last bytes arrived from the peer (TCP_INFO, `tcp(7)`).
pub(in crate::server) fn time_since_data(socket: &TcpStream) -> Option<Duration> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_INFO: c_int = 11;
    /// The index of `tcpi_last_data_recv`: the twelfth of the 32-bit numbers of `struct tcp_info`, which follow eight single
    /// bytes.
    const LAST_DATA_RECV: usize = 2 + 11;
    let mut info = [0_u32; LAST_DATA_RECV + 1];
    get_option(socket.as_fd(), (IPPROTO_TCP, TCP_INFO), &mut info).ok()?;
    Some(Duration::from_millis(info[LAST_DATA_RECV].into()))
}

/// Sends up to `count` bytes of a file from `offset` on, without copying them through this process (`sendfile(2)`). `None`
/// when files of this kind can't be sent this way (EINVAL).
pub(in crate::server) fn send_file(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<Option<usize>> {
    let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the system reads and writes `offset`, which outlives the call. Both descriptors are borrowed, so they are
    // open during the call.
    let sent = unsafe { sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    if let Ok(sent) = usize::try_from(sent) {
        return Ok(Some(sent));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        error => Err(error),
    }
}

/// Whether the byte of a file at `offset` is in memory, so that reading it and what is around it does not wait for a disk
/// (`preadv2(2)` with RWF_NOWAIT). False where the system or the file system can't tell.
pub(in crate::server) fn is_in_memory(file: &File, offset: u64) -> bool {
    // `syscall(2)`, because musl has had `preadv2` only since 1.2.5.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        const SYS_PREADV2: c_long = if cfg!(target_arch = "x86_64") { 327 } else { 286 };
        const RWF_NOWAIT: c_long = 8;
        /// `struct iovec`.
        #[repr(C)]
        struct IoVec {
            base: *mut c_void,
            length: usize,
        }
        let Ok(offset) = c_long::try_from(offset) else { return false };
        let mut byte = 0_u8;
        let buffer = IoVec { base: (&raw mut byte).cast(), length: 1 };
        let (descriptor, count, high) = (c_long::from(file.as_raw_fd()), 1 as c_long, 0 as c_long);
        // SAFETY: the system writes at most one byte to `byte` and reads `buffer`; both outlive the call. All arguments
        // are as wide as registers, and on 64-bit systems the high half of the offset is not used.
        let read = unsafe { syscall(SYS_PREADV2, descriptor, &raw const buffer, count, offset, high, RWF_NOWAIT) };
        read == 1
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (file, offset);
        false
    }
}

/// Switches Nagle's algorithm off for every connection that this listener accepts: on Linux they inherit the option.
pub(in crate::server) fn prepare_accepting(listener: &TcpListener) -> io::Result<()> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_NODELAY: c_int = 1;
    set_option(listener.as_fd(), (IPPROTO_TCP, TCP_NODELAY), 1 as c_int)
}
