//! Listening sockets: binding them, taking them over, and accepting from them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::Deref;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{Address, LocalAddr};
use super::descriptors::Noted;
use super::settings::Settings;
use super::sys;
use super::transport::Socket;
use crate::wsgi::Peer;

#[cfg(unix)]
mod unix;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    kind: Kind,
    local: LocalAddr,
    /// How many loops accept from it.
    served: Mutex<(usize, Option<Noted>)>,
    /// `SERVER_NAME` and `SERVER_PORT`.
    pub(super) endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) port: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: std::os::unix::net::UnixListener,
        _file: Option<unix::SocketFile>,
    },
}

/// Listening sockets that nobody need serve yet. Clones are the same sockets; they close with the last of them.
///
/// To have several processes serve them, fork before a server is made, and make one in each.
///
/// ```
/// use amboss_core::{Address, Listeners, Settings};
/// let listeners = Listeners::bind(&[Address::new("127.0.0.1", 0)], &Settings::default())?;
/// assert_ne!(listeners.local_addrs()[0].port(), Some(0));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Listeners(pub(super) Vec<Arc<Listener>>);

impl Listeners {
    /// Listens on all of `addresses`, with the backlog and the file mode of `settings`.
    ///
    /// # Errors
    /// When an address can't be listened on; the sentence says which and why.
    pub fn bind(addresses: &[Address], settings: &Settings) -> io::Result<Listeners> {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.extend(Listener::bind(address, settings.backlog, settings.unix_mode)?.into_iter().map(Arc::new));
        }
        Ok(Listeners(listeners))
    }

    /// The sockets that systemd passes on (`LISTEN_PID`, `LISTEN_FDS`, `sd_listen_fds(3)`); none without any.
    ///
    /// Each descriptor is taken once, and only if this process was started with it.
    ///
    /// # Errors
    /// When what was passed is no listening socket, or was taken before.
    pub fn from_systemd() -> io::Result<Listeners> {
        Ok(Listeners(Listener::from_systemd()?.into_iter().map(Arc::new).collect()))
    }

    /// Sockets that listen already, whoever opened them.
    ///
    /// For the number of a descriptor that this process was started with there is [`Address::Fd`], which needs no
    /// unsafe code. For any other number the caller has to know that nothing else owns it, and say so with
    /// `OwnedFd::from_raw_fd`.
    ///
    /// # Errors
    /// When one of them does not listen.
    #[cfg(unix)]
    pub fn adopt(sockets: impl IntoIterator<Item = std::os::fd::OwnedFd>) -> io::Result<Listeners> {
        let listeners = sockets.into_iter().map(|socket| unix::adopt(socket).map(Arc::new));
        listeners.collect::<io::Result<Vec<_>>>().map(Listeners)
    }

    /// The addresses they are bound to, with the ports the system picked.
    pub fn local_addrs(&self) -> Vec<LocalAddr> {
        self.0.iter().map(|listener| listener.local.clone()).collect()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The descriptors, for a process that is to inherit them.
    #[cfg(unix)]
    pub fn as_fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.0.iter().map(|listener| listener.handle())
    }
}

impl Listener {
    /// Listens on an address; `localhost` and names with several addresses give several listeners.
    fn bind(address: &Address, backlog: i32, unix_mode: Option<u32>) -> io::Result<Vec<Listener>> {
        let listeners = match address {
            Address::Tcp { host, port } => bind_tcp(host, *port, backlog),
            #[cfg(unix)]
            Address::Unix(path) => unix::bind(path, unix_mode).map(|listener| vec![listener]),
            #[cfg(unix)]
            Address::Fd(number) => unix::inherit(*number).map(|listener| vec![listener]),
            #[cfg(not(unix))]
            Address::Unix(_) | Address::Fd(_) => {
                let _ = unix_mode;
                let why = "this system has no such sockets; give host and port, as in 127.0.0.1:5000";
                Err(io::Error::new(io::ErrorKind::Unsupported, why))
            }
        };
        listeners.map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))
    }

    fn from_systemd() -> io::Result<Vec<Listener>> {
        #[cfg(unix)]
        return unix::from_systemd();
        #[cfg(not(unix))]
        Ok(Vec::new())
    }

    fn tcp(listener: TcpListener, backlog: Option<i32>, host: Option<&str>) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        if let Some(backlog) = backlog {
            sys::set_backlog(sys::handle(&listener), backlog)?;
        }
        sys::prepare_accepting(&listener)?;
        let local = listener.local_addr()?;
        let name = host.map_or_else(|| local.ip().to_string(), str::to_owned);
        let endpoint = Arc::new(Endpoint { name, port: local.port().to_string() });
        Ok(Listener::of(Kind::Tcp(listener), LocalAddr::Tcp(local), endpoint))
    }

    #[cfg(unix)]
    fn unix(
        listener: std::os::unix::net::UnixListener,
        path: Option<PathBuf>,
        file: Option<unix::SocketFile>,
    ) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let name = path.as_ref().map_or_else(String::new, |path| format!("unix://{}", path.display()));
        let endpoint = Arc::new(Endpoint { name, port: "0".into() });
        Ok(Listener::of(Kind::Unix { listener, _file: file }, LocalAddr::Unix(path), endpoint))
    }

    fn of(kind: Kind, local: LocalAddr, endpoint: Arc<Endpoint>) -> Listener {
        Listener { kind, local, served: Mutex::default(), endpoint }
    }

    /// Accepts one connection, non-blocking and with Nagle's algorithm off.
    pub(super) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                sys::accept_tcp(listener).map(|(stream, peer)| (Socket::Tcp(stream), Peer::Tcp(peer)))
            }
            #[cfg(unix)]
            Kind::Unix { listener, .. } => sys::accept_unix(listener).map(|stream| (Socket::Unix(stream), Peer::Local)),
        }
    }

    fn served(&self) -> MutexGuard<'_, (usize, Option<Noted>)> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handle(&self) -> sys::Handle<'_> {
        match &self.kind {
            Kind::Tcp(listener) => sys::handle(listener),
            #[cfg(unix)]
            Kind::Unix { listener, .. } => sys::handle(listener),
        }
    }
}

/// A listening socket while a loop accepts from it.
pub(super) struct Served(Arc<Listener>);

impl Served {
    pub(super) fn new(listener: Arc<Listener>) -> Served {
        let mut served = listener.served();
        served.0 += 1;
        served.1.get_or_insert_with(|| Noted::new(sys::raw(listener.handle())));
        drop(served);
        Served(listener)
    }
}

impl Deref for Served {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let mut served = self.0.served();
        served.0 -= 1;
        if served.0 == 0 {
            served.1 = None;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_whose_listener_accepts_nothing_is_taken_and_is_not_waited_for() {
        use std::os::unix::net::{UnixListener, UnixStream};
        use std::time::Duration;

        let path = std::env::temp_dir().join(format!("amboss-stuck-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let stuck = UnixListener::bind(&path).unwrap();
        sys::set_backlog(sys::handle(&stuck), 0).unwrap();
        // The backlog is full: another connect would wait.
        let _waits = UnixStream::connect(&path).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let address = Address::Unix(path.clone());
        std::thread::spawn(move || sender.send(Listener::bind(&address, 16, None).map(drop)));
        let error = receiver.recv_timeout(Duration::from_secs(20)).expect("it does not hang").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        assert!(error.to_string().contains("another program listens there"), "{error}");
        // Without its listener the file is a left-over, which is replaced.
        drop(stuck);
        drop(Listener::bind(&Address::Unix(path.clone()), 16, None).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn accepted_connections_have_nagles_algorithm_off() {
        let address = Address::new("127.0.0.1", 0);
        let listener = Listener::bind(&address, 16, None).unwrap().remove(0);
        let LocalAddr::Tcp(local) = listener.local else { panic!("it is TCP") };
        let _client = std::net::TcpStream::connect(local).unwrap();
        let (socket, peer) = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        assert!(matches!(socket, Socket::Tcp(stream) if stream.nodelay().unwrap()));
        assert_eq!(peer, Peer::Tcp(_client.local_addr().unwrap()));
    }
}
