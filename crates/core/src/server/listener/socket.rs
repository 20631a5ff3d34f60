//! One listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::server::io::address::LocalAddr;
use crate::server::io::fork_guard::ForkGuard;
use crate::server::io::socket::Socket;
use crate::server::sync::lock;
use crate::server::sys;
use crate::wsgi::Peer;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    kind: Kind,
    pub(super) local: LocalAddr,
    active: Mutex<ActiveLoops>,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The loops that accept from a listening socket.
#[derive(Debug, Default)]
struct ActiveLoops {
    count: usize,
    /// Present while at least one loop accepts.
    fork_guard: Option<ForkGuard>,
}

/// `SERVER_NAME` and `SERVER_PORT`.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: String,
}

impl Endpoint {
    /// Makes the endpoint of a bound address, with the host's name if it was bound by one. An IPv6 address is in brackets,
    /// since URLs are made of it (RFC 3875 §4.1.14, PEP 3333).
    pub(crate) fn new(host: Option<&str>, local: SocketAddr) -> Endpoint {
        let name = host.map_or_else(|| local.ip().to_canonical().to_string(), str::to_owned);
        let name = if name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name };
        Endpoint { name, port: local.port().to_string() }
    }
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: std::os::unix::net::UnixListener,
        _file: Option<SocketFile>,
    },
}

/// The file of a Unix socket. It is removed with the listener, unless another file has replaced it.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    /// The process that has bound the socket. A forked child does not remove the file.
    pub(super) owner: u32,
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_same_file = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|file| std::os::unix::fs::MetadataExt::ino(&file) == self.inode);
        if is_same_file && self.owner == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    pub(super) fn tcp(listener: TcpListener, backlog: Option<i32>, host: Option<&str>) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        if let Some(backlog) = backlog {
            sys::set_backlog(sys::handle(&listener), backlog)?;
        }
        sys::prepare_accepting(&listener)?;
        let local = listener.local_addr()?;
        let endpoint = Arc::new(Endpoint::new(host, local));
        Ok(Listener::with_kind(Kind::Tcp(listener), LocalAddr::Tcp(local), endpoint))
    }

    #[cfg(unix)]
    pub(super) fn unix(
        listener: std::os::unix::net::UnixListener,
        path: Option<PathBuf>,
        file: Option<SocketFile>,
    ) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let name = path.as_ref().map_or_else(String::new, |path| format!("unix://{}", path.display()));
        let endpoint = Arc::new(Endpoint { name, port: "0".into() });
        Ok(Listener::with_kind(Kind::Unix { listener, _file: file }, LocalAddr::Unix(path), endpoint))
    }

    fn with_kind(kind: Kind, local: LocalAddr, endpoint: Arc<Endpoint>) -> Listener {
        Listener { kind, local, active: Mutex::default(), endpoint }
    }

    /// Accepts one connection, which is non-blocking and has Nagle's algorithm off. Does not wait for one.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                sys::accept_tcp(listener).map(|(stream, peer)| (Socket::Tcp(stream), Peer::Tcp(peer)))
            }
            #[cfg(unix)]
            Kind::Unix { listener, .. } => sys::accept_unix(listener).map(|stream| (Socket::Unix(stream), Peer::Local)),
        }
    }

    pub(crate) fn handle(&self) -> sys::Handle<'_> {
        match &self.kind {
            Kind::Tcp(listener) => sys::handle(listener),
            #[cfg(unix)]
            Kind::Unix { listener, .. } => sys::handle(listener),
        }
    }
}

/// A listening socket while a loop accepts from it. Its descriptor is guarded from forks of the application.
pub(crate) struct ActiveListener(Arc<Listener>);

impl ActiveListener {
    pub(crate) fn new(listener: Arc<Listener>) -> ActiveListener {
        let mut active = lock(&listener.active);
        active.count += 1;
        active.fork_guard.get_or_insert_with(|| ForkGuard::new(sys::raw(listener.handle())));
        drop(active);
        ActiveListener(listener)
    }
}

impl Deref for ActiveListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.0
    }
}

impl Drop for ActiveListener {
    fn drop(&mut self) {
        let mut active = lock(&self.0.active);
        active.count -= 1;
        if active.count == 0 {
            active.fork_guard = None;
        }
    }
}
