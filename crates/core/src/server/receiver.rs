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
    /// Adopts a connection: the server serves it from now on.
    ///
    /// # Errors
    /// Returns the connection if the server has stopped, if the server has a [`TransportLayer`](super::TransportLayer)
    /// (the connection did not go through its handshake), or if the socket is no longer connected.
    pub fn adopt(&self, idle: IdleConnection) -> Result<(), IdleConnection> {
        let addresses = endpoint_and_peer(&idle.socket).filter(|_| self.service.settings.transport.is_none());
        let Some((endpoint, peer)) = addresses else { return Err(idle) };
        if idle.socket.set_nonblocking(true).is_err() {
            return Err(idle);
        }
        let IdleConnection { socket, origin, read_ahead, body } = idle;
        let socket = Arc::new(socket);
        let connection =
            Connection::new(Box::new(socket.clone()), socket.presence(), Arc::new(endpoint), peer, self.service.now());
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
