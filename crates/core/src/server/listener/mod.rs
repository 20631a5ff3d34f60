//! Listening sockets: binding them, taking them over, and accepting from them.

mod socket;
mod tcp;
#[cfg(unix)]
mod unix;

use std::io;
use std::sync::Arc;

use super::io::address::{Address, LocalAddr};
use super::settings::Settings;

pub(crate) use socket::{ActiveListener, Endpoint, Listener};

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
            listeners.extend(bind_address(address, settings.backlog, settings.unix_mode)?.into_iter().map(Arc::new));
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
        Ok(Listeners(from_systemd()?.into_iter().map(Arc::new).collect()))
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

/// Listens on an address; `localhost` and names with several addresses give several listeners.
fn bind_address(address: &Address, backlog: i32, unix_mode: Option<u32>) -> io::Result<Vec<Listener>> {
    let listeners = match address {
        Address::Tcp { host, port } => tcp::bind(host, *port, backlog),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::io::transport::Socket;
    use crate::server::sys;
    use crate::wsgi::Peer;

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
        std::thread::spawn(move || sender.send(bind_address(&address, 16, None).map(drop)));
        let error = receiver.recv_timeout(Duration::from_secs(20)).expect("it does not hang").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        assert!(error.to_string().contains("another program listens there"), "{error}");
        // Without its listener the file is a left-over, which is replaced.
        drop(stuck);
        drop(bind_address(&Address::Unix(path.clone()), 16, None).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn accepted_connections_have_nagles_algorithm_off() {
        let address = Address::new("127.0.0.1", 0);
        let listener = bind_address(&address, 16, None).unwrap().remove(0);
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
