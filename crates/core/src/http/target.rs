//! The request-target (RFC 9112 §3.2) and the Host field (RFC 9110 §7.2).
//!
//! ```text
//! origin-form    = absolute-path [ "?" query ]      GET /where?q=now
//! absolute-form  = absolute-URI                     GET http://www.example.org/where
//! authority-form = uri-host ":" port                CONNECT www.example.com:80
//! asterisk-form  = "*"                              OPTIONS *
//! ```

use std::borrow::Cow;

use super::error::{Error, ErrorKind};
use super::head::Head;
use super::leniency::Leniency;
use super::syntax::{is_reg_name, parse_decimal};

/// The form of a request-target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// An absolute path with an optional query.
    Origin,
    /// An absolute URI; its authority replaces Host.
    Absolute,
    /// A host and a port; for CONNECT only.
    Authority,
    /// `*`; for OPTIONS only.
    Asterisk,
}

/// The parts of a request-target, not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The form.
    pub form: TargetForm,
    /// The host and the optional port, in absolute-form and authority-form.
    pub authority: Option<&'a [u8]>,
    /// The path, still percent-encoded, beginning with exactly one `/` except in asterisk-form (`*`) and
    /// authority-form (empty).
    pub path: &'a [u8],
    /// The text after the first `?`; empty without one.
    pub query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Splits the target of a complete head into its parts.
    ///
    /// # Errors
    /// [`ErrorKind::Target`] if the target has none of the four forms, [`ErrorKind::TargetForm`] if the method does not
    /// allow its form, [`ErrorKind::HostMalformed`] for a malformed authority.
    #[inline(always)]
    pub fn of(head: &Head<'a>, leniency: Leniency) -> Result<Target<'a>, Error> {
        let position = head.method().len() + 1;
        Target::parse_parts(head.method(), head.target(), leniency).map_err(|kind| Error::new(kind, position))
    }

    /// Splits a target into its parts.
    ///
    /// # Errors
    /// The same as [`Target::of`]; the position is that of the target's first byte, 0.
    pub fn parse(method: &[u8], target: &'a [u8], leniency: Leniency) -> Result<Target<'a>, Error> {
        Target::parse_parts(method, target, leniency).map_err(|kind| Error::new(kind, 0))
    }

    #[inline(always)]
    fn parse_parts(method: &[u8], target: &'a [u8], leniency: Leniency) -> Result<Target<'a>, ErrorKind> {
        match target.first() {
            Some(b'/') if method != b"CONNECT" => {
                Target::split(TargetForm::Origin, None, target, leniency).ok_or(ErrorKind::Target)
            }
            _ => Target::parse_other(method, target, leniency),
        }
    }

    /// Splits a target that is not in origin-form.
    #[inline(never)]
    fn parse_other(method: &[u8], target: &'a [u8], leniency: Leniency) -> Result<Target<'a>, ErrorKind> {
        if method == b"CONNECT" {
            // RFC 9112 §3.2.3: CONNECT allows authority-form only.
            let colon = target.iter().rposition(|&byte| byte == b':').ok_or(ErrorKind::TargetForm)?;
            if colon == 0 || colon + 1 == target.len() || !host_is_valid(target) {
                return Err(ErrorKind::TargetForm);
            }
            return Ok(Target { form: TargetForm::Authority, authority: Some(target), path: b"", query: b"" });
        }
        match target.first() {
            Some(b'*') if target.len() == 1 && method == b"OPTIONS" => {
                Ok(Target { form: TargetForm::Asterisk, authority: None, path: target, query: b"" })
            }
            Some(b'*') if target.len() == 1 => Err(ErrorKind::TargetForm),
            _ => {
                let rest = strip_scheme(target).ok_or(ErrorKind::Target)?;
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                // RFC 9110 §4.2.4: user information is not allowed here; an http URI has a host (§4.2.1).
                if !host_is_valid(authority) || matches!(authority.first(), None | Some(b':')) {
                    return Err(ErrorKind::HostMalformed);
                }
                Target::split(TargetForm::Absolute, Some(authority), path, leniency).ok_or(ErrorKind::Target)
            }
        }
    }

    /// Splits the path from the query; `None` if there is a fragment that leniency does not allow.
    #[inline(always)]
    fn split(
        form: TargetForm,
        authority: Option<&'a [u8]>,
        target: &'a [u8],
        leniency: Leniency,
    ) -> Option<Target<'a>> {
        let mut target = target;
        let mut path_end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
        let mut query = &b""[..];
        if path_end < target.len() {
            // A fragment is for the client only and is not part of a target (RFC 9112 §3.2).
            if let Some(hash) = target.iter().position(|&byte| byte == b'#') {
                if !leniency.raw_target {
                    return None;
                }
                target = &target[..hash];
                path_end = path_end.min(hash);
            }
            query = target.get(path_end + 1..).unwrap_or_default();
        }
        let mut path = &target[..path_end];
        // `//a/b` is the path /a/b. The extra slash is removed, so that no application takes `a` for a host.
        while path.len() > 1 && path[0] == b'/' && path[1] == b'/' {
            path = &path[1..];
        }
        if path.is_empty() {
            path = b"/";
        }
        Some(Target { form, authority, path, query })
    }
}

/// Whether the target is an https URI.
pub(crate) fn is_https(target: &[u8]) -> bool {
    target.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https:"))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Decodes `%XX` (RFC 3986 §2.1). A `%` without two hexadecimal digits is kept, as in Werkzeug.
///
/// ```
/// use amboss_core::http::percent_decode;
/// assert_eq!(percent_decode(b"/a%20b%2"), &b"/a b%2"[..]);
/// ```
#[inline]
pub fn percent_decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    match encoded.iter().position(|&byte| byte == b'%') {
        None => Cow::Borrowed(encoded),
        Some(first) => Cow::Owned(decode_from(encoded, first)),
    }
}

/// Decodes text whose first `%` is at `first`.
fn decode_from(encoded: &[u8], first: usize) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    decoded.extend_from_slice(&encoded[..first]);
    let mut rest = &encoded[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Whether a value is `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2). An empty value is valid: a client sends
/// it if its target has no authority (RFC 9112 §3.2).
#[inline]
pub fn host_is_valid(host: &[u8]) -> bool {
    // Nearly every host is a name or an IPv4 address without escapes, and a port without leading zeros.
    let end = host.iter().position(|&byte| !is_reg_name(byte)).unwrap_or(host.len());
    match &host[end..] {
        [] => true,
        [b':', port @ ..] if port.len() <= 5 && port.iter().all(u8::is_ascii_digit) => {
            port.len() < 5 || port <= &b"65535"[..]
        }
        _ => unusual_host_is_valid(host),
    }
}

/// As [`host_is_valid`], for every value.
#[inline(never)]
fn unusual_host_is_valid(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', literal @ ..] => {
            let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
            let (address, rest) = (&literal[..end], &literal[end + 1..]);
            if !ip_literal_is_valid(address) {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        _ => match host.iter().position(|&byte| byte == b':') {
            Some(colon) => (&host[..colon], &host[colon + 1..]),
            None => (host, &b""[..]),
        },
    };
    let port_is_valid = port.is_empty() || parse_decimal(port).is_some_and(|port| port <= u64::from(u16::MAX));
    port_is_valid && reg_name_is_valid(name)
}

fn ip_literal_is_valid(address: &[u8]) -> bool {
    match std::str::from_utf8(address) {
        // IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
        Ok(text) if text.starts_with(['v', 'V']) => text[1..].split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|byte| byte == b':' || is_reg_name(byte))
        }),
        Ok(text) => text.parse::<std::net::Ipv6Addr>().is_ok(),
        Err(_) => false,
    }
}

fn reg_name_is_valid(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            _ if is_reg_name(byte) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(method: &str, target: &'a str) -> Result<(TargetForm, &'a str, &'a str, &'a str), u16> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap();
        Target::parse(method.as_bytes(), target.as_bytes(), Leniency::default())
            .map(|t| (t.form, text(t.authority.unwrap_or(b"")), text(t.path), text(t.query)))
            .map_err(|error| error.status())
    }

    #[test]
    fn a_target_has_one_of_four_forms_and_its_method_allows_it() {
        use TargetForm::*;
        let cases = [
            ("GET", "/", Ok((Origin, "", "/", ""))),
            ("GET", "/a/b?c?d", Ok((Origin, "", "/a/b", "c?d"))),
            ("GET", "/?", Ok((Origin, "", "/", ""))),
            ("GET", "//a/b", Ok((Origin, "", "/a/b", ""))),
            ("GET", "///a//b", Ok((Origin, "", "/a//b", ""))),
            ("GET", "/http://x/", Ok((Origin, "", "/http://x/", ""))),
            ("GET", "/a#b", Err(400)),
            ("GET", "http://a.example:80/x?y", Ok((Absolute, "a.example:80", "/x", "y"))),
            ("GET", "HTTPS://a.example", Ok((Absolute, "a.example", "/", ""))),
            ("GET", "http://a.example?q", Ok((Absolute, "a.example", "/", "q"))),
            ("GET", "http://[::1]:5000/", Ok((Absolute, "[::1]:5000", "/", ""))),
            ("GET", "http://user@a/", Err(400)),
            ("GET", "http:///x", Err(400)),
            ("GET", "http://:80/x", Err(400)),
            ("GET", "ftp://a/", Err(400)),
            ("GET", "a", Err(400)),
            ("GET", "*", Err(400)),
            ("OPTIONS", "*", Ok((Asterisk, "", "*", ""))),
            ("OPTIONS", "**", Err(400)),
            ("CONNECT", "a:443", Ok((Authority, "a:443", "", ""))),
            ("CONNECT", "a", Err(400)),
            ("CONNECT", ":443", Err(400)),
            ("CONNECT", "a:", Err(400)),
            ("CONNECT", "/", Err(400)),
        ];
        for (method, target, expected) in cases {
            assert_eq!(parse(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn werkzeugs_leniency_drops_a_fragment() {
        let target = Target::parse(b"GET", b"/a?b#c?d", Leniency::werkzeug()).unwrap();
        assert_eq!((target.path, target.query), (&b"/a"[..], &b"b"[..]));
    }

    #[test]
    fn percent_decoding_keeps_bytes_that_are_not_an_escape() {
        for (encoded, decoded) in [
            ("/plain", &b"/plain"[..]),
            ("%2F%2f", b"//"),
            ("%00%ff", b"\x00\xff"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%zz%41", b"%zzA"),
            ("%%41", b"%A"),
            ("%2541", b"%41"),
            ("a+b", b"a+b"),
        ] {
            assert_eq!(percent_decode(encoded.as_bytes()), decoded, "{encoded}");
        }
    }

    #[test]
    fn the_usual_and_the_complete_check_of_a_host_agree() {
        const ALPHABET: &[u8] = b"a:%0[]9@";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..6 {
            let longer =
                |text: &Vec<u8>| ALPHABET.iter().map(|&byte| [&text[..], &[byte]].concat()).collect::<Vec<_>>();
            texts = texts.iter().flat_map(longer).collect();
            for text in &texts {
                assert_eq!(host_is_valid(text), unusual_host_is_valid(text), "{}", String::from_utf8_lossy(text));
            }
        }
        for port in 0..=70_000 {
            let host = format!("a:{port}");
            assert_eq!(host_is_valid(host.as_bytes()), port <= 65_535, "{host}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for valid in [
            "",
            "a",
            "a.example:80",
            "a:",
            "a:0",
            "a:65535",
            "a:0000080",
            "127.0.0.1:5000",
            "[::1]",
            "[::1]:80",
            "[v1.a:b]",
            "under_score",
            "a%20b",
            "xn--a",
            "*",
        ] {
            assert!(host_is_valid(valid.as_bytes()) && unusual_host_is_valid(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "a b", "a/b", "a@b", "a?b", "a#b", "a,b:x", "a:80:80", "a:-1", "a:65536", "a:8_0", "[::1", "::1", "[::1]x",
            "[g::]", "[v.a]", "[]", "a\\b", "a%2", "a%zz", "a\u{e4}", "<a>", "\"a\"", "a\u{0}",
        ] {
            assert!(!host_is_valid(invalid.as_bytes()) && !unusual_host_is_valid(invalid.as_bytes()), "{invalid}");
        }
    }
}
