//! The little that has to be known about a certificate: when it ends, whose key it holds, which hosts it names.
//!
//! Read from DER (X.690) by walking the structure of RFC 5280 §4.1. Everything is optional here: a certificate that
//! can't be followed has no [`Facts`], and whoever asked goes on without them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::host::Host;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]` around the version, `[3]` around the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// GeneralName's `dNSName` and `iPAddress` (RFC 5280 §4.2.1.6).
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What a certificate says about itself.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The last second of its time, in Unix seconds.
    pub(crate) not_after: u64,
    /// The public key, as SubjectPublicKeyInfo.
    pub(crate) public_key: &'a [u8],
    pub(crate) hosts: Vec<Host>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(certificate: &'a [u8]) -> Option<Facts<'a>> {
        let mut certificate = Der(Der(certificate).expect(SEQUENCE)?);
        let mut body = Der(certificate.expect(SEQUENCE)?);
        if body.peek() == Some(VERSION) {
            body.next()?;
        }
        body.expect(INTEGER)?; // serial number
        body.expect(SEQUENCE)?; // signature algorithm
        body.expect(SEQUENCE)?; // issuer
        let mut validity = Der(body.expect(SEQUENCE)?);
        validity.next()?; // not before
        let (tag, time, _) = validity.next()?;
        let not_after = unix_seconds(tag, time)?;
        body.expect(SEQUENCE)?; // subject
        let (tag, _, public_key) = body.next()?;
        if tag != SEQUENCE {
            return None;
        }
        let mut hosts = Vec::new();
        while let Some((tag, content, _)) = body.next() {
            if tag == EXTENSIONS {
                hosts = alternative_names(Der(Der(content).expect(SEQUENCE)?)).unwrap_or_default();
            }
        }
        Some(Facts { not_after, public_key, hosts })
    }
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<Host>> {
    while let Some((_, content, _)) = extensions.next() {
        let mut extension = Der(content);
        if extension.expect(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let (mut tag, mut value, _) = extension.next()?;
        if tag != OCTET_STRING {
            // `critical` comes first.
            (tag, value, _) = extension.next()?;
        }
        if tag != OCTET_STRING {
            return None;
        }
        let mut names = Der(Der(value).expect(SEQUENCE)?);
        let mut hosts = Vec::new();
        while let Some((tag, content, _)) = names.next() {
            match tag {
                DNS_NAME => hosts.push(Host::Name(String::from_utf8(content.to_vec()).ok()?)),
                IP_ADDRESS => match *content {
                    [a, b, c, d] => hosts.push(Host::Ip(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))),
                    _ => hosts.push(Host::Ip(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?)))),
                },
                _ => {}
            }
        }
        return Some(hosts);
    }
    None
}

/// What is left of a series of elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, if it is of this kind.
    fn expect(&mut self, expected: u8) -> Option<&'a [u8]> {
        let (tag, content, _) = self.next()?;
        (tag == expected).then_some(content)
    }

    /// Tag, content and the whole of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count {
                return None;
            }
            length = rest[..count].iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            rest = &rest[count..];
        }
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some((tag, content, whole))
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn unix_seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let short = number(text.get(..2)?)?;
            (if short < 50 { 2000 + short } else { 1900 + short }, &text[2..])
        }
        GENERALIZED_TIME => (number(text.get(..4)?)?, &text[4..]),
        _ => return None,
    };
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (part(0)?, part(2)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year is taken to begin in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    const BEFORE_1970: u64 = 719_468;
    Some((days - BEFORE_1970) * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "941106084937Z", Some(784_111_777)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "9411", None),
            (UTC_TIME, "941306084937Z", None),
            (INTEGER, "941106084937Z", None),
        ] {
            assert_eq!(unix_seconds(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_bent_anywhere_does_no_harm() {
        let made = crate::make::self_signed("a", &[Host::Name("a.test".into()), Host::Ip([1, 2, 3, 4].into())]);
        let der = made.unwrap().der;
        let facts = Facts::of(&der).unwrap();
        assert_eq!(facts.hosts, [Host::Name("a.test".into()), Host::Ip([1, 2, 3, 4].into())]);
        for length in 0..der.len() {
            let _ = Facts::of(&der[..length]);
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = der.to_vec();
                bent[at] = byte;
                let _ = Facts::of(&bent);
            }
        }
    }
}
