//! Upgrades: after a 101 response, the application takes over the connection (RFC 9110 §7.8).

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::io::socket::Socket;
use super::io::transport::Transport;
use super::panics::AppOwned;
use super::sys::Interest;
use crate::wsgi::Environ;

/// The application's callback for the upgraded connection.
pub(crate) struct OnUpgrade(AppOwned<Box<dyn FnOnce(Upgraded) + Send>>);

impl OnUpgrade {
    pub(super) fn run(self, upgraded: Upgraded) {
        if let Some(callback) = self.0.into_inner() {
            callback(upgraded);
        }
    }
}

/// Sets the callback that takes over the connection after `101 Switching Protocols` has been sent (RFC 9110 §7.8).
///
/// The callback runs in the thread that ran the application, and counts as a running request until it returns.
///
/// ```
/// use std::io::Write;
/// use amboss_core::{on_upgrade, AppError, Body, Environ, StartResponse};
///
/// fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     on_upgrade(environ, |mut connection| {
///         let _ = connection.write_all(b"no more HTTP here\n");
///     });
///     start_response.start("101 Switching Protocols", &[("Upgrade", "plain"), ("Connection", "Upgrade")])?;
///     Ok(Body::empty())
/// }
/// ```
pub fn on_upgrade(environ: &mut Environ<'_>, callback: impl FnOnce(Upgraded) + Send + 'static) {
    environ.extensions_mut().insert(OnUpgrade(AppOwned::new(Box::new(callback))));
}

/// A connection that has switched from HTTP to another protocol.
///
/// Reads and writes block. Reads return first what the client has sent after its request. Dropping the value ends the
/// connection in an orderly way, except during a panic.
pub struct Upgraded {
    /// Always present, except while the value is being consumed.
    transport: Option<Box<dyn Transport>>,
    read_ahead: Vec<u8>,
}

impl Upgraded {
    pub(super) fn new(transport: Box<dyn Transport>, read_ahead: Vec<u8>) -> Upgraded {
        Upgraded { transport: Some(transport), read_ahead }
    }

    /// Returns the socket, in blocking mode, and the bytes that were read from it already.
    ///
    /// # Errors
    /// Returns the connection when a layer such as TLS lies between it and the socket, or when the file table is full
    /// (EMFILE, ENFILE).
    pub fn into_socket(mut self) -> Result<(Socket, Vec<u8>), Upgraded> {
        match self.transport.as_ref().map(|transport| transport.socket()) {
            Some(Ok(Some(socket))) if socket.set_nonblocking(false).is_ok() => {
                self.transport = None;
                Ok((socket, std::mem::take(&mut self.read_ahead)))
            }
            _ => Err(self),
        }
    }

    /// Returns the transport, which is non-blocking, and the bytes that were read from it already.
    pub fn into_parts(mut self) -> (Box<dyn Transport>, Vec<u8>) {
        let Some(transport) = self.transport.take() else {
            unreachable!("only methods that consume the value take the transport")
        };
        (transport, std::mem::take(&mut self.read_ahead))
    }

    /// Repeats `attempt` until it returns something other than `WouldBlock`.
    fn run_blocking<R>(
        &mut self,
        interest: Interest,
        mut attempt: impl FnMut(&mut dyn Transport) -> io::Result<R>,
    ) -> io::Result<R> {
        /// The maximum time of one wait. The loop repeats it, so there is no timeout.
        const WAIT: Duration = Duration::from_secs(24 * 3600);
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        loop {
            match attempt(&mut **transport) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    transport.wait(interest, WAIT)?;
                }
                other => return other,
            }
        }
    }
}

impl Read for Upgraded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.read_ahead.is_empty() {
            let count = buffer.len().min(self.read_ahead.len());
            buffer[..count].copy_from_slice(&self.read_ahead[..count]);
            self.read_ahead.drain(..count);
            return Ok(count);
        }
        self.run_blocking(Interest::Read, |transport| transport.read(buffer))
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.run_blocking(Interest::Write, |transport| transport.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        if let Some(transport) = self.transport.as_mut().filter(|_| !std::thread::panicking()) {
            transport.close();
        }
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").field("read_ahead", &self.read_ahead.len()).finish_non_exhaustive()
    }
}
