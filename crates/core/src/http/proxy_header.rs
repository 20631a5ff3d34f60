//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`): a header in front of everything else on a
//! connection, in which a proxy tells the address of its client.
//!
//! ```text
//! version 1 = "PROXY" SP ("TCP4" / "TCP6") SP source SP destination SP port SP port CRLF
//!           / "PROXY UNKNOWN" [ SP anything ] CRLF                          at most 107 bytes
//! version 2 = signature(12) version-and-command(1) family(1) length(2) addresses [ TLVs ]
//! ```
//!
//! Invariant: the result for some bytes is also the result for more bytes, unless it is that more are needed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::syntax::parse_decimal;

/// The first bytes of version 1.
const V1: &[u8] = b"PROXY ";
/// The first bytes of version 2. No text protocol begins with them.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum length of version 1, CR LF included (section 2.1: "worst case").
const V1_MAX: usize = 107;
/// The length of version 2 in front of the addresses.
const V2_FIXED: usize = 16;

/// What a PROXY header says about the client.
///
/// ```
/// use amboss_core::http::ProxyHeader;
///
/// let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
/// let (header, length) = ProxyHeader::parse(bytes, 2048)?.expect("the header is complete");
/// assert_eq!(header, ProxyHeader::Tcp { source: "192.0.2.7:56324".parse()?, destination: "198.51.100.1:443".parse()? });
/// assert!(bytes[length..].starts_with(b"GET "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// The proxy has opened the connection for itself, as for a health check (`LOCAL` of version 2).
    Local,
    /// The connection is relayed for a client without a TCP address: `UNKNOWN`, `UNSPEC`, a datagram or a Unix socket.
    Unknown,
    /// The connection is relayed for a TCP client.
    Tcp {
        /// The client's address.
        source: SocketAddr,
        /// The address to which the client has connected.
        destination: SocketAddr,
    },
}

impl ProxyHeader {
    /// Reads the header at the beginning of `bytes`. Returns the header and its length, or `None` if more bytes are
    /// needed. `limit` is the maximum length of version 2 in bytes; its TLVs are skipped.
    ///
    /// # Errors
    /// If the bytes do not begin with a header, or the header is malformed or too long.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
        if begins_as(bytes, V1) {
            return parse_v1(bytes);
        }
        if begins_as(bytes, V2) {
            return parse_v2(bytes, limit);
        }
        Err(ProxyHeaderErrorKind::NotAHeader.into())
    }
}

/// Whether the bytes begin with the signature, as far as they go.
fn begins_as(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let Some(end) = bytes.iter().take(V1_MAX).position(|&byte| byte == b'\n') else {
        return if bytes.len() < V1_MAX { Ok(None) } else { Err(ProxyHeaderErrorKind::TooLong.into()) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(ProxyHeaderErrorKind::Malformed)?;
    let header = parse_line(line).ok_or(ProxyHeaderErrorKind::Malformed)?;
    Ok(Some((header, end + 1)))
}

/// Reads the line of version 1, without CR LF.
fn parse_line(line: &[u8]) -> Option<ProxyHeader> {
    let mut words = line.split(|&byte| byte == b' ').skip(1);
    let family = words.next()?;
    if family == b"UNKNOWN" {
        // Section 2.1: what follows is ignored.
        return Some(ProxyHeader::Unknown);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let is_ipv4 = match family {
        b"TCP4" => true,
        b"TCP6" => false,
        _ => return None,
    };
    Some(ProxyHeader::Tcp {
        source: SocketAddr::new(address(source, is_ipv4)?, source_port),
        destination: SocketAddr::new(address(destination, is_ipv4)?, destination_port),
    })
}

/// Reads an IP address of one family. std accepts no leading zeros in IPv4, and no zone in IPv6.
fn address(text: &[u8], is_ipv4: bool) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == is_ipv4)
}

/// Reads a port without leading zeros.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    if text.len() > 1 && text[0] == b'0' {
        return None;
    }
    parse_decimal(text).and_then(|number| u16::try_from(number).ok())
}

fn parse_v2(bytes: &[u8], limit: usize) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    // Each byte is checked when it is there, in their order, so that the result does not depend on how many follow.
    let is_local = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyHeaderErrorKind::Malformed.into()),
    };
    // The length of both addresses with their ports.
    let addresses = match bytes.get(13) {
        None => return Ok(None),
        // Section 2.2: with LOCAL, the family is ignored.
        Some(_) if is_local => 0,
        Some(0x00) => 0,
        Some(0x11 | 0x12) => 12,
        Some(0x21 | 0x22) => 36,
        Some(0x31 | 0x32) => 216,
        Some(_) => return Err(ProxyHeaderErrorKind::Malformed.into()),
    };
    let Some(&[high, low]) = bytes.get(14..V2_FIXED).and_then(|length| length.first_chunk()) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < addresses {
        return Err(ProxyHeaderErrorKind::Malformed.into());
    }
    let whole = V2_FIXED + length;
    if whole > limit {
        return Err(ProxyHeaderErrorKind::TooLong.into());
    }
    let Some(block) = bytes.get(V2_FIXED..whole) else { return Ok(None) };
    let header = match bytes[13] {
        _ if is_local => ProxyHeader::Local,
        0x11 => tcp(block, |octets: [u8; 4]| octets.into()),
        0x21 => tcp(block, |octets: [u8; 16]| octets.into()),
        _ => ProxyHeader::Unknown,
    };
    Ok(Some((header, whole)))
}

/// Reads two addresses of `N` bytes and two ports.
fn tcp<const N: usize>(block: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> ProxyHeader {
    let octets = |at: usize| *block[at..].first_chunk::<N>().expect("the length of the block was checked");
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    ProxyHeader::Tcp {
        source: SocketAddr::new(address(octets(0)), port(2 * N)),
        destination: SocketAddr::new(address(octets(N)), port(2 * N + 2)),
    }
}

/// Bytes that are not a valid PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyHeaderError {
    kind: ProxyHeaderErrorKind,
}

impl ProxyHeaderError {
    /// The reason.
    pub fn kind(self) -> ProxyHeaderErrorKind {
        self.kind
    }
}

impl From<ProxyHeaderErrorKind> for ProxyHeaderError {
    fn from(kind: ProxyHeaderErrorKind) -> ProxyHeaderError {
        ProxyHeaderError { kind }
    }
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ProxyHeaderErrorKind::NotAHeader => {
                "the connection does not begin with a PROXY header; make the proxy send one (haproxy: send-proxy-v2)"
            }
            ProxyHeaderErrorKind::Malformed => "the PROXY header is malformed",
            ProxyHeaderErrorKind::TooLong => "the PROXY header is longer than the limit",
        })
    }
}

impl std::error::Error for ProxyHeaderError {}

/// The reason why bytes are not a valid PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeaderErrorKind {
    /// The bytes begin with the signature of neither version.
    NotAHeader,
    /// The bytes begin with a signature, and what follows is not a header of that version.
    Malformed,
    /// Version 1 has more than 107 bytes, or version 2 more than the limit.
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 300;

    fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderErrorKind> {
        ProxyHeader::parse(bytes, LIMIT).map_err(ProxyHeaderError::kind)
    }

    fn from(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Tcp { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &length, block].concat()
    }

    #[test]
    fn version_1_has_exactly_one_spelling_of_each_part() {
        let line = |text: &str| parse(format!("{text}\r\n").as_bytes()).map(|parsed| parsed.map(|(header, _)| header));
        for (text, header) in [
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 65535", from("1.2.3.4:1", "5.6.7.8:65535")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
                from("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            ("PROXY TCP6 2001:DB8::1 ::1 0 443", from("[2001:db8::1]:0", "[::1]:443")),
            ("PROXY UNKNOWN", ProxyHeader::Unknown),
            ("PROXY UNKNOWN ffff:f...f:ffff 65535", ProxyHeader::Unknown),
        ] {
            assert_eq!(line(text), Ok(Some(header)), "{text}");
        }
        for text in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2",
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3 5.6.7.8 1 2",
            "PROXY TCP4 ::1 ::1 1 2",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2",
            "PROXY TCP6 [::1] [::1] 1 2",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2",
            "PROXY tcp4 1.2.3.4 5.6.7.8 1 2",
            "PROXY UNKNOWNS",
            "PROXY TCP4\t1.2.3.4\t5.6.7.8\t1\t2",
            "PROXY / HTTP/1.1",
        ] {
            assert_eq!(line(text), Err(ProxyHeaderErrorKind::Malformed), "{text}");
        }
        assert_eq!(parse(b"PROXY UNKNOWN\n"), Err(ProxyHeaderErrorKind::Malformed), "a bare LF");
        assert_eq!(parse(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n"), Err(ProxyHeaderErrorKind::Malformed));
    }

    #[test]
    fn version_1_has_at_most_107_bytes() {
        let unknown = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
        assert_eq!(parse(&unknown(107)), Ok(Some((ProxyHeader::Unknown, 107))));
        assert_eq!(parse(&unknown(108)), Err(ProxyHeaderErrorKind::TooLong));
        assert_eq!(parse(&unknown(108)[..106]), Ok(None));
        assert_eq!(parse(&unknown(108)[..107]), Err(ProxyHeaderErrorKind::TooLong));
    }

    #[test]
    fn version_2_is_read_by_command_and_family() {
        let tcp4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187];
        let tcp6 = [&[0; 15][..], &[1], &[0; 15], &[2], &[0, 80, 1, 187]].concat();
        let with_tlvs = [&tcp4[..], &[0x04, 0, 2, 0, 0]].concat();
        for (command, family, block, expected) in [
            (0x21, 0x11, &tcp4[..], Ok(from("1.2.3.4:80", "5.6.7.8:443"))),
            (0x21, 0x11, &with_tlvs, Ok(from("1.2.3.4:80", "5.6.7.8:443"))),
            (0x21, 0x21, &tcp6, Ok(from("[::1]:80", "[::2]:443"))),
            (0x21, 0x12, &tcp4, Ok(ProxyHeader::Unknown)),
            (0x21, 0x22, &tcp6, Ok(ProxyHeader::Unknown)),
            (0x21, 0x31, &[b'/'; 216], Ok(ProxyHeader::Unknown)),
            (0x21, 0x00, b"", Ok(ProxyHeader::Unknown)),
            (0x21, 0x00, b"ignored", Ok(ProxyHeader::Unknown)),
            (0x20, 0x00, b"", Ok(ProxyHeader::Local)),
            (0x20, 0xff, b"ignored", Ok(ProxyHeader::Local)),
            (0x21, 0x11, &tcp4[..11], Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x21, &tcp6[..35], Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x31, &tcp6, Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x10, &tcp4, Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x13, &tcp4, Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x41, &tcp6, Err(ProxyHeaderErrorKind::Malformed)),
            (0x22, 0x11, &tcp4, Err(ProxyHeaderErrorKind::Malformed)),
            (0x11, 0x11, &tcp4, Err(ProxyHeaderErrorKind::Malformed)),
            (0x31, 0x11, &tcp4, Err(ProxyHeaderErrorKind::Malformed)),
            (0x21, 0x11, &[0; LIMIT - V2_FIXED + 1], Err(ProxyHeaderErrorKind::TooLong)),
        ] {
            let bytes = v2(command, family, block);
            let expected = expected.map(|header| Some((header, bytes.len())));
            assert_eq!(parse(&[&bytes[..], b"GET"].concat()), expected, "{command:x} {family:x} {}", block.len());
        }
    }

    #[test]
    fn a_header_can_be_cut_anywhere() {
        for bytes in [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65535\r\n".to_vec(), v2(0x21, 0x11, &[7; 40]), v2(0x20, 0, b"")] {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
            }
            assert!(matches!(parse(&bytes), Ok(Some((_, length))) if length == bytes.len()));
        }
    }

    #[test]
    fn other_protocols_are_told_apart_at_their_first_different_byte() {
        for bytes in
            [&b"GET"[..], b"PROPFIND / HTTP/1.1\r\n", b"\x16\x03\x01", b"\r\nGET", b"\r\n\r\n\0\r\nQUIT\r", b"proxy "]
        {
            assert_eq!(parse(bytes), Err(ProxyHeaderErrorKind::NotAHeader), "{}", bytes.escape_ascii());
        }
        for bytes in [&b""[..], b"PRO", b"\r", b"\r\n\r\n\0\r\nQUI"] {
            assert_eq!(parse(bytes), Ok(None), "{}", bytes.escape_ascii());
        }
    }
}
