//! What carries a connection's bytes. Plain sockets here; TLS and tests plug in through [`Transport`].

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::server::sys;
use crate::wsgi::Presence;

/// A non-blocking stream of bytes in both directions. "Not now" is [`io::ErrorKind::WouldBlock`].
///
/// Whoever is told "not now" by a write comes back with the same bytes in front, so a transport that has encrypted them
/// already may count them when they have left.
pub trait Transport: Send {
    /// Goes on with what has to happen before HTTP can begin. Called again when the socket is ready, until it is done.
    ///
    /// # Errors
    /// When it can't be completed; the connection is closed then.
    fn handshake(&mut self) -> io::Result<Handshake> {
        Ok(Handshake::Done(Session::default()))
    }

    /// Do bytes wait inside this transport, so that reading makes sense though the socket says nothing?
    fn has_buffered(&self) -> bool {
        false
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is, others when the connection is broken.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does, others when the connection is broken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes two pieces, what fits of them, in one go.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn write_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        if first.is_empty() {
            self.write(second)
        } else {
            self.write(first)
        }
    }

    /// Writes what fits of the last bytes. When that is all of them, [`shutdown_write`](Transport::shutdown_write)
    /// follows at once, and they may wait for it, to leave together with the end.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    /// Sends part of a file without copying it, where that is possible; `None` where it is not.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        let _ = (file, offset, count);
        Ok(None)
    }

    /// Waits, blocking the thread, until reading or writing makes sense; false when the time is up first.
    ///
    /// # Errors
    /// When the connection is broken.
    fn wait(&mut self, writable: bool, timeout: Duration) -> io::Result<bool>;

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// When the connection is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// After [`shutdown_write`](Transport::shutdown_write): has everything left for the peer, the end included, and has
    /// nothing come that is unread? False when nobody knows.
    fn is_done(&self) -> bool {
        false
    }

    /// The connection ends as both sides want it. Best effort; what can't be said at once is left unsaid.
    fn close(&mut self) {}

    /// Makes the closing that follows a reset, by which the peer can tell that something is missing.
    ///
    /// # Errors
    /// The system's.
    fn abort(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The plain socket, when nothing stands between it and this transport.
    ///
    /// # Errors
    /// When the file table is full.
    fn socket(&self) -> io::Result<Option<Socket>> {
        Ok(None)
    }
}

/// How far a [`Transport`] has come before HTTP.
#[derive(Debug)]
pub enum Handshake {
    /// The client has not said anything yet.
    Silent,
    /// It waits for more from the client.
    Read,
    /// It waits until the client takes more.
    Write,
    /// HTTP can begin.
    Done(Session),
}

/// What a transport tells applications about a connection, and the server about requests on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Session {
    /// `wsgi.url_scheme`: `http` or `https`.
    pub scheme: &'static str,
    /// More keys of the environ, as `SSL_PROTOCOL`.
    pub variables: Vec<(&'static str, Vec<u8>)>,
    /// Requests are answered by the server itself.
    pub misplaced: Option<Misplaced>,
}

impl Default for Session {
    fn default() -> Session {
        Session { scheme: "http", variables: Vec::new(), misplaced: None }
    }
}

/// What becomes of a request that came in the clear where HTTPS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// 308 to the same host and target with `https`.
    Redirect,
    /// 400 with a sentence.
    Refuse,
}

/// Puts something between sockets and HTTP; `amboss-tls` puts TLS there.
pub trait TransportLayer: Send + Sync {
    /// Makes the transport of a connection that was just accepted. Must not block; see [`Transport::handshake`].
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport>;

    /// The scheme of the URLs under which the server is reached.
    fn scheme(&self) -> &'static str;
}

/// A plain socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix domain socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// A second handle to the same connection.
    ///
    /// # Errors
    /// When the file table is full.
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
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nonblocking(nonblocking),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Ends one or both directions, for every handle.
    ///
    /// # Errors
    /// When the peer has left already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.shutdown(how),
        }
    }

    /// For applications to look after their client.
    pub(crate) fn presence(self: &Arc<Socket>) -> Weak<dyn Presence> {
        let socket: Weak<Socket> = Arc::downgrade(self);
        socket
    }

    /// How long ago the last bytes came; `None` when nobody knows.
    pub(crate) fn since_data(&self) -> Option<Duration> {
        match self {
            Socket::Tcp(stream) => sys::since_data(stream),
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
            // Where the system does not tell about a half that is closed, the end of the stream does.
            || matches!(self, Socket::Tcp(stream) if matches!(stream.peek(&mut [0]), Ok(0)))
    }

    #[cfg(unix)]
    fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.handle().try_clone_to_owned()
    }
}

/// A connected stream socket, which the caller vouches for.
#[cfg(unix)]
impl From<std::os::fd::OwnedFd> for Socket {
    fn from(fd: std::os::fd::OwnedFd) -> Socket {
        let tcp = TcpStream::from(fd);
        // The family tells itself: a Unix socket has no socket address that std can read.
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

impl Transport for Arc<Socket> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &**self, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &**self, bytes)
    }

    fn write_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        Write::write_vectored(&mut &**self, &[IoSlice::new(first), IoSlice::new(second)])
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &**self {
            Socket::Tcp(stream) => sys::write_last(stream, bytes),
            #[cfg(unix)]
            Socket::Unix(_) => self.write(bytes),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        sys::send_file(self.handle(), file, offset, count)
    }

    fn wait(&mut self, writable: bool, timeout: Duration) -> io::Result<bool> {
        sys::wait_for(self.handle(), writable, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn is_done(&self) -> bool {
        match &**self {
            Socket::Tcp(stream) => sys::is_done(stream),
            // What comes to one that is closed is an error at the other end, before that has read to the end.
            #[cfg(unix)]
            Socket::Unix(_) => false,
        }
    }

    fn abort(&mut self) -> io::Result<()> {
        sys::reset_on_close(self.handle())
    }

    fn socket(&self) -> io::Result<Option<Socket>> {
        self.try_clone().map(Some)
    }
}
