//! Systems other than Linux and Android: what std offers, without further system calls.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

#[cfg(unix)]
use super::unix::Handle;
#[cfg(windows)]
use super::windows::Handle;

/// Does nothing: [`accept_tcp`] sets the option on each connection.
pub(in crate::server) fn prepare_accepting(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Accepts a connection, which is non-blocking and has Nagle's algorithm off.
pub(in crate::server) fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

/// Accepts a non-blocking connection.
#[cfg(unix)]
pub(in crate::server) fn accept_unix(
    listener: &std::os::unix::net::UnixListener,
) -> io::Result<std::os::unix::net::UnixStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Writes as many bytes as the socket takes now. They are sent at once: there is no MSG_MORE here.
pub(in crate::server) fn write_last(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    std::io::Write::write(&mut socket, bytes)
}

/// Returns false: these systems do not tell whether all bytes have been sent.
pub(in crate::server) fn is_done(_: &TcpStream) -> bool {
    false
}

/// Returns `None`: these systems do not tell when the last bytes arrived.
pub(in crate::server) fn time_since_data(_: &TcpStream) -> Option<std::time::Duration> {
    None
}

/// Returns false: these systems do not tell whether a part of a file is in memory.
pub(in crate::server) fn is_in_memory(_: &File, _: u64) -> bool {
    false
}

/// Returns `None`: a file has to be read to be sent.
pub(in crate::server) fn send_file(_: Handle<'_>, _: &File, _: u64, _: usize) -> io::Result<Option<usize>> {
    Ok(None)
}
