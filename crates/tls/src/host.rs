//! The host names and addresses that a certificate is valid for.

use std::net::IpAddr;

use crate::error::{SslError, SslErrorKind};

/// A subject alternative name of a certificate: a DNS name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Ip(IpAddr),
}

/// The maximum length of a domain name in bytes (RFC 1035 §2.3.4).
const MAX_NAME_LENGTH: usize = 253;

impl Host {
    /// Parses a host as users type it: a name, an address, or an IPv6 address in brackets.
    pub(crate) fn parse(text: &str) -> Result<Host, SslError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Host::Ip(address));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
        if bare.is_empty() || bare.len() > MAX_NAME_LENGTH || !bare.bytes().all(is_allowed) {
            let message = format!(
                "{text:?} is not a host that a certificate can contain; use a name such as a.example, or an IP address"
            );
            return Err(SslError::new(SslErrorKind::InvalidHost, message));
        }
        Ok(Host::Name(bare.to_ascii_lowercase()))
    }

    pub(crate) fn parse_all(texts: &[&str]) -> Result<Vec<Host>, SslError> {
        texts.iter().map(|text| Host::parse(text)).collect()
    }

    /// The names and addresses of the local machine.
    pub(crate) fn loopback() -> Vec<Host> {
        let name = |name: &str| Host::Name(name.to_owned());
        vec![
            name("localhost"),
            name("*.localhost"),
            Host::Ip([127, 0, 0, 1].into()),
            Host::Ip([0u16, 0, 0, 0, 0, 0, 0, 1].into()),
        ]
    }

    /// Whether this is `0.0.0.0` or `::`, which a server listens on but no client connects to.
    fn is_unspecified(&self) -> bool {
        matches!(self, Host::Ip(address) if address.is_unspecified())
    }
}

/// Appends the hosts that are not in the list yet, except for unspecified addresses.
pub(crate) fn merge(hosts: &mut Vec<Host>, more: impl IntoIterator<Item = Host>) {
    for host in more {
        if !host.is_unspecified() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_parsed() {
        for (text, expected) in [
            ("Example.TEST", Some(Host::Name("example.test".into()))),
            ("*.a", Some(Host::Name("*.a".into()))),
            ("127.0.0.1", Some(Host::Ip([127, 0, 0, 1].into()))),
            ("[::1]", Some(Host::Ip("::1".parse().unwrap()))),
            ("::1", Some(Host::Ip("::1".parse().unwrap()))),
            ("", None),
            ("a b", None),
            ("a:80", None),
            ("bücher.test", None),
        ] {
            assert_eq!(Host::parse(text).ok(), expected, "{text}");
        }
    }
}
