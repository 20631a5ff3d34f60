//! The hosts that a certificate is for.

use std::net::IpAddr;

use crate::error::{SslError, SslErrorKind};

/// A name or an address in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Ip(IpAddr),
}

/// The longest name the domain name system knows (RFC 1035 §2.3.4).
const LONGEST: usize = 253;

impl Host {
    /// A host as people write it: a name, an address, an IPv6 address in brackets.
    pub(crate) fn parse(text: &str) -> Result<Host, SslError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Host::Ip(address));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
        if bare.is_empty() || bare.len() > LONGEST || !bare.bytes().all(fits) {
            let sentence = format!("{text:?} is no host a certificate can name; give names as a.example or addresses");
            return Err(SslError::new(SslErrorKind::Host, sentence));
        }
        Ok(Host::Name(bare.to_ascii_lowercase()))
    }

    pub(crate) fn parse_all(texts: &[&str]) -> Result<Vec<Host>, SslError> {
        texts.iter().map(|text| Host::parse(text)).collect()
    }

    /// What every certificate made here is good for: the machine it was made on.
    pub(crate) fn loopback() -> Vec<Host> {
        let name = |name: &str| Host::Name(name.to_owned());
        vec![
            name("localhost"),
            name("*.localhost"),
            Host::Ip([127, 0, 0, 1].into()),
            Host::Ip([0u16, 0, 0, 0, 0, 0, 0, 1].into()),
        ]
    }

    /// `0.0.0.0` and `::` are addresses to listen on, and no client's idea of a host.
    pub(crate) fn is_unspecified(&self) -> bool {
        matches!(self, Host::Ip(address) if address.is_unspecified())
    }
}

/// Adds what is not there yet.
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
    fn hosts_are_read_as_people_write_them() {
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
