//! `proxy_header`: a PROXY header has one meaning, however it arrives.

use std::net::{IpAddr, SocketAddr};

use super::input::escape;
use crate::http::{ProxyHeader, ProxyHeaderError};

/// The limit of version 2 for every input: long enough for each family, and short enough to be exceeded.
const LIMIT: usize = 300;
/// The maximum length for which every cut is tried.
const EVERY_CUT: usize = 600;

type Outcome = Result<Option<(ProxyHeader, usize)>, ProxyHeaderError>;

/// Parses the beginning of a connection.
///
/// - [`ProxyHeader::parse`] does not panic, and its length is at least 15 and at most that of the input and the limit.
/// - The result for the input is that of each prefix, unless more bytes were needed; behind a header, nothing matters.
/// - A TCP header that is written again, in each version, has the same meaning.
pub fn proxy_header(data: &[u8]) {
    let whole = ProxyHeader::parse(data, LIMIT);
    for cut in 0..data.len().min(EVERY_CUT) {
        check_prefix(data, cut, whole);
    }
    let Ok(Some((header, length))) = whole else { return };
    assert!((15..=LIMIT).contains(&length) && length <= data.len(), "{length} in {}", escape(data));
    assert_eq!(ProxyHeader::parse(&data[..length], LIMIT), whole, "bytes behind the header matter: {}", escape(data));
    let ProxyHeader::Tcp { source, destination } = header else { return };
    // The limit is for version 2; version 1 has its own.
    let text = version_1(source, destination);
    assert_eq!(ProxyHeader::parse(&text, 0), Ok(Some((header, text.len()))), "{}", escape(&text));
    let binary = version_2(source, destination);
    assert_eq!(ProxyHeader::parse(&binary, LIMIT), Ok(Some((header, binary.len()))), "{}", escape(&binary));
}

fn check_prefix(data: &[u8], cut: usize, whole: Outcome) {
    match ProxyHeader::parse(&data[..cut], LIMIT) {
        Ok(None) => {}
        outcome => assert_eq!(outcome, whole, "cut at {cut}: {}", escape(data)),
    }
}

fn version_1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn version_2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    let block = [octets(source), octets(destination), ports].concat();
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    bytes.extend([family, 0, block.len() as u8]);
    bytes.extend(block);
    bytes
}
