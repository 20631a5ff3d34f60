//! The framing of a request: which body follows the head, and whether the connection persists (RFC 9112 §6 and §9).

use super::error::{Error, ErrorKind};
use super::head::{Head, Known};
use super::leniency::Leniency;
use super::repeated_host::repeated_host_is_valid;
use super::syntax::{is_token, list, parse_decimal};
use super::version::Version;

/// The length of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The number of bytes; 0 if there is no body.
    Known(u64),
    /// The chunked coding marks the end.
    Chunked,
}

/// The properties of the body and of the connection that follow from a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Framing {
    /// The body that follows.
    pub body: BodyLength,
    /// Whether the request allows the connection to be used again after this message.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether the client offers to switch protocols (`Connection: upgrade` and an `Upgrade` field, RFC 9110 §7.8).
    pub upgrade: bool,
}

impl Framing {
    /// Determines the framing of a request from its complete head.
    ///
    /// # Errors
    /// For a Host, Content-Type, Content-Length, Transfer-Encoding or Expect field that is missing, repeated, malformed
    /// or in conflict with another field.
    #[inline]
    pub fn of(head: &Head<'_>, leniency: Leniency) -> Result<Framing, Error> {
        let http11 = head.version() == Version::Http11;
        check_host(head, http11, leniency)?;
        if head.repeated(Known::ContentType) {
            return Err(error(head, ErrorKind::ContentTypeRepeated));
        }
        if !head.has_framing() {
            return Ok(Framing { keep_alive: http11, ..Framing::empty() });
        }

        let length = content_length(head)?;
        let mut keep_alive = http11;
        let mut upgrade = false;
        for value in head.all_known(Known::Connection, "connection") {
            for option in list(value) {
                if option.eq_ignore_ascii_case(b"close") {
                    keep_alive = false;
                    // RFC 9112 §9.3: close takes precedence over every other option.
                    return Framing::with_body(head, leniency, length, Framing { keep_alive, ..Framing::empty() });
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    keep_alive = true;
                } else if option.eq_ignore_ascii_case(b"upgrade") {
                    upgrade = http11 && head.known(Known::Upgrade).is_some();
                }
            }
        }
        Framing::with_body(head, leniency, length, Framing { keep_alive, upgrade, ..Framing::empty() })
    }

    /// The framing of a request without a body and without a field that says anything about the connection.
    #[inline]
    fn empty() -> Framing {
        Framing { body: BodyLength::Known(0), keep_alive: false, expects_continue: false, upgrade: false }
    }

    #[inline]
    fn with_body(
        head: &Head<'_>,
        leniency: Leniency,
        length: Option<u64>,
        mut framing: Framing,
    ) -> Result<Framing, Error> {
        let http11 = head.version() == Version::Http11;
        framing.body = BodyLength::Known(length.unwrap_or(0));
        if head.known(Known::TransferEncoding).is_some() {
            if !http11 {
                return Err(error(head, ErrorKind::TransferEncodingVersion));
            }
            check_transfer_encoding(head)?;
            if length.is_some() {
                if !leniency.length_and_chunked {
                    return Err(error(head, ErrorKind::LengthAndChunked));
                }
                framing.keep_alive = false;
            }
            framing.body = BodyLength::Chunked;
        }
        // RFC 9110 §10.1.1: an expectation in an HTTP/1.0 request is ignored.
        if http11 {
            for expectation in head.all_known(Known::Expect, "expect").flat_map(list) {
                if !expectation.eq_ignore_ascii_case(b"100-continue") {
                    return Err(error(head, ErrorKind::Expectation));
                }
                framing.expects_continue = framing.body != BodyLength::Known(0);
            }
        }
        Ok(framing)
    }
}

/// These errors concern the head as a whole, so their position is its end.
#[cold]
fn error(head: &Head<'_>, kind: ErrorKind) -> Error {
    Error::new(kind, head.bytes().len())
}

#[inline]
fn check_host(head: &Head<'_>, http11: bool, leniency: Leniency) -> Result<(), Error> {
    if leniency.any_host {
        return Ok(());
    }
    match head.known(Known::Host) {
        None if http11 => Err(error(head, ErrorKind::HostMissing)),
        None => Ok(()),
        Some(_) if head.repeated(Known::Host) => Err(error(head, ErrorKind::HostRepeated)),
        Some(host) if !repeated_host_is_valid(host) => Err(error(head, ErrorKind::HostMalformed)),
        Some(_) => Ok(()),
    }
}

/// Reads Content-Length: digits only, once (RFC 9110 §8.6). A list of equal numbers is refused as well, since no honest
/// client sends one.
fn content_length(head: &Head<'_>) -> Result<Option<u64>, Error> {
    let Some(value) = head.known(Known::ContentLength) else { return Ok(None) };
    if head.repeated(Known::ContentLength) {
        return Err(error(head, ErrorKind::ContentLength));
    }
    match parse_decimal(value) {
        Some(length) => Ok(Some(length)),
        None => Err(error(head, ErrorKind::ContentLength)),
    }
}

/// Checks that Transfer-Encoding is exactly `chunked` (RFC 9112 §6.1, §6.3).
fn check_transfer_encoding(head: &Head<'_>) -> Result<(), Error> {
    let mut codings = 0;
    let mut chunked = 0;
    let mut last_is_chunked = false;
    let mut well_formed = true;
    for value in head.all_known(Known::TransferEncoding, "transfer-encoding") {
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            codings += 1;
            last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            chunked += usize::from(last_is_chunked);
            let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            well_formed &= is_token(name);
        }
    }
    match (codings, chunked) {
        _ if !well_formed || chunked > 1 || !last_is_chunked => Err(error(head, ErrorKind::TransferEncodingChunked)),
        (1, 1) => Ok(()),
        _ => Err(error(head, ErrorKind::TransferEncodingUnknown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{HeadOptions, HeadParser};

    fn framing(head: &str, leniency: Leniency) -> Result<Framing, u16> {
        let mut parser = HeadParser::new(HeadOptions { leniency, ..Default::default() });
        let bytes = head.as_bytes();
        match parser.parse(bytes, bytes.len()) {
            Ok(Some(_)) => Framing::of(&parser.head(bytes), leniency).map_err(|error| error.status()),
            other => panic!("{other:?}"),
        }
    }

    /// Each case: the version, the fields, and the results with strict rules and with `Leniency::werkzeug()`.
    #[test]
    fn a_body_is_framed_as_rfc_9112_section_6_says() {
        use BodyLength::{Chunked, Known};
        type Outcome = Result<(BodyLength, bool), u16>;
        let cases: &[(&str, &str, Outcome, Outcome)] = &[
            ("1.1", "Host: a", Ok((Known(0), true)), Ok((Known(0), true))),
            ("1.0", "Host: a", Ok((Known(0), false)), Ok((Known(0), false))),
            ("1.0", "Connection: Keep-Alive", Ok((Known(0), true)), Ok((Known(0), true))),
            ("1.1", "Host: a\r\nConnection: foo, CLOSE", Ok((Known(0), false)), Ok((Known(0), false))),
            ("1.1", "Host: a\r\nConnection: a\r\nConnection: close", Ok((Known(0), false)), Ok((Known(0), false))),
            ("1.1", "Host: a\r\nContent-Length: 12", Ok((Known(12), true)), Ok((Known(12), true))),
            ("1.1", "Host: a\r\nContent-Length: 0012", Ok((Known(12), true)), Ok((Known(12), true))),
            ("1.1", "Host: a\r\nContent-Length: +1", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: -1", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: 1 2", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: 1_0", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: 0x1", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length:", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: 1, 1", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Length: 1\r\nContent-Length: 1", Err(400), Err(400)),
            (
                "1.1",
                "Host: a\r\nContent-Length: 18446744073709551615",
                Ok((Known(u64::MAX), true)),
                Ok((Known(u64::MAX), true)),
            ),
            ("1.1", "Host: a\r\nContent-Length: 18446744073709551616", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: chunked", Ok((Chunked, true)), Ok((Chunked, true))),
            ("1.1", "Host: a\r\nTransfer-Encoding: Chunked", Ok((Chunked, true)), Ok((Chunked, true))),
            ("1.1", "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", Err(400), Ok((Chunked, false))),
            ("1.1", "Host: a\r\nTransfer-Encoding: gzip, chunked", Err(501), Err(501)),
            ("1.1", "Host: a\r\nTransfer-Encoding: gzip", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: identity", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: chunked, identity", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: chunked, chunked", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: xchunked", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: \"chunked\"", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding: , chunked", Err(400), Err(400)),
            ("1.1", "Host: a\r\nTransfer-Encoding:", Err(400), Err(400)),
            ("1.0", "Transfer-Encoding: chunked", Err(400), Err(400)),
            ("1.1", "X: y", Err(400), Ok((Known(0), true))),
            ("1.1", "Host: a\r\nHost: a", Err(400), Ok((Known(0), true))),
            ("1.1", "Host: a b", Err(400), Ok((Known(0), true))),
            ("1.1", "Host: a\r\nExpect: 200-maybe", Err(417), Err(417)),
            ("1.1", "Host: a\r\nExpect: 100-continue, 200-maybe", Err(417), Err(417)),
            ("1.1", "Host: a\r\nExpect: 100-continue, 100-Continue", Ok((Known(0), true)), Ok((Known(0), true))),
            ("1.1", "Host: a\r\nExpect: ", Ok((Known(0), true)), Ok((Known(0), true))),
            ("1.1", "Host: a\r\nContent-Type: a/b\r\ncontent-type: a/b", Err(400), Err(400)),
            ("1.0", "Content-Type: a/b\r\nContent-Type: c/d", Err(400), Err(400)),
            ("1.1", "Host: a\r\nContent-Type: a/b\r\nContent-Range: x", Ok((Known(0), true)), Ok((Known(0), true))),
            ("1.0", "Host: a\r\nExpect: 200-maybe", Ok((Known(0), false)), Ok((Known(0), false))),
        ];
        for (version, fields, strict, lenient) in cases {
            let head = format!("POST / HTTP/{version}\r\n{fields}\r\n\r\n");
            let seen = |leniency| framing(&head, leniency).map(|framing| (framing.body, framing.keep_alive));
            assert_eq!(seen(Leniency::default()), *strict, "strict: {fields}");
            assert_eq!(seen(Leniency::werkzeug()), *lenient, "lenient: {fields}");
        }
    }

    #[test]
    fn an_expected_continue_and_an_offered_upgrade_are_recognised() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
        assert!(framing(head, Leniency::default()).unwrap().expects_continue);
        let head = "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
        assert!(!framing(head, Leniency::default()).unwrap().expects_continue);
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";
        assert!(framing(head, Leniency::default()).unwrap().upgrade);
        let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n";
        assert!(!framing(head, Leniency::default()).unwrap().upgrade);
    }
}
