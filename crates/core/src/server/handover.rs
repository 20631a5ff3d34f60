//! Connections on their way from a server that stops to another process, and from another process to a server.

use std::fs::File;
use std::sync::Arc;

use super::io::socket::Socket;

/// A connection between two requests, or one whose complete request waits for a thread.
#[derive(Debug)]
pub struct IdleConnection {
    /// The socket.
    pub socket: Socket,
    /// Bytes that were read from the socket and not served: the beginning of a request, or whole requests. With a `body`,
    /// the first head belongs to that body, and what follows the head follows the body.
    pub read_ahead: Vec<u8>,
    /// The complete body of the first request, if it is not in `read_ahead`.
    pub body: Option<StoredBody>,
}

/// The collected body of a request that waits for a thread.
#[derive(Debug)]
pub struct StoredBody {
    /// A file without a name; its first bytes are the body.
    pub file: File,
    /// The length of the body in bytes.
    pub length: u64,
}

impl IdleConnection {
    /// A connection from which nothing has been read.
    pub fn new(socket: Socket) -> IdleConnection {
        IdleConnection { socket, read_ahead: Vec::new(), body: None }
    }
}

/// Takes the connections of a server that stops.
pub(crate) type Successor = Arc<dyn Fn(IdleConnection) + Send + Sync>;
