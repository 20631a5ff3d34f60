//! Accepting a connection with one system call.

use std::ffi::c_int;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::server::sys::ffi::check;

/// A buffer for `sockaddr_in6`, the largest address that is read here. It is aligned for every `sockaddr`.
#[repr(C, align(8))]
struct Address([u8; 32]);

extern "C" {
    fn accept4(socket: c_int, address: *mut Address, length: *mut u32, flags: c_int) -> c_int;
}

/// Accepts a connection that is non-blocking and close-on-exec from the beginning (`accept4(2)`). std needs a second call
/// for the former.
fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    const SOCK_NONBLOCK: c_int = 0o4000;
    const SOCK_CLOEXEC: c_int = 0o2000000;
    let mut address = Address([0; 32]);
    let mut length = size_of::<Address>() as u32;
    // SAFETY: `length` is the size of `address`, so the system writes at most that many bytes to it. Both values outlive
    // the call.
    let fd =
        check(unsafe { accept4(socket.as_raw_fd(), &raw mut address, &raw mut length, SOCK_NONBLOCK | SOCK_CLOEXEC) })?;
    // SAFETY: `accept4` has just opened this descriptor, and this code is its only owner.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, address))
}

/// Accepts a connection and returns it with the client's address.
pub(in crate::server) fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    const AF_INET6: u16 = 10;
    let (fd, Address(raw)) = accept(listener.as_fd())?;
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

/// Accepts a connection.
pub(in crate::server) fn accept_unix(listener: &UnixListener) -> io::Result<UnixStream> {
    accept(listener.as_fd()).map(|(fd, _)| UnixStream::from(fd))
}
