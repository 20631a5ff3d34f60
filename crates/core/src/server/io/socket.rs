//! Connected sockets, TCP or Unix.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::server::sys;
use crate::wsgi::Presence;

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Returns a second handle to the same connection.
    ///
    /// # Errors
    /// When the file table of the process or of the system is full (EMFILE, ENFILE).
    pub fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
            #[cfg(unix)]
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
        })
    }

    /// Switches between blocking and non-blocking mode.
    ///
    /// # Errors
    /// The error of `ioctl(2)` or `fcntl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nonblocking(nonblocking),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Ends one or both directions, for every handle to the connection (`shutdown(2)`).
    ///
    /// # Errors
    /// When the connection has ended already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Returns the interface through which an application finds out whether its client has left.
    pub(crate) fn presence(self: &Arc<Socket>) -> Weak<dyn Presence> {
        let socket: Weak<Socket> = Arc::downgrade(self);
        socket
    }

    /// Returns the first bytes that have arrived, without taking them out of the socket.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.peek(buffer),
            #[cfg(unix)]
            Socket::Unix(_) => sys::peek(self.handle(), buffer),
        }
    }

    /// Returns how long ago the last bytes arrived; `None` if the system does not tell.
    pub(crate) fn time_since_data(&self) -> Option<Duration> {
        match self {
            Socket::Tcp(stream) => sys::time_since_data(stream),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        }
    }

    pub(crate) fn handle(&self) -> sys::Handle<'_> {
        match self {
            Socket::Tcp(stream) => sys::handle(stream),
            #[cfg(unix)]
            Socket::Unix(stream) => sys::handle(stream),
        }
    }
}

impl Presence for Socket {
    fn has_left(&self) -> bool {
        sys::is_hung_up(self.handle())
            // Some systems do not report a half-closed connection in poll(2); there the end of the stream shows it.
            || matches!(self, Socket::Tcp(stream) if matches!(stream.peek(&mut [0]), Ok(0)))
    }

    #[cfg(unix)]
    fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.handle().try_clone_to_owned()
    }
}

/// Takes over a connected stream socket of the TCP or Unix family, as the caller guarantees it to be.
#[cfg(unix)]
impl From<std::os::fd::OwnedFd> for Socket {
    fn from(fd: std::os::fd::OwnedFd) -> Socket {
        let tcp = TcpStream::from(fd);
        // `local_addr` tells the family: std fails to convert the address of a Unix socket to a `SocketAddr`.
        match tcp.local_addr() {
            Ok(_) => Socket::Tcp(tcp),
            Err(_) => Socket::Unix(UnixStream::from(std::os::fd::OwnedFd::from(tcp))),
        }
    }
}

#[cfg(unix)]
impl From<Socket> for std::os::fd::OwnedFd {
    fn from(socket: Socket) -> std::os::fd::OwnedFd {
        match socket {
            Socket::Tcp(stream) => stream.into(),
            Socket::Unix(stream) => stream.into(),
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Socket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.handle()
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => { stream }.read(buffer),
            #[cfg(unix)]
            Socket::Unix(stream) => { stream }.read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => { stream }.write(bytes),
            #[cfg(unix)]
            Socket::Unix(stream) => { stream }.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => { stream }.write_vectored(pieces),
            #[cfg(unix)]
            Socket::Unix(stream) => { stream }.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
