//! Listening sockets: binding, adopting, and accepting from them.

mod socket;
mod tcp;
#[cfg(unix)]
mod unix;

use std::io;
use std::sync::Arc;

use super::error::{ServeError, ServeErrorKind};
use super::io::address::{Address, LocalAddr};
use super::settings::Settings;

pub(crate) use socket::{ActiveListener, Endpoint, Listener};

/// Listening sockets that exist independently of a server. Clones share the sockets, which close with the last clone.
///
/// To serve them in several processes, fork before a server is made, and make a server in each process.
///
/// ```
/// use amboss_core::{Address, Listeners, Settings};
/// let listeners = Listeners::bind(&[Address::new("127.0.0.1", 0)], &Settings::default())?;
/// assert_ne!(listeners.local_addrs()[0].port(), Some(0));
/// # Ok::<(), amboss_core::ServeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Listeners(pub(super) Vec<Arc<Listener>>);

impl Listeners {
    /// Listens on all of `addresses`, with [`Settings::backlog`] and [`Settings::unix_mode`].
    ///
    /// # Errors
    /// [`ServeErrorKind::Bind`] when the system refuses an address.
    pub fn bind(addresses: &[Address], settings: &Settings) -> Result<Listeners, ServeError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let bound = bind_address(address, settings.backlog, settings.unix_mode);
            let bound = bound.map_err(|error| ServeErrorKind::Bind { address: address.clone(), error })?;
            listeners.extend(bound.into_iter().map(Arc::new));
        }
        Ok(Listeners(listeners))
    }

    /// Returns the sockets that systemd has passed to this process (`LISTEN_PID`, `LISTEN_FDS`, `sd_listen_fds(3)`), which
    /// may be none.
    ///
    /// Each descriptor can be taken once, and only if this process was started with it.
    ///
    /// # Errors
    /// When a descriptor is not a listening socket, or was taken before.
    pub fn from_systemd() -> io::Result<Listeners> {
        Ok(Listeners(from_systemd()?.into_iter().map(Arc::new).collect()))
    }

    /// Adopts sockets that are listening already, such as those of another library.
    ///
    /// For the number of a descriptor that this process was started with, use [`Address::Fd`], which needs no unsafe code.
    /// For any other number, the caller has to ensure that nothing else owns the descriptor, and call
    /// `OwnedFd::from_raw_fd`.
    ///
    /// # Errors
    /// When one of the descriptors is not a listening socket.
    #[cfg(unix)]
    pub fn adopt(sockets: impl IntoIterator<Item = std::os::fd::OwnedFd>) -> io::Result<Listeners> {
        let listeners = sockets.into_iter().map(|socket| unix::adopt(socket).map(Arc::new));
        listeners.collect::<io::Result<Vec<_>>>().map(Listeners)
    }

    /// Returns the addresses that the sockets are bound to, with the ports that the system has chosen.
    pub fn local_addrs(&self) -> Vec<LocalAddr> {
        self.0.iter().map(|listener| listener.local.clone()).collect()
    }

    /// Whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the descriptors, for a process that is to inherit them.
    #[cfg(unix)]
    pub fn as_fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.0.iter().map(|listener| listener.handle())
    }
}

/// Listens on an address. `localhost` and host names with several addresses result in several listeners.
fn bind_address(address: &Address, backlog: i32, unix_mode: Option<u32>) -> io::Result<Vec<Listener>> {
    match address {
        Address::Tcp { host, port } => tcp::bind(host, *port, backlog),
        #[cfg(unix)]
        Address::Unix(path) => unix::bind(path, unix_mode).map(|listener| vec![listener]),
        #[cfg(unix)]
        Address::Fd(number) => unix::take_inherited(*number).map(|listener| vec![listener]),
        #[cfg(not(unix))]
        Address::Unix(_) | Address::Fd(_) => {
            let _ = unix_mode;
            let why = "this system does not support such sockets; give host and port, as in 127.0.0.1:5000";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }
    }
}

fn from_systemd() -> io::Result<Vec<Listener>> {
    #[cfg(unix)]
    return unix::from_systemd();
    #[cfg(not(unix))]
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::io::socket::Socket;
    #[cfg(unix)]
    use crate::server::sys;
    use crate::wsgi::Peer;

    #[cfg(unix)]
    #[test]
    fn binding_to_the_path_of_a_stuck_listener_fails_without_blocking() {
        use std::os::unix::net::{UnixListener, UnixStream};
        use std::time::Duration;

        let path = std::env::temp_dir().join(format!("amboss-stuck-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let stuck = UnixListener::bind(&path).unwrap();
        sys::set_backlog(sys::handle(&stuck), 0).unwrap();
        // The backlog is full now, so that a further connect would block.
        let _queued = UnixStream::connect(&path).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let address = Address::Unix(path.clone());
        std::thread::spawn(move || sender.send(bind_address(&address, 16, None).map(drop)));
        let error = receiver.recv_timeout(Duration::from_secs(20)).expect("bind does not block").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        assert!(error.to_string().contains("another program listens there"), "{error}");
        // A socket file without a listener is stale, and bind replaces it.
        drop(stuck);
        drop(bind_address(&Address::Unix(path.clone()), 16, None).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn accepted_connections_have_nagles_algorithm_off() {
        let address = Address::new("127.0.0.1", 0);
        let listener = bind_address(&address, 16, None).unwrap().remove(0);
        let LocalAddr::Tcp(local) = listener.local else { panic!("not a TCP listener") };
        let client = std::net::TcpStream::connect(local).unwrap();
        let (socket, peer) = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        assert!(matches!(socket, Socket::Tcp(stream) if stream.nodelay().unwrap()));
        assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
    }
}
