//! The other end of a connection.

use std::fmt;
use std::net::SocketAddr;

/// The address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on this machine, over a Unix domain socket.
    Local,
}

/// The peers of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers {
    /// The other end of the socket.
    pub(crate) socket: Peer,
    /// The client: the address in the PROXY header if there is one, else `socket`.
    pub(crate) client: Peer,
}

impl Peer {
    /// `REMOTE_PORT`: the port; 0 for a Unix domain socket.
    pub fn port(&self) -> u16 {
        match self {
            Peer::Tcp(address) => address.port(),
            Peer::Local => 0,
        }
    }
}

impl fmt::Display for Peer {
    /// `REMOTE_ADDR`: the address without the port, or `<local>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().fmt(f),
            Peer::Local => f.write_str("<local>"),
        }
    }
}
