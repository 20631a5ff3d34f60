//! Leaving HTTP: after a 101 the application gets the connection itself (RFC 9110 §7.8).

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::io::transport::{Socket, Transport};
use super::panics::AppOwned;

use crate::wsgi::Environ;

/// What the application wants to do with the connection.
pub(crate) struct OnUpgrade(AppOwned<Box<dyn FnOnce(Upgraded) + Send>>);

impl OnUpgrade {
    pub(super) fn run(self, upgraded: Upgraded) {
        if let Some(then) = self.0.into_inner() {
            then(upgraded);
        }
    }
}

/// Says what happens after `101 Switching Protocols` has been sent: `then` gets the connection.
///
/// It runs where the application ran; a long conversation counts as a running request.
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
pub fn on_upgrade(environ: &mut Environ<'_>, then: impl FnOnce(Upgraded) + Send + 'static) {
    environ.extensions_mut().insert(OnUpgrade(AppOwned::new(Box::new(then))));
}

/// A connection that has left HTTP. Reading gives first what the client had sent behind its request; both directions
/// block. Dropping it ends the connection in order, unless in a panic.
pub struct Upgraded {
    /// There until it is given away.
    transport: Option<Box<dyn Transport>>,
    ahead: Vec<u8>,
}

impl Upgraded {
    pub(super) fn new(transport: Box<dyn Transport>, ahead: Vec<u8>) -> Upgraded {
        Upgraded { transport: Some(transport), ahead }
    }

    /// The real socket, in blocking mode, and the bytes already read from it.
    ///
    /// # Errors
    /// Gives the connection back when there is something between it and the socket (TLS), or the file table is full.
    pub fn into_socket(mut self) -> Result<(Socket, Vec<u8>), Upgraded> {
        match self.transport.as_ref().map(|transport| transport.socket()) {
            Some(Ok(Some(socket))) if socket.set_nonblocking(false).is_ok() => {
                self.transport = None;
                Ok((socket, std::mem::take(&mut self.ahead)))
            }
            _ => Err(self),
        }
    }

    /// The transport, non-blocking, and the bytes already read from it.
    pub fn into_parts(mut self) -> (Box<dyn Transport>, Vec<u8>) {
        let Some(transport) = self.transport.take() else { unreachable!("it is given away by value") };
        (transport, std::mem::take(&mut self.ahead))
    }

    fn patiently<R>(
        &mut self,
        writable: bool,
        mut attempt: impl FnMut(&mut dyn Transport) -> io::Result<R>,
    ) -> io::Result<R> {
        const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        loop {
            match attempt(&mut **transport) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    transport.wait(writable, FOR_EVER)?;
                }
                other => return other,
            }
        }
    }
}

impl Read for Upgraded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            let count = buffer.len().min(self.ahead.len());
            buffer[..count].copy_from_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Ok(count);
        }
        self.patiently(false, |transport| transport.read(buffer))
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(true, |transport| transport.write(bytes))
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
        f.debug_struct("Upgraded").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}
