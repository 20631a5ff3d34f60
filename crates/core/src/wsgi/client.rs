//! The client of a request, which an application can observe while it works.

use std::fmt;
#[cfg(unix)]
use std::io;
use std::sync::Weak;

/// A handle to the connection of a request; it does not keep the connection open.
///
/// It can be used from any thread while the request runs. Afterwards, the connection may serve the next request of the
/// client.
#[derive(Clone)]
pub struct Client {
    presence: Weak<dyn Presence>,
    plain: bool,
}

/// A connection, as far as an application can observe it.
pub(crate) trait Presence: Send + Sync {
    /// Whether the client has closed the connection, or at least its sending half.
    fn has_left(&self) -> bool;
    /// Duplicates the descriptor of the socket.
    #[cfg(unix)]
    fn duplicate(&self) -> io::Result<std::os::fd::OwnedFd>;
}

impl Client {
    pub(crate) fn new(presence: Weak<dyn Presence>, plain: bool) -> Client {
        Client { presence, plain }
    }

    /// Whether the client has closed the connection, so that the response will not be received. Costs a system call.
    pub fn has_left(&self) -> bool {
        self.presence.upgrade().is_none_or(|presence| presence.has_left())
    }

    /// Duplicates the descriptor of the connection's socket; `None` over TLS, where an application can't use the
    /// encrypted bytes.
    ///
    /// # Errors
    /// If the connection is closed, or the process or the system has no free descriptor.
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
