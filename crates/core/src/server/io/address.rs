//! Addresses to listen on, as they are given and as they are bound.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on. [`FromStr`] parses it and [`Display`](fmt::Display) writes it:
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
    /// A host name or an IP address, and a port. Port 0 lets the system choose one. `localhost` means 127.0.0.1 and ::1 on
    /// the same port. The empty name and `*` mean all addresses of the machine.
    Tcp {
        /// The host name or the IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(PathBuf),
    /// The descriptor number, below 1024, of a listening socket that this process was started with (`fd://3`). Each number
    /// can be used once, and only if the descriptor was open before `main`. Descriptors that the program has opened are
    /// refused, because they have an owner.
    Fd(i32),
}

impl Address {
    /// Makes an address from a host (or `unix://path`) and a port, the arguments of `run_simple`.
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

/// The error of parsing an [`Address`]. Its message says what to write instead.
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
        let error = |why: &str| Err(AddressError(format!("{text:?} is not an address to listen on: {why}")));
        // gunicorn and nginx write `unix:/path`.
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
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

/// The address that a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddr {
    /// An IP address and a TCP port.
    Tcp(SocketAddr),
    /// The path of a Unix domain socket; `None` for an inherited socket that has no path.
    Unix(Option<PathBuf>),
}

impl LocalAddr {
    /// Returns the port; `None` for a Unix socket.
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
