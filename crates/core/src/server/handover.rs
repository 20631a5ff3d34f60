//! Connections in transit: from a server that stops to another process, or from another process to a server.

use std::fs::File;
use std::sync::Arc;

use super::io::socket::Socket;
use super::proxies::ProxyOrigin;

/// A connection that no thread is serving: it is between two requests, or its complete request waits for a thread.
#[derive(Debug)]
pub struct IdleConnection {
    /// The socket.
    pub socket: Socket,
    /// What its PROXY header says.
    pub origin: ProxyOrigin,
    /// Bytes that were read from the socket but not processed: the beginning of a request or of a PROXY header, or
    /// whole requests. If `body`
    /// is set, it is the body of the first request: its head is here, and the bytes after that head are those after the
    /// body.
    pub read_ahead: Vec<u8>,
    /// The complete body of the first request, unless it is in `read_ahead`.
    pub body: Option<StoredBody>,
}

/// The collected body of a request that waits for a thread.
#[derive(Debug)]
pub struct StoredBody {
    /// An unnamed file that begins with the body.
    pub file: File,
    /// The length of the body in bytes.
    pub length: u64,
}

impl IdleConnection {
    /// Makes a connection from which nothing has been read.
    pub fn new(socket: Socket) -> IdleConnection {
        IdleConnection { socket, origin: ProxyOrigin::Unread, read_ahead: Vec::new(), body: None }
    }
}

/// The function that receives the connections of a server that stops.
pub(crate) type Successor = Arc<dyn Fn(IdleConnection) + Send + Sync>;
