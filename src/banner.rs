//! The text that is printed when a server starts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use amboss_core::LocalAddr;

/// Returns the lines that say where a server can be reached, as Werkzeug prints them, but without its warning.
///
/// A wildcard address is shown with a loopback URL and with the URL of the interface that has the default route. The
/// certificate's fingerprint can be compared with the one that a browser shows. `hosts` are names that the server answers
/// with applications of their own; those below `localhost` need no entry in a DNS (RFC 6761 §6.3). `guest_of` names the
/// event loop that drives the server.
pub fn banner(
    addresses: &[LocalAddr],
    scheme: &str,
    fingerprint: Option<&str>,
    hosts: &[String],
    guest_of: Option<&str>,
) -> String {
    let mut text = String::new();
    let mut line = |address: &str| {
        text.push_str(" * Running on ");
        text.push_str(address);
        text.push('\n');
    };
    for address in addresses {
        match address {
            LocalAddr::Tcp(address) if address.ip().is_unspecified() => {
                line(&format!("all addresses ({})", address.ip()));
                let port = address.port();
                // The IPv6 wildcard accepts IPv4 connections as well.
                line(&format!("{scheme}://127.0.0.1:{port}"));
                if let Some(outside) = interface(address.ip()) {
                    line(&format!("{scheme}://{}", SocketAddr::new(outside, port)));
                }
            }
            LocalAddr::Tcp(address) => line(&format!("{scheme}://{address}")),
            other => line(&other.to_string()),
        }
    }
    let port = addresses.iter().find_map(LocalAddr::port);
    for (host, port) in hosts.iter().zip(port.into_iter().cycle()) {
        line(&format!("{scheme}://{host}:{port}"));
    }
    if let Some(fingerprint) = fingerprint {
        text.push_str(&format!(" * Certificate fingerprint (SHA-256): {fingerprint}\n"));
    }
    if let Some(event_loop) = guest_of {
        text.push_str(&guest_line(event_loop));
        text.push('\n');
    }
    text.push_str("Press CTRL+C to quit\n");
    text
}

/// Returns the line that names the event loop that drives the server as its guest.
pub(crate) fn guest_line(event_loop: &str) -> String {
    format!(" * Requests run in greenlets of {event_loop}")
}

/// Returns the address of the interface that the system would use for a public address. Connecting a UDP socket sends
/// nothing.
fn interface(family: IpAddr) -> Option<IpAddr> {
    let outside = |here: SocketAddr, there: SocketAddr| {
        let socket = UdpSocket::bind(here).ok()?;
        socket.connect(there).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    };
    const PORT: u16 = 9;
    // Addresses for documentation (RFC 5737, RFC 3849): the system routes them like public ones, but no host has them.
    let four = || outside((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), PORT).into());
    let six =
        || outside((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), PORT).into());
    match family {
        IpAddr::V4(_) => four(),
        IpAddr::V6(_) => four().or_else(six),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_line_and_a_wildcard_has_several() {
        let addresses = [
            LocalAddr::Tcp("127.0.0.1:5000".parse().unwrap()),
            LocalAddr::Tcp("[::1]:5000".parse().unwrap()),
            LocalAddr::Unix(Some("/tmp/a.sock".into())),
        ];
        let text = banner(&addresses, "http", None, &[], None);
        assert_eq!(
            text,
            " * Running on http://127.0.0.1:5000\n * Running on http://[::1]:5000\n * Running on unix:///tmp/a.sock\n\
             Press CTRL+C to quit\n"
        );
        let text = banner(&addresses[..1], "https", Some("AB:CD"), &["api.localhost".to_owned()], Some("gevent"));
        let fingerprint = " * Certificate fingerprint (SHA-256): AB:CD\n";
        let running = " * Running on https://127.0.0.1:5000\n * Running on https://api.localhost:5000\n";
        let guest = " * Requests run in greenlets of gevent\n";
        assert_eq!(text, format!("{running}{fingerprint}{guest}Press CTRL+C to quit\n"));
        let text = banner(&[LocalAddr::Tcp("0.0.0.0:80".parse().unwrap())], "http", None, &[], None);
        assert!(
            text.starts_with(" * Running on all addresses (0.0.0.0)\n * Running on http://127.0.0.1:80\n"),
            "{text}"
        );
    }
}
