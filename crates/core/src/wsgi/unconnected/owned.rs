//! The request that an environ without a connection borrows from.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::base_url::BaseUrl;
use super::input::UnconnectedInput;
use crate::http::{HeadParser, Leniency, Target};
use crate::wsgi::client::Presence;
use crate::wsgi::environ::Environ;
use crate::wsgi::extensions::Extensions;
use crate::wsgi::peer::{Peer, Peers};
use crate::wsgi::server_info::{ConnectionInfo, ServerInfo};

/// A request without a connection, made by an [`EnvironBuilder`](crate::EnvironBuilder). It owns what the [`Environ`] borrows.
pub struct OwnedEnviron {
    head: Vec<u8>,
    parser: HeadParser,
    server: ServerInfo,
    server_name: String,
    server_port: String,
    scheme: &'static str,
    peers: Peers,
    /// Keeps `weak_presence` alive.
    _presence: Arc<dyn Presence>,
    weak_presence: Weak<dyn Presence>,
    body: UnconnectedInput,
    variables: Vec<(String, Option<Vec<u8>>)>,
    extensions: Extensions,
    connection_extensions: Extensions,
    is_shutdown_requested: Arc<AtomicBool>,
}

impl OwnedEnviron {
    pub(super) fn new(
        head: Vec<u8>,
        parser: HeadParser,
        base: &BaseUrl<'_>,
        peer: Peer,
        body: UnconnectedInput,
        variables: Vec<(String, Option<Vec<u8>>)>,
        extensions: Extensions,
    ) -> OwnedEnviron {
        let is_shutdown_requested = Arc::new(AtomicBool::new(false));
        let shutdown = is_shutdown_requested.clone();
        let server = ServerInfo {
            software: concat!("amboss/", env!("CARGO_PKG_VERSION")).into(),
            shutdown: Box::new(move || shutdown.store(true, Ordering::Relaxed)),
            multithread: false,
            multiprocess: false,
            run_once: false,
        };
        let presence: Arc<dyn Presence> = Arc::new(Unconnected);
        OwnedEnviron {
            head,
            parser,
            server,
            server_name: base.host.to_owned(),
            server_port: base.port.to_owned(),
            scheme: base.scheme,
            peers: Peers { socket: peer, client: peer },
            weak_presence: Arc::downgrade(&presence),
            _presence: presence,
            body,
            variables,
            extensions,
            connection_extensions: Extensions::default(),
            is_shutdown_requested,
        }
    }

    /// Makes the environ of the request. Each call begins again: the changes of an application are gone, and a body in
    /// memory is read from its start. A streamed body continues, and the extensions belong to the first environ.
    pub fn environ(&mut self) -> Environ<'_> {
        self.body.rewind();
        let head = self.parser.head(&self.head);
        let Ok(target) = Target::of(&head, Leniency::default()) else { unreachable!("`build` has parsed the target") };
        let connection = ConnectionInfo {
            server_name: &self.server_name,
            server_port: &self.server_port,
            peers: &self.peers,
            scheme: self.scheme,
            presence: &self.weak_presence,
            plain: true,
            variables: &[],
        };
        let mut environ =
            Environ::new(head, target, &self.server, connection, None, &mut self.body, &mut self.connection_extensions);
        *environ.extensions_mut() = std::mem::take(&mut self.extensions);
        for (key, value) in &self.variables {
            match value {
                Some(value) => environ.set(key, value.as_slice()),
                None => environ.remove(key),
            }
        }
        environ
    }

    /// Whether the application has called [`Environ::shutdown_server`].
    pub fn is_shutdown_requested(&self) -> bool {
        self.is_shutdown_requested.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for OwnedEnviron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.parser.head(&self.head);
        write!(f, "OwnedEnviron({})", head.request_line().escape_ascii())
    }
}

/// The client of a request without a connection: it never leaves.
struct Unconnected;

impl Presence for Unconnected {
    fn has_left(&self) -> bool {
        false
    }

    #[cfg(unix)]
    fn duplicate(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        Err(std::io::ErrorKind::NotConnected.into())
    }
}
