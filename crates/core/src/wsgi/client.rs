//! Who waits for the answer, as an application can look after it while it works.

use std::fmt;
#[cfg(unix)]
use std::io;
use std::sync::Weak;

/// The connection behind a request; holds nothing open.
///
/// Ask it from any thread, for as long as the request runs; afterwards it may be serving the client's next one.
#[derive(Clone)]
pub struct Client {
    presence: Weak<dyn Presence>,
    plain: bool,
}

/// What a server knows of a connection.
pub(crate) trait Presence: Send + Sync {
    /// The other side has closed it, or at least the half it sends on.
    fn has_left(&self) -> bool;
    #[cfg(unix)]
    fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd>;
}

impl Client {
    pub(crate) fn new(presence: Weak<dyn Presence>, plain: bool) -> Client {
        Client { presence, plain }
    }

    /// Has the client closed the connection, so that the rest of the work is for nobody? A look at the socket, which
    /// costs a system call.
    pub fn has_left(&self) -> bool {
        self.presence.upgrade().is_none_or(|presence| presence.has_left())
    }

    /// A second descriptor of the connection's socket; `None` over TLS, where its bytes mean nothing to an application.
    ///
    /// # Errors
    /// When the connection is closed, or the file table full.
    #[cfg(unix)]
    pub fn socket(&self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        if !self.plain {
            return Ok(None);
        }
        let presence = self.presence.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        presence.duplicate().map(Some)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("plain", &self.plain).finish_non_exhaustive()
    }
}
