//! Trust in proxies: which peers may say for whom they speak, and in which way they say it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::http::ProxyHeader;
use crate::wsgi::{ForwardedHops, ForwardingRules, Peer, Peers};

/// Which proxies the server trusts, and how they tell the server about their clients.
///
/// ```
/// use amboss_core::{ProxyProtocol, Settings};
/// let mut settings = Settings::default();
/// settings.proxies.trusted = "10.0.0.0/8,unix:".parse()?;
/// settings.proxies.hops.x_host = 1;
/// settings.proxies.protocol = ProxyProtocol::Required;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The application finds the result in the usual keys (`REMOTE_ADDR`, `wsgi.url_scheme`, `HTTP_HOST`, `SERVER_NAME`,
/// `SERVER_PORT`, `SCRIPT_NAME`), and the values of the connection itself in
/// [`Environ::original`](crate::Environ::original). The access log shows the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxySettings {
    /// The peers that are trusted proxies; by default the loopback addresses and Unix sockets, as in gunicorn. What any
    /// other peer says about its clients has no effect.
    pub trusted: TrustedPeers,
    /// The number of proxies that set each of the forwarded fields. By default one proxy sets `X-Forwarded-For` and
    /// `X-Forwarded-Proto`.
    pub hops: ForwardedHops,
    /// Whether the server reads `Forwarded` (RFC 7239) and ignores `X-Forwarded-*`; off. The number of hops applies to
    /// its parameters `for`, `proto` and `host`. Only for proxies that set this field; others pass on what the client has
    /// sent.
    pub forwarded: bool,
    /// Whether connections begin with a header of the PROXY protocol; off.
    pub protocol: ProxyProtocol,
}

impl ProxySettings {
    pub(crate) fn rules(&self) -> ForwardingRules {
        ForwardingRules { hops: self.hops, rfc7239: self.forwarded }
    }
}

/// Whether connections begin with a header of the PROXY protocol (version 1 or 2), which has the address of the client.
/// The header comes before everything else, TLS included.
///
/// The address becomes `REMOTE_ADDR` and `REMOTE_PORT`. Forwarded fields are then believed only if this address is a
/// trusted proxy as well. `SERVER_NAME` and `SERVER_PORT` stay those of the bound address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// Connections begin with HTTP or TLS.
    #[default]
    Off,
    /// Connections of trusted proxies may begin with a header. Only for a transition, and only where every client that
    /// reaches a trusted proxy without the protocol may claim any address.
    Optional,
    /// Every connection begins with a header and comes from a trusted proxy; the server closes all others.
    Required,
}

/// A set of peers: IP networks, Unix sockets, or everyone.
///
/// ```
/// use amboss_core::TrustedPeers;
/// let trusted: TrustedPeers = "192.0.2.1, 10.0.0.0/8, 2001:db8::/32, unix:".parse()?;
/// assert_eq!("*".parse(), Ok(TrustedPeers::all())); // everyone
/// assert_eq!("".parse(), Ok(TrustedPeers::none()));
/// assert!("10.0.0.1/8".parse::<TrustedPeers>().unwrap_err().to_string().contains("10.0.0.0/8"));
/// # Ok::<(), amboss_core::TrustedPeersError>(())
/// ```
///
/// An IPv4 address that is mapped to IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. The default is
/// `127.0.0.0/8,::1,unix:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPeers {
    everyone: bool,
    unix: bool,
    networks: Vec<Network>,
}

/// The addresses that share the first `prefix` bits of `address`; all other bits of `address` are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl TrustedPeers {
    /// The empty set.
    pub fn none() -> TrustedPeers {
        TrustedPeers { everyone: false, unix: false, networks: Vec::new() }
    }

    /// Everyone. Only for servers that none but proxies can reach.
    pub fn all() -> TrustedPeers {
        TrustedPeers { everyone: true, ..TrustedPeers::none() }
    }

    /// Whether a peer is in the set.
    pub fn contains(&self, peer: Peer) -> bool {
        self.everyone
            || match peer {
                Peer::Local => self.unix,
                Peer::Tcp(address) => {
                    let address = address.ip().to_canonical();
                    self.networks.iter().any(|network| network.contains(address))
                }
            }
    }
}

impl Default for TrustedPeers {
    fn default() -> TrustedPeers {
        let networks = vec![
            Network { address: Ipv4Addr::new(127, 0, 0, 0).into(), prefix: 8 },
            Network { address: Ipv6Addr::LOCALHOST.into(), prefix: 128 },
        ];
        TrustedPeers { everyone: false, unix: true, networks }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(address, self.prefix) == self.address
            }
            _ => false,
        }
    }

    /// Parses an address, or an address and the length of its prefix. The error says what to write.
    fn parse(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(
                "write an IP address, a network as in 10.0.0.0/8, unix: for Unix sockets, or * for everyone".into()
            );
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok().filter(|&prefix| prefix <= bits));
        let Some(prefix) = prefix else {
            return Err(format!("the number behind the slash has to be from 0 to {bits}"));
        };
        let network = masked(address, prefix);
        if network != address {
            return Err(format!("write {network}/{prefix} for the whole network, or {address} for one address"));
        }
        Ok(match address.to_canonical() {
            // A network of mapped addresses is a network of IPv4.
            canonical @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => {
                Network { address: canonical, prefix: prefix - 96 }
            }
            _ => Network { address, prefix },
        })
    }
}

/// Returns the address with all bits but the first `prefix` set to 0.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl TrustedPeers {
    /// Whether no proxy is trusted.
    pub fn is_empty(&self) -> bool {
        !self.everyone && !self.unix && self.networks.is_empty()
    }
}

impl FromStr for TrustedPeers {
    type Err = TrustedPeersError;

    /// Parses a comma-separated list of addresses, networks, `unix:` and `*`.
    fn from_str(text: &str) -> Result<TrustedPeers, TrustedPeersError> {
        let mut peers = TrustedPeers::none();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part {
                "*" => peers.everyone = true,
                "unix:" => peers.unix = true,
                _ => peers.networks.push(
                    Network::parse(part)
                        .map_err(|why| TrustedPeersError(format!("{part:?} can't be trusted as a proxy: {why}")))?,
                ),
            }
        }
        Ok(peers)
    }
}

/// The error of parsing [`TrustedPeers`]. Its message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPeersError(String);

impl fmt::Display for TrustedPeersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TrustedPeersError {}

/// What is known about the PROXY header of a connection. Part of [`IdleConnection`](crate::IdleConnection), because only
/// the process that reads the header learns the address in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyOrigin {
    /// The header has not been read yet, or not completely.
    #[default]
    Unread,
    /// There is no header, or the proxy has opened the connection for itself: the peer of the socket is the client.
    Direct,
    /// The peer of the socket speaks for a client whose address is not known.
    Unknown,
    /// The peer of the socket speaks for the client with this address.
    Client(SocketAddr),
}

impl From<ProxyHeader> for ProxyOrigin {
    fn from(header: ProxyHeader) -> ProxyOrigin {
        match header {
            ProxyHeader::Local => ProxyOrigin::Direct,
            ProxyHeader::Unknown => ProxyOrigin::Unknown,
            ProxyHeader::Tcp { source, .. } => ProxyOrigin::Client(source),
        }
    }
}

/// Who a connection comes from, and whether it is a trusted proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provenance {
    pub(crate) peers: Peers,
    pub(crate) origin: ProxyOrigin,
    /// Whether forwarded fields on this connection are believed.
    pub(crate) is_trusted: bool,
}

impl Provenance {
    /// A peer that is not trusted.
    pub(crate) fn new(socket: Peer) -> Provenance {
        Provenance { peers: Peers { socket, client: socket }, origin: ProxyOrigin::Direct, is_trusted: false }
    }

    /// Sets what the PROXY header says, and decides whether forwarded fields are believed: those of a trusted proxy are,
    /// and with a header it is the client in it that sends them.
    pub(crate) fn set_origin(&mut self, origin: ProxyOrigin, trusted: &TrustedPeers) {
        self.origin = origin;
        let socket = self.peers.socket;
        (self.peers.client, self.is_trusted) = match origin {
            ProxyOrigin::Unread | ProxyOrigin::Direct => (socket, trusted.contains(socket)),
            ProxyOrigin::Unknown => (socket, false),
            ProxyOrigin::Client(address) => (Peer::Tcp(address), trusted.contains(Peer::Tcp(address))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(trusted: &str, peer: &str) -> bool {
        let peer = match peer {
            "unix" => Peer::Local,
            address => Peer::Tcp(SocketAddr::new(address.parse().unwrap(), 1)),
        };
        trusted.parse::<TrustedPeers>().unwrap().contains(peer)
    }

    #[test]
    fn peers_are_trusted_by_address_network_and_kind() {
        for (trusted, inside, outside) in [
            ("192.0.2.1", &["192.0.2.1", "::ffff:192.0.2.1"][..], &["192.0.2.2", "::1", "unix"][..]),
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255", "::a00:0"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]),
            ("192.0.2.4/31", &["192.0.2.4", "192.0.2.5"], &["192.0.2.6", "192.0.2.3"]),
            ("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1", "unix"]),
            ("::/0", &["::1", "2001:db8::1"], &["1.2.3.4", "::ffff:1.2.3.4", "unix"]),
            ("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::1"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]),
            ("unix:", &["unix"], &["127.0.0.1"]),
            ("*", &["unix", "1.2.3.4", "2001:db8::1"], &[]),
            ("", &[], &["unix", "127.0.0.1"]),
            (" 192.0.2.1 ,, unix: ", &["192.0.2.1", "unix"], &["192.0.2.2"]),
            ("127.0.0.0/8,::1,unix:", &["127.0.0.1", "127.9.9.9", "::1", "unix"], &["128.0.0.1", "::2"]),
        ] {
            for peer in inside {
                assert!(contains(trusted, peer), "{trusted} {peer}");
            }
            for peer in outside {
                assert!(!contains(trusted, peer), "{trusted} {peer}");
            }
        }
        assert_eq!("127.0.0.0/8,::1,unix:".parse(), Ok(TrustedPeers::default()));
    }

    #[test]
    fn a_list_that_can_not_be_parsed_says_what_to_write() {
        for (text, expected) in [
            ("localhost", "write an IP address"),
            ("unix", "unix: for Unix sockets"),
            ("10.0.0", "as in 10.0.0.0/8"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/-1", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.1.2.3/8", "write 10.0.0.0/8 for the whole network, or 10.1.2.3 for one address"),
            ("2001:db8::1/32", "write 2001:db8::/32 for"),
            ("fe80::1%eth0", "write an IP address"),
            ("127.0.0.1:80", "write an IP address"),
        ] {
            let error = format!("127.0.0.1,{text}").parse::<TrustedPeers>().unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_client_behind_the_proxy_protocol_is_trusted_by_its_own_address() {
        let trusted: TrustedPeers = "10.0.0.0/8".parse().unwrap();
        let proxy = Peer::Tcp("10.0.0.1:1".parse().unwrap());
        for (origin, client, is_trusted) in [
            (ProxyOrigin::Direct, "10.0.0.1", true),
            (ProxyOrigin::Unknown, "10.0.0.1", false),
            (ProxyOrigin::Client("192.0.2.1:2".parse().unwrap()), "192.0.2.1", false),
            (ProxyOrigin::Client("10.0.0.2:2".parse().unwrap()), "10.0.0.2", true),
        ] {
            let mut provenance = Provenance::new(proxy);
            provenance.set_origin(origin, &trusted);
            let Provenance { peers, is_trusted: believed, .. } = provenance;
            assert_eq!((peers.client.to_string().as_str(), believed, peers.socket), (client, is_trusted, proxy));
        }
    }
}
