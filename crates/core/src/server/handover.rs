//! Connections that move from one process to another between two requests: out of a server that stops, into one that
//! runs.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use super::connection::Connection;
use super::fleet::Fleet;
use super::listener::Endpoint;
use super::service::Service;
use super::transport::Socket;
use crate::wsgi::Peer;

/// A connection that waits for a request, or whose request waits for a thread.
#[derive(Debug)]
pub struct Waiting {
    /// The socket.
    pub socket: Socket,
    /// What was read from it and not served: the beginning of a request, or whole requests. With a `body`, the head that
    /// it begins with belongs to that body, and what follows the head follows the body.
    pub ahead: Vec<u8>,
    /// The complete body of the first request, if it is not in `ahead`.
    pub body: Option<WaitingBody>,
}

/// The collected body of a request that waits for a thread.
#[derive(Debug)]
pub struct WaitingBody {
    /// A file without a name, in which the body is the first bytes.
    pub file: File,
    /// How many, in bytes.
    pub length: u64,
}

impl Waiting {
    /// A connection from which nothing was read.
    pub fn new(socket: Socket) -> Waiting {
        Waiting { socket, ahead: Vec::new(), body: None }
    }
}

/// Who gets the connections of a server that stops.
pub(super) type Heir = Arc<dyn Fn(Waiting) + Send + Sync>;

/// Lets connections into a server that were accepted elsewhere; see
/// [`ShutdownHandle::hand_over`](super::ShutdownHandle::hand_over).
#[derive(Clone)]
pub struct Arrivals {
    pub(super) service: Arc<Service>,
    pub(super) fleet: Arc<Fleet>,
}

impl Arrivals {
    /// Lets a connection in.
    ///
    /// # Errors
    /// Gives it back when the server has stopped, puts a layer between sockets and HTTP that this connection has not
    /// been through, or the socket is not connected any more.
    pub fn let_in(&self, waiting: Waiting) -> Result<(), Waiting> {
        let addresses = waiting.socket.addresses().filter(|_| self.service.settings.transport.is_none());
        let Some((endpoint, peer)) = addresses else { return Err(waiting) };
        if waiting.socket.set_nonblocking(true).is_err() {
            return Err(waiting);
        }
        let Waiting { socket, ahead, body } = waiting;
        let socket = Arc::new(socket);
        let connection =
            Connection::new(Box::new(socket.clone()), socket.presence(), Arc::new(endpoint), peer, self.service.now());
        let connection = Box::new(connection.with_request(&self.service, &ahead, body));
        self.fleet.send(self.fleet.roomiest(), socket, connection).map_err(|(socket, connection)| {
            let (_, body, _) = connection.into_waiting();
            let Some(socket) = Arc::into_inner(socket) else { unreachable!("the connection held the only other") };
            Waiting { socket, ahead, body }
        })
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

impl Socket {
    /// `SERVER_NAME` and `SERVER_PORT`, and who is at the other end; `None` when it is not connected.
    fn addresses(&self) -> Option<(Endpoint, Peer)> {
        match self {
            Socket::Tcp(stream) => {
                let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
                let endpoint = Endpoint { name: local.ip().to_canonical().to_string(), port: local.port().to_string() };
                Some((endpoint, Peer::Tcp(peer)))
            }
            #[cfg(unix)]
            Socket::Unix(stream) => {
                let local = stream.local_addr().ok()?;
                let name = local.as_pathname().map_or_else(String::new, |path| format!("unix://{}", path.display()));
                Some((Endpoint { name, port: "0".into() }, Peer::Local))
            }
        }
    }
}
