//! What carries a connection's bytes: plain sockets, and through [`Transport`] also TLS and the streams of tests.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::sys::{self, Interest};

use super::socket::Socket;
use super::waker::Waker;
use crate::server::sync::lock;

/// A non-blocking stream of bytes in both directions. A call that can do nothing now returns
/// [`io::ErrorKind::WouldBlock`].
///
/// After `WouldBlock` from a write, the caller repeats the write with the same bytes first. So a transport that has
/// encrypted those bytes already may report them as written once they have been sent.
pub trait Transport: Send {
    /// Continues the handshake that precedes HTTP. Called again when the socket is ready, until the handshake is done.
    ///
    /// # Errors
    /// When the handshake fails. The server then closes the connection.
    fn handshake(&mut self) -> io::Result<Handshake> {
        Ok(Handshake::Done(HandshakeInfo::default()))
    }

    /// Gives the transport a handle with which another thread, in which it makes progress, wakes the event loop for this
    /// connection. Called before the first use, and again when the connection moves to another loop.
    fn set_waker(&mut self, waker: TransportWaker) {
        let _ = waker;
    }

    /// Whether a write that returned `WouldBlock` waits for such progress, and not for the socket.
    fn awaits_waker(&self) -> bool {
        false
    }

    /// Whether this transport holds received bytes, so that a read may succeed although the socket is not readable.
    fn has_buffered(&self) -> bool {
        false
    }

    /// Reads the bytes that have arrived, at most as many as fit into `buffer`. Returns their number; 0 at the end of the
    /// stream.
    ///
    /// # Errors
    /// `WouldBlock` when no bytes have arrived; any other error when the connection is broken.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as many of the bytes as the socket takes now. Returns their number.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes none; any other error when the connection is broken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes as much as the socket takes now of several slices, with one system call where possible. Returns the number of
    /// bytes.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.write(first.map_or(&[], |slice| &**slice))
    }

    /// Writes as many of the connection's last bytes as the socket takes now. When it takes all of them,
    /// [`shutdown_write`](Transport::shutdown_write) follows at once; the transport may hold the bytes back until then, to
    /// send them together with the end of the stream.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    /// Sends at most `count` bytes of a file from `offset` on without copying them (`sendfile(2)`). Returns the number of
    /// bytes, or `None` where this is not possible.
    ///
    /// # Errors
    /// As [`write`](Transport::write).
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        let _ = (file, offset, count);
        Ok(None)
    }

    /// Blocks the thread until the socket is ready. False when `timeout` has passed first.
    ///
    /// # Errors
    /// When the connection is broken.
    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool>;

    /// Tells the peer that nothing more will be written.
    ///
    /// # Errors
    /// When the connection is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether, after [`shutdown_write`](Transport::shutdown_write), everything has been sent, the end of the stream
    /// included, and no received bytes are unread. False if that is unknown.
    fn is_done(&self) -> bool {
        false
    }

    /// Announces an orderly end of the connection, as TLS does with close_notify (RFC 8446 §6.1). Best effort: what
    /// the socket does not take at once is not sent.
    fn close(&mut self) {}

    /// Turns the close that follows into a reset, which shows the peer that bytes are missing.
    ///
    /// # Errors
    /// The error of `setsockopt(2)`.
    fn abort(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Returns a handle to the plain socket, or `None` if this transport puts anything between the socket and HTTP.
    ///
    /// # Errors
    /// When the file table of the process or of the system is full (EMFILE, ENFILE).
    fn socket(&self) -> io::Result<Option<Socket>> {
        Ok(None)
    }
}

/// A handle that wakes an event loop for one connection, from any thread ([`Transport::set_waker`]).
#[derive(Clone, Debug)]
pub struct TransportWaker {
    token: u64,
    woken: Arc<Mutex<Vec<u64>>>,
    waker: Arc<Waker>,
}

impl TransportWaker {
    pub(in crate::server) fn new(token: u64, woken: Arc<Mutex<Vec<u64>>>, waker: Arc<Waker>) -> TransportWaker {
        TransportWaker { token, woken, waker }
    }

    /// Makes the loop advance the connection, as if its socket were ready. Has no effect if the connection has ended.
    pub fn wake(&self) {
        lock(&self.woken).push(self.token);
        self.waker.wake();
    }
}

/// The progress of a [`Transport`]'s handshake.
#[derive(Debug)]
pub enum Handshake {
    /// No byte from the client has arrived.
    NotStarted,
    /// The handshake continues when the socket is readable, or when the transport has woken the loop.
    Read,
    /// The handshake continues when the socket is writable.
    Write,
    /// The handshake is complete, and HTTP begins.
    Done(HandshakeInfo),
}

/// What a completed handshake tells the application and the server about the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// `wsgi.url_scheme`: `http` or `https`.
    pub scheme: &'static str,
    /// Further keys of the environ, such as `SSL_PROTOCOL`.
    pub variables: Vec<(&'static str, Vec<u8>)>,
    /// How the server itself responds to every request of this connection; `None` passes them to the application.
    pub plain_http: Option<PlainHttpPolicy>,
}

impl HandshakeInfo {
    /// The info of a connection that speaks plain HTTP on a port for HTTPS. The server redirects its requests.
    pub fn plain_http() -> HandshakeInfo {
        HandshakeInfo { plain_http: Some(PlainHttpPolicy::Redirect), ..HandshakeInfo::default() }
    }
}

impl Default for HandshakeInfo {
    fn default() -> HandshakeInfo {
        HandshakeInfo { scheme: "http", variables: Vec::new(), plain_http: None }
    }
}

/// How the server responds to a plain HTTP request on a port for HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttpPolicy {
    /// With 308 to the same host and target under `https`.
    Redirect,
    /// With 400 and an explanation.
    Refuse,
}

/// A factory of transports between the accepted sockets and HTTP, such as TLS in `amboss-tls`.
pub trait TransportLayer: Send + Sync {
    /// Makes the transport of a connection that was just accepted. Must not block; see [`Transport::handshake`].
    fn wrap(&self, socket: Arc<Socket>) -> Box<dyn Transport>;

    /// Returns the scheme of the server's URLs: `http` or `https`.
    fn scheme(&self) -> &'static str;
}

impl Transport for Arc<Socket> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &**self, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &**self, bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &**self, slices)
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

    fn wait(&mut self, interest: Interest, timeout: Duration) -> io::Result<bool> {
        sys::wait_for(self.handle(), interest, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn is_done(&self) -> bool {
        match &**self {
            Socket::Tcp(stream) => sys::is_done(stream),
            // Bytes that arrive at a closed Unix socket are an error at the other end, even before it has read what was
            // sent to it.
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
