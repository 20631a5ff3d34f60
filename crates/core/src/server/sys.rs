//! The few system calls that std does not offer, declared by hand because std links them already.
//!
//! One of the two places where `unsafe` may live. Every function here is safe to call: descriptors come in as borrowed
//! or owned std types, and every pointer handed to the system points into a slice that outlives the call.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_short, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PollFd {
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

pub(super) const POLLIN: c_short = 1;
pub(super) const POLLOUT: c_short = 4;

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
    fn setsockopt(socket: c_int, level: c_int, name: c_int, value: *const c_void, length: u32) -> c_int;
    fn getsockopt(socket: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
}

/// -1 and `errno` as a `Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A time-out in milliseconds, rounded up so that a deadline has passed when the wait is over; -1 for none.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    match timeout {
        None => -1,
        Some(timeout) => c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX),
    }
}

/// Waits until one of `fds` is ready; how many are.
pub(super) fn poll_many(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    // SAFETY: pointer and count describe one slice, which the system writes only `revents` of.
    let ready = check(unsafe { poll(fds.as_mut_ptr(), fds.len() as NumberOfFds, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// Waits until a descriptor is readable or writable; false when the time is up first.
pub(super) fn wait_for(fd: BorrowedFd<'_>, writable: bool, timeout: Duration) -> io::Result<bool> {
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let events = if writable { POLLOUT } else { POLLIN };
        match poll_many(&mut [PollFd { fd: fd.as_raw_fd(), events, revents: 0 }], Some(left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the queue of connections that wait to be accepted longer than std's.
pub(super) fn set_backlog(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Switches Nagle's algorithm off for every connection that this listener will accept, as Linux inherits it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_nodelay_for_accepted(listener: BorrowedFd<'_>) -> io::Result<()> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_NODELAY: c_int = 1;
    let on: c_int = 1;
    let (value, length) = ((&raw const on).cast(), size_of::<c_int>() as u32);
    // SAFETY: `on` is as large as `length` says, and outlives the call.
    check(unsafe { setsockopt(listener.as_raw_fd(), IPPROTO_TCP, TCP_NODELAY, value, length) }).map(drop)
}

/// Is this descriptor a socket that listens?
pub(super) fn is_listening(fd: RawFd) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (1, 30);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_ACCEPTCONN: (c_int, c_int) = (0xffff, 2);
    let (level, name) = SOL_SOCKET_ACCEPTCONN;
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as u32;
    // SAFETY: `value` is as large as `length` says, and both outlive the call. A descriptor that is not open is an
    // error the system reports.
    check(unsafe { getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value != 0)
}

/// Makes closing this socket a reset instead of an orderly end (SO_LINGER with zero seconds).
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (1, 13);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SOL_SOCKET_LINGER: (c_int, c_int) = (0xffff, 0x80);
    let (level, name) = SOL_SOCKET_LINGER;
    let linger: [c_int; 2] = [1, 0];
    // SAFETY: `linger` has the layout of `struct linger` and outlives the call.
    check(unsafe {
        setsockopt(socket.as_raw_fd(), level, name, (&raw const linger).cast(), size_of_val(&linger) as u32)
    })
    .map(drop)
}

/// Takes over a descriptor that another process passed on.
///
/// The caller vouches, by the protocol that named the number (`fd://N`, LISTEN_FDS), that nothing else in this process
/// owns it; it was checked to be an open, listening socket.
pub(super) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if !is_listening(fd)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a socket that does not listen"));
    }
    // SAFETY: the descriptor is open (getsockopt answered for it) and passed to us to own, see above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Which side of a fork this is.
pub(super) enum Forked {
    Parent(i32),
    Child,
}

/// Splits the process in two. Call it only while this is the only thread that may hold a lock.
pub(super) fn fork_process() -> io::Result<Forked> {
    // SAFETY: `fork` itself touches no memory of ours. In the child only this thread exists; locks that other threads
    // held stay locked, which is why `ForkingWsgiServer` refuses to run beside threads of this crate and documents the
    // rest for its users.
    match check(unsafe { fork() })? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Ends a forked child at once, without the destructors and exit handlers that belong to the parent.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of ours runs afterwards.
    unsafe { _exit(code) }
}

/// How a child ended: its exit code, or `None` when a signal ended it.
pub(super) fn reap(pid: i32, block: bool) -> io::Result<Option<Option<i32>>> {
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
pub(super) fn kill_child(pid: i32) {
    const SIGKILL: c_int = 9;
    // SAFETY: takes no pointers. `pid` is a child that has not been reaped, so the number can't belong to another.
    let _ = unsafe { kill(pid, SIGKILL) };
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::*;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use super::*;

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
    pub(in crate::server) const CTL_ADD: c_int = 1;
    pub(in crate::server) const CTL_DEL: c_int = 2;
    pub(in crate::server) const CTL_MOD: c_int = 3;

    extern "C" {
        fn epoll_create1(flags: c_int) -> c_int;
        fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
        fn epoll_wait(epoll: c_int, events: *mut EpollEvent, count: c_int, timeout: c_int) -> c_int;
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

    /// Sends up to `count` bytes of a file from `offset` on, without copying them through this process.
    pub(in crate::server) fn send_file(
        socket: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: `offset` outlives the call; both descriptors are borrowed and so open.
        let sent = unsafe { sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(sent as usize)
    }

    pub(in crate::server) use accept::{accept_tcp, accept_unix};

    mod accept {
        use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
        use std::os::unix::net::UnixStream;

        use super::*;

        /// Room for `sockaddr_in6`, the larger of the two that are read; aligned as `sockaddr` is.
        #[repr(C, align(8))]
        struct Address([u8; 32]);

        extern "C" {
            fn accept4(socket: c_int, address: *mut Address, length: *mut u32, flags: c_int) -> c_int;
        }

        /// Accepts a connection that is non-blocking and not inherited from its first moment: one call where std
        /// takes two.
        fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
            const SOCK_NONBLOCK: c_int = 0o4000;
            const SOCK_CLOEXEC: c_int = 0o2000000;
            let mut address = Address([0; 32]);
            let mut length = size_of::<Address>() as u32;
            // SAFETY: `address` is as large as `length` says, and both outlive the call.
            let fd = check(unsafe {
                accept4(socket.as_raw_fd(), &raw mut address, &raw mut length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            })?;
            // SAFETY: the system just opened it for us alone.
            Ok((unsafe { OwnedFd::from_raw_fd(fd) }, address))
        }

        pub(in crate::server) fn accept_tcp(socket: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
            const AF_INET6: u16 = 10;
            let (fd, Address(raw)) = accept(socket)?;
            let port = u16::from_be_bytes([raw[2], raw[3]]);
            let address = if u16::from_ne_bytes([raw[0], raw[1]]) == AF_INET6 {
                let octets: [u8; 16] = raw[8..24].try_into().unwrap_or_default();
                let scope = u32::from_ne_bytes([raw[24], raw[25], raw[26], raw[27]]);
                SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope))
            } else {
                SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(raw[4], raw[5], raw[6], raw[7]), port))
            };
            Ok((TcpStream::from(fd), address))
        }

        pub(in crate::server) fn accept_unix(socket: BorrowedFd<'_>) -> io::Result<UnixStream> {
            accept(socket).map(|(fd, _)| UnixStream::from(fd))
        }
    }
}
