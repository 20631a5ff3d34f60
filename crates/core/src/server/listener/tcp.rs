//! Listening on TCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use super::socket::Listener;

/// Listens on all addresses of a host.
pub(super) fn bind(host: &str, port: u16, backlog: i32) -> io::Result<Vec<Listener>> {
    let listen = |address: SocketAddr, name: Option<&str>| {
        TcpListener::bind(address).and_then(|listener| Listener::tcp(listener, Some(backlog), name))
    };
    match host {
        "localhost" => bind_localhost(port, listen),
        "" | "*" => {
            // On Linux and macOS, the IPv6 wildcard also accepts IPv4. On a system without IPv6, only IPv4 is left.
            let wildcard = listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), None)
                .or_else(|_| listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), None))?;
            Ok(vec![wildcard])
        }
        _ => {
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![listen(SocketAddr::new(ip, port), None)?]);
            }
            let addresses = (host, port).to_socket_addrs().map_err(|error| {
                io::Error::new(error.kind(), format!("can't resolve the name {host:?} ({error}); check its spelling"))
            })?;
            let mut listeners: Vec<Listener> = Vec::new();
            for mut address in addresses {
                // All addresses get the same port, even if the system chooses it.
                if let (0, Some(first)) = (port, listeners.first()) {
                    address.set_port(first.local.port().unwrap_or(0));
                }
                listeners.push(listen(address, Some(host))?);
            }
            Ok(listeners)
        }
    }
}

/// Listens on 127.0.0.1 and ::1 with one port, so that no client waits for a timeout in the other address family.
fn bind_localhost(
    port: u16,
    listen: impl Fn(SocketAddr, Option<&str>) -> io::Result<Listener>,
) -> io::Result<Vec<Listener>> {
    // A port that the system has chosen for IPv4 can be in use for IPv6. Then the system has to choose another one.
    const MAX_ATTEMPTS: usize = 16;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let ipv4 = listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), Some("localhost"))?;
        let chosen = ipv4.local.port().unwrap_or(port);
        match listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen), Some("localhost")) {
            Ok(ipv6) => return Ok(vec![ipv4, ipv6]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || attempt == MAX_ATTEMPTS {
                    return Err(error);
                }
            }
            // The system has no IPv6.
            Err(_) => return Ok(vec![ipv4]),
        }
    }
}
