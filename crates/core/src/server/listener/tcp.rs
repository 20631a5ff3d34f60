//! Listening on TCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use super::socket::Listener;

pub(super) fn bind(host: &str, port: u16, backlog: i32) -> io::Result<Vec<Listener>> {
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
