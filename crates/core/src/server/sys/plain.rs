//! What systems without calls of their own do with std alone.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::Handle;

pub(in crate::server) fn prepare_accepting(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Accepts a connection, non-blocking and with Nagle's algorithm off.
pub(in crate::server) fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

#[cfg(unix)]
pub(in crate::server) fn accept_unix(
    listener: &std::os::unix::net::UnixListener,
) -> io::Result<std::os::unix::net::UnixStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Writes what fits of bytes that more follows at once.
pub(in crate::server) fn write_last(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    std::io::Write::write(&mut socket, bytes)
}

/// Nobody knows.
pub(in crate::server) fn is_done(_: &TcpStream) -> bool {
    false
}

/// Nobody knows.
pub(in crate::server) fn since_data(_: &TcpStream) -> Option<std::time::Duration> {
    None
}

/// No file can be sent without being read.
pub(in crate::server) fn send_file(_: Handle<'_>, _: &File, _: u64, _: usize) -> io::Result<Option<usize>> {
    Ok(None)
}
