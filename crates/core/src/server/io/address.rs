//! Addresses to listen on, as text and as what they became.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// The number of a listening socket that this process was started with (`fd://3`), below 1024. It can be listened on
    /// once, and only if it was open before `main`: the number of anything that this program has opened is refused,
    /// since that has an owner.
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
