//! The parts of the environ that do not depend on the request.

use std::sync::Weak;

use super::client::Presence;
use super::peer::Peers;

/// The properties of the server; the same for every request.
pub(crate) struct ServerInfo {
    pub software: String,
    /// `werkzeug.server.shutdown`
    pub shutdown: Box<dyn Fn() + Send + Sync>,
    pub multithread: bool,
    pub multiprocess: bool,
    pub run_once: bool,
}

/// The properties of the connection; the same for every request on it.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionInfo<'a> {
    pub server_name: &'a str,
    pub server_port: &'a str,
    pub peers: &'a Peers,
    pub scheme: &'static str,
    pub presence: &'a Weak<dyn Presence>,
    /// Whether no transport layer is between HTTP and the socket.
    pub plain: bool,
    /// The variables of the transport.
    pub variables: &'a [(&'static str, Vec<u8>)],
}
