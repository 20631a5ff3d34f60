//! Where to listen: `host:port`, `[::1]:port`, `localhost:port` (both families), `unix://path`, `fd://N`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::sys;
use super::transport::Socket;
use crate::wsgi::Peer;

/// An address to listen on, as text: see [`FromStr`].
///
/// ```
/// use amboss_core::Address;
/// for text in ["127.0.0.1:5000", "[::1]:5000", "localhost:0", "unix:///tmp/amboss.sock", "fd://3"] {
///     let address: Address = text.parse().unwrap();
///     assert_eq!(address.to_string(), text);
/// }
/// assert!("127.0.0.1".parse::<Address>().unwrap_err().to_string().contains("port"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A name or an IP address, and a port; 0 lets the system pick one. `localhost` is 127.0.0.1 and ::1, with the
    /// same port. The empty name and `*` are all addresses.
    Tcp {
        /// Name or IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(PathBuf),
    /// The number of a listening socket that the parent process left open.
    Fd(i32),
}

impl Address {
    /// From a host (or `unix://path`) and a port, as `run_simple` takes them.
    pub fn new(host: &str, port: u16) -> Address {
        match host.strip_prefix("unix://") {
            Some(path) => Address::Unix(path.into()),
            None => {
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Address::Tcp { host: bare.to_owned(), port }
            }
        }
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let error = |why: &str| Err(AddressError(format!("{text:?} is no address to listen on: {why}")));
        if let Some(path) = text.strip_prefix("unix://") {
            if path.is_empty() {
                return error("give the path of the socket, as in unix:///tmp/app.sock");
            }
            return Ok(Address::Unix(path.into()));
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return match number.parse() {
                Ok(number) if number >= 0 => Ok(Address::Fd(number)),
                _ => error("give the descriptor's number, as in fd://3"),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return error("give a port, as in 127.0.0.1:5000");
        };
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return error("put an IPv6 address in brackets, as in [::1]:5000");
        }
        match port.parse() {
            Ok(port) => Ok(Address::new(host, port)),
            Err(_) => error("the port has to be a number from 0 to 65535"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Fd(number) => write!(f, "fd://{number}"),
        }
    }
}

/// The address that a listener is really bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddr {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix domain socket; no path when it was inherited without one.
    Unix(Option<PathBuf>),
}

impl LocalAddr {
    /// The port, of TCP.
    pub fn port(&self) -> Option<u16> {
        match self {
            LocalAddr::Tcp(address) => Some(address.port()),
            LocalAddr::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddr::Tcp(address) => address.fmt(f),
            LocalAddr::Unix(Some(path)) => write!(f, "unix://{}", path.display()),
            LocalAddr::Unix(None) => f.write_str("unix://"),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    kind: Kind,
    local: LocalAddr,
    /// `SERVER_NAME` and `SERVER_PORT`.
    pub(crate) endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: Option<SocketFile> },
}

/// The file of a Unix socket, removed when the listener goes, unless somebody else has put another there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
    /// A forked child must leave the file alone.
    owner: u32,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if ours && self.owner == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Listens on an address; `localhost` and names with several addresses give several listeners.
    pub(crate) fn bind(address: &Address, backlog: i32, unix_mode: Option<u32>) -> io::Result<Vec<Listener>> {
        let context = |error: io::Error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}"));
        match address {
            Address::Tcp { host, port } => bind_tcp(host, *port, backlog).map_err(context),
            Address::Unix(path) => bind_unix(path, unix_mode).map(|listener| vec![listener]).map_err(context),
            Address::Fd(number) => Listener::adopt(*number).map(|listener| vec![listener]).map_err(context),
        }
    }

    /// Takes over a listening socket that another process opened.
    pub(crate) fn adopt(number: i32) -> io::Result<Listener> {
        let fd = sys::adopt(number)?;
        // The family tells itself: a Unix socket has no socket address that std can read, and the other way round.
        let tcp = TcpListener::from(fd);
        match tcp.local_addr() {
            Ok(_) => Listener::tcp(tcp, None, None),
            Err(_) => {
                let unix = UnixListener::from(std::os::fd::OwnedFd::from(tcp));
                let path = unix.local_addr()?.as_pathname().map(Path::to_owned);
                Listener::unix(unix, path, None)
            }
        }
    }

    /// The sockets that systemd passes on (`LISTEN_PID`, `LISTEN_FDS`, `sd_listen_fds(3)`); empty without any.
    pub(crate) fn from_systemd() -> io::Result<Vec<Listener>> {
        let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u32>().ok());
        if variable("LISTEN_PID") != Some(std::process::id()) {
            return Ok(Vec::new());
        }
        const FIRST: i32 = 3;
        let count = variable("LISTEN_FDS").unwrap_or(0) as i32;
        (FIRST..FIRST + count)
            .map(|number| {
                Listener::adopt(number).map_err(|error| {
                    io::Error::new(error.kind(), format!("can't listen on descriptor {number} of LISTEN_FDS: {error}"))
                })
            })
            .collect()
    }

    fn tcp(listener: TcpListener, backlog: Option<i32>, host: Option<&str>) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        if let Some(backlog) = backlog {
            sys::set_backlog(listener.as_fd(), backlog)?;
        }
        // Answers are written whole; waiting for more to send would only delay them.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        sys::set_nodelay_for_accepted(listener.as_fd())?;
        let local = listener.local_addr()?;
        let name = host.map_or_else(|| local.ip().to_string(), str::to_owned);
        let endpoint = Arc::new(Endpoint { name, port: local.port().to_string() });
        Ok(Listener { kind: Kind::Tcp(listener), local: LocalAddr::Tcp(local), endpoint })
    }

    fn unix(listener: UnixListener, path: Option<PathBuf>, file: Option<SocketFile>) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let name = path.as_ref().map_or_else(String::new, |path| format!("unix://{}", path.display()));
        let endpoint = Arc::new(Endpoint { name, port: "0".into() });
        Ok(Listener { kind: Kind::Unix { listener, _file: file }, local: LocalAddr::Unix(path), endpoint })
    }

    pub(crate) fn local_addr(&self) -> &LocalAddr {
        &self.local
    }

    /// Accepts one connection, non-blocking and with Nagle's algorithm off.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                #[cfg(any(target_os = "linux", target_os = "android"))]
                let (stream, peer) = sys::accept_tcp(listener.as_fd())?;
                #[cfg(not(any(target_os = "linux", target_os = "android")))]
                let (stream, peer) = {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    (stream, peer)
                };
                Ok((Socket::Tcp(stream), Peer::Tcp(peer)))
            }
            Kind::Unix { listener, .. } => {
                #[cfg(any(target_os = "linux", target_os = "android"))]
                let stream = sys::accept_unix(listener.as_fd())?;
                #[cfg(not(any(target_os = "linux", target_os = "android")))]
                let stream = {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    stream
                };
                Ok((Socket::Unix(stream), Peer::Local))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> i32 {
        self.as_fd().as_raw_fd()
    }
}

fn bind_tcp(host: &str, port: u16, backlog: i32) -> io::Result<Vec<Listener>> {
    let listen = |address: SocketAddr, name: Option<&str>| {
        TcpListener::bind(address).and_then(|listener| Listener::tcp(listener, Some(backlog), name))
    };
    match host {
        "localhost" => bind_localhost(port, listen),
        "" | "*" => {
            // Linux and macOS accept IPv4 on the IPv6 wildcard; without IPv6, IPv4 alone.
            let every = listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), None)
                .or_else(|_| listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), None))?;
            Ok(vec![every])
        }
        _ => {
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![listen(SocketAddr::new(ip, port), None)?]);
            }
            let addresses = (host, port).to_socket_addrs().map_err(|error| {
                io::Error::new(error.kind(), format!("the name {host:?} is not known ({error}); is it spelled right?"))
            })?;
            let mut listeners: Vec<Listener> = Vec::new();
            for mut address in addresses {
                // One port for all, also when the system picks it.
                if let (0, Some(first)) = (port, listeners.first()) {
                    address.set_port(first.local.port().unwrap_or(0));
                }
                listeners.push(listen(address, Some(host))?);
            }
            Ok(listeners)
        }
    }
}

/// 127.0.0.1 and ::1 with one port, so that no client waits for the other family to time out.
fn bind_localhost(
    port: u16,
    listen: impl Fn(SocketAddr, Option<&str>) -> io::Result<Listener>,
) -> io::Result<Vec<Listener>> {
    // A port that the system picked for one family can be taken in the other; then it picks again.
    const ATTEMPTS: usize = 16;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let four = listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), Some("localhost"))?;
        let picked = four.local.port().unwrap_or(port);
        match listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), picked), Some("localhost")) {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || attempt == ATTEMPTS {
                    return Err(error);
                }
            }
            // A system without IPv6.
            Err(_) => return Ok(vec![four]),
        }
    }
}

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Listener> {
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path is taken by something that is no socket; choose another or remove it",
            ));
        }
        match UnixStream::connect(path) {
            Ok(_) => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there; stop it first"))
            }
            // Nobody listens: a left-over of a program that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    let inode = std::fs::symlink_metadata(path)?.ino();
    let file = SocketFile { path: path.to_owned(), inode, owner: std::process::id() };
    Listener::unix(listener, Some(path.to_owned()), Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_have_nagles_algorithm_off() {
        let address = Address::new("127.0.0.1", 0);
        let listener = Listener::bind(&address, 16, None).unwrap().remove(0);
        let LocalAddr::Tcp(local) = *listener.local_addr() else { panic!("it is TCP") };
        let _client = std::net::TcpStream::connect(local).unwrap();
        let (socket, peer) = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        let Socket::Tcp(stream) = socket else { panic!("it is TCP") };
        assert!(stream.nodelay().unwrap());
        assert_eq!(peer, Peer::Tcp(_client.local_addr().unwrap()));
    }
}
