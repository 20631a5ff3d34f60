//! Adds connections that another process has accepted to a running server.

use std::fmt;
use std::sync::Arc;

use super::connection::Connection;
use super::handover::IdleConnection;
use super::io::socket::Socket;
use super::listener::Endpoint;
use super::loop_group::LoopGroup;
use super::service::Service;
use crate::wsgi::Peer;

/// A handle that adds connections accepted by another process to a server; see
/// [`ShutdownHandle::hand_over`](super::ShutdownHandle::hand_over).
#[derive(Clone)]
pub struct Receiver {
    pub(super) service: Arc<Service>,
    pub(super) group: Arc<LoopGroup>,
}

impl Receiver {
    /// Adopts a connection: the server serves it from now on. With a [`TransportLayer`](super::TransportLayer), the
    /// connection begins with its handshake.
    ///
    /// # Errors
    /// Returns the connection if the server has stopped, if bytes were read from the connection that are not those of the
    /// server's transport layer, or if the socket is no longer connected.
    pub fn adopt(&self, idle: IdleConnection) -> Result<(), IdleConnection> {
        let is_fresh = idle.read_ahead.is_empty() && idle.body.is_none();
        let can_be_served = self.service.settings.transport.is_none() || is_fresh;
        let addresses = endpoint_and_peer(&idle.socket).filter(|_| can_be_served);
        let Some((endpoint, peer)) = addresses else { return Err(idle) };
        if idle.socket.set_nonblocking(true).is_err() {
            return Err(idle);
        }
        let IdleConnection { socket, origin, read_ahead, body } = idle;
        let socket = Arc::new(socket);
        let now = self.service.now();
        let Some(connection) = Connection::accepted(&self.service, &socket, Arc::new(endpoint), peer, now) else {
            // The layer has panicked, which ends the connection.
            return Ok(());
        };
        let connection = connection.with_proxies(&self.service, &socket, origin);
        let connection = Box::new(connection.with_request(&self.service, &read_ahead, body));
        self.group.send(self.group.least_loaded(), socket, connection).map_err(|(socket, connection)| {
            let (_, body, _) = connection.into_idle();
            let Some(socket) = Arc::into_inner(socket) else {
                unreachable!("the connection held the only other handle")
            };
            IdleConnection { socket, origin, read_ahead, body }
        })
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// Returns `SERVER_NAME` and `SERVER_PORT`, and the client's address; `None` when the socket is not connected.
fn endpoint_and_peer(socket: &Socket) -> Option<(Endpoint, Peer)> {
    match socket {
        Socket::Tcp(stream) => {
            let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
            Some((Endpoint::new(None, local), Peer::Tcp(peer)))
        }
        #[cfg(unix)]
        Socket::Unix(stream) => {
            let local = stream.local_addr().ok()?;
            let name = local.as_pathname().map_or_else(String::new, |path| format!("unix://{}", path.display()));
            Some((Endpoint { name, port: "0".into() }, Peer::Local))
        }
    }
}
