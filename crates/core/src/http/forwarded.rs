//! Fields in which proxies describe the request that they received: `X-Forwarded-For` and its relatives, and `Forwarded`
//! (RFC 7239).
//!
//! Each proxy appends to what it received, so the values at the right end come from the nearest proxies, and everything
//! to the left of them may be an invention of the client. So values are counted from the right. An empty member counts,
//! because skipping it would shift the count towards the client's values.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::head::Head;
use super::proxy_header::port;
use super::syntax::is_tchar;

/// Returns the member at `position` from the right (1 is the last one) of the lists in all fields with this name.
/// `None` if `position` is 0 or there are fewer members.
#[cold]
pub(crate) fn member_from_right<'a>(head: &Head<'a>, name: &str, mut position: usize) -> Option<&'a [u8]> {
    for field in head.fields().rev() {
        if !field.name.eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        for member in field.value.rsplit(|&byte| byte == b',') {
            position = position.checked_sub(1)?;
            if position == 0 {
                return Some(member.trim_ascii());
            }
        }
    }
    None
}

/// Reads the address of a client: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. The
/// port is 0 if there is none. `None` for everything else, such as `unknown` and `_hidden` (RFC 7239 §6).
#[cold]
pub(crate) fn client_address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(literal) = text.strip_prefix('[') {
        let (address, rest) = literal.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { 0 } else { port(rest.strip_prefix(':')?.as_bytes())? };
        return Some(SocketAddr::new(address.into(), port));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, number) = text.split_once(':')?;
    Some(SocketAddr::new(address.parse::<Ipv4Addr>().ok()?.into(), port(number.as_bytes())?))
}

/// Returns the scheme that a value names; `None` if it names neither `http` nor `https`.
pub(crate) fn scheme(value: &[u8]) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|scheme| value.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// What one proxy has said in a `Forwarded` field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardedElement<'a> {
    pub(crate) client: Option<Cow<'a, [u8]>>,
    pub(crate) host: Option<Cow<'a, [u8]>>,
    pub(crate) proto: Option<Cow<'a, [u8]>>,
}

/// The maximum number of commas inside of one element. Proxies send none; more would make the search for the beginning of
/// a malformed element long.
const MAX_COMMAS: usize = 8;

/// Returns the element at `position` from the right (1 is the last one) of all `Forwarded` fields (RFC 7239 §4). `None` if
/// there are fewer, or it is unknown where it begins.
///
/// The fields are read from the right, and an element is the shortest well-formed end of what is left. So nothing that a
/// client has sent, such as a quotation mark that it leaves open, reaches the elements that the proxies have appended.
#[cold]
pub(crate) fn forwarded_element<'a>(head: &Head<'a>, mut position: usize) -> Option<ForwardedElement<'a>> {
    for field in head.fields().rev().filter(|field| field.name.eq_ignore_ascii_case(b"forwarded")) {
        let mut rest = Some(field.value);
        while let Some(value) = rest {
            let (element, before) = last_element(value)?;
            position = position.checked_sub(1)?;
            if position == 0 {
                return Some(element);
            }
            rest = before;
        }
    }
    None
}

/// Splits the last element from what is before it, without the comma between them.
fn last_element(value: &[u8]) -> Option<(ForwardedElement<'_>, Option<&[u8]>)> {
    let mut end = value.len();
    for _ in 0..=MAX_COMMAS {
        let comma = value[..end].iter().rposition(|&byte| byte == b',');
        let mut reader = Reader { rest: &value[comma.map_or(0, |comma| comma + 1)..] };
        let element = reader.element();
        reader.skip_space();
        if let Some(element) = element.filter(|_| reader.rest.is_empty()) {
            return Some((element, comma.map(|comma| &value[..comma])));
        }
        end = comma?;
    }
    None
}

/// What is left to read of a field.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Reads the pairs up to the comma or the end. An element may have none.
    fn element(&mut self) -> Option<ForwardedElement<'a>> {
        let mut element = ForwardedElement::default();
        loop {
            self.skip_space();
            if !matches!(self.rest.first(), None | Some(b',' | b';')) {
                let (name, value) = self.pair()?;
                let slots = [("for", &mut element.client), ("host", &mut element.host), ("proto", &mut element.proto)];
                for (known, slot) in slots {
                    // RFC 7239 §4: a parameter must not occur twice.
                    if name.eq_ignore_ascii_case(known.as_bytes()) && slot.replace(value.clone()).is_some() {
                        return None;
                    }
                }
                self.skip_space();
            }
            match self.rest.split_first() {
                Some((b';', rest)) => self.rest = rest,
                _ => return Some(element),
            }
        }
    }

    /// Reads `token "=" ( token / quoted-string )`.
    fn pair(&mut self) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        let name = self.token()?;
        self.rest = self.rest.strip_prefix(b"=")?;
        let value = match self.rest.strip_prefix(b"\"") {
            None => Cow::Borrowed(self.token()?),
            Some(rest) => {
                self.rest = rest;
                self.quoted()?
            }
        };
        Some((name, value))
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| !is_tchar(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Reads a quoted string behind its first quotation mark (RFC 9110 §5.6.4).
    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let end = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if self.rest[end] == b'"' {
            let text = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            return Some(Cow::Borrowed(text));
        }
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Cow::Owned(text)),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(escaped);
                }
                byte => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadOptions, HeadParser};

    /// Calls `check` with the head of a request that has these fields.
    fn with_head<R>(fields: &str, check: impl FnOnce(Head<'_>) -> R) -> R {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut parser = HeadParser::new(HeadOptions::default());
        parser.parse(text.as_bytes(), text.len()).unwrap().unwrap();
        check(parser.head(text.as_bytes()))
    }

    #[test]
    fn members_are_counted_from_the_right_through_all_fields() {
        let fields = "X-Forwarded-For: 6.6.6.6,1.1.1.1 \r\nX-Other: 7\r\nx-forwarded-for:  2.2.2.2 , 3.3.3.3\r\n";
        for (position, member) in [
            (0, None),
            (1, Some("3.3.3.3")),
            (2, Some("2.2.2.2")),
            (3, Some("1.1.1.1")),
            (4, Some("6.6.6.6")),
            (5, None),
        ] {
            let found = with_head(fields, |head| {
                member_from_right(&head, "x-forwarded-for", position)
                    .map(|value| String::from_utf8_lossy(value).into_owned())
            });
            assert_eq!(found.as_deref(), member, "{position}");
        }
        with_head("X-Forwarded-For: 6.6.6.6,,\r\nX-Forwarded-For:\r\n", |head| {
            for position in 1..=3 {
                assert_eq!(member_from_right(&head, "x-forwarded-for", position), Some(&b""[..]), "{position}");
            }
        });
    }

    #[test]
    fn only_addresses_are_addresses() {
        for (text, address) in [
            ("1.2.3.4", "1.2.3.4:0"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("::1", "[::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"),
            ("::ffff:1.2.3.4", "[::ffff:1.2.3.4]:0"),
        ] {
            assert_eq!(client_address(text.as_bytes()), Some(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "1.2.3.4:080",
            "1.2.3.4:_x",
            " 1.2.3.4",
            "[1.2.3.4]",
            "[::1",
            "[::1]80",
            "[::1]:",
            "::1]",
            "fe80::1%eth0",
            "unix:",
            "<x>",
            "1.2.3.4:1:2",
            "1.2.3.4/8",
        ] {
            assert_eq!(client_address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(client_address(b"\xff"), None);
    }

    #[test]
    fn only_http_and_https_are_schemes() {
        assert_eq!((scheme(b"https"), scheme(b"HTTP")), (Some("https"), Some("http")));
        for value in ["", "ws", "https,http", "https:", "javascript"] {
            assert_eq!(scheme(value.as_bytes()), None, "{value}");
        }
    }

    /// The elements that can be read, each as `client|host|proto`.
    fn elements(fields: &str) -> Vec<String> {
        let text = |value: &Option<Cow<'_, [u8]>>| {
            value.as_deref().map_or("-".into(), |v| String::from_utf8_lossy(v).into_owned())
        };
        with_head(fields, |head| {
            let elements = (1..).map_while(|position| forwarded_element(&head, position));
            let mut texts: Vec<_> =
                elements.map(|it| [text(&it.client), text(&it.host), text(&it.proto)].join("|")).collect();
            texts.reverse();
            texts
        })
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_defines_it() {
        for (value, expected) in [
            ("for=192.0.2.43", &["192.0.2.43|-|-"][..]),
            ("For=\"[2001:db8:cafe::17]:4711\"", &["[2001:db8:cafe::17]:4711|-|-"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60|-|http"]),
            ("for=192.0.2.43, for=198.51.100.17", &["192.0.2.43|-|-", "198.51.100.17|-|-"]),
            ("for=_hidden;host=\"a:80\" , for=unknown", &["_hidden|a:80|-", "unknown|-|-"]),
            ("for=\"a\\\"\\,b\";; PROTO=https;ext=\",\"", &["a\",b|-|https"]),
            ("for=a,,", &["a|-|-", "-|-|-", "-|-|-"]),
            ("", &["-|-|-"]),
        ] {
            assert_eq!(elements(&format!("Forwarded: {value}\r\n")), *expected, "{value}");
        }
        assert_eq!(elements("Forwarded: for=a\r\nX: y\r\nForwarded: for=b\r\n"), ["a|-|-", "b|-|-"]);
    }

    /// A client that leaves a quotation mark open gets no part of what a proxy appends under its control, and can't make
    /// the server read nothing at all.
    #[test]
    fn what_is_malformed_says_nothing_and_hides_nothing_to_its_right() {
        for value in [
            "for",
            "for=",
            "=a",
            "for =a",
            "for= a",
            "for=a b",
            "for=1.2.3.4:80",
            "for=a,,x",
            "for=a;for=b",
            "for=\"a",
            "for=\"a\"b",
            "for=\"a\\",
        ] {
            assert_eq!(elements(&format!("Forwarded: {value}\r\n")), [""; 0], "{value}");
            for separator in [", ", "\r\nForwarded: "] {
                let fields = format!("Forwarded: {value}{separator}for=\"[::1]\";proto=https\r\n");
                assert_eq!(elements(&fields), ["[::1]|-|https"], "{value}");
            }
        }
        let commas = format!("Forwarded: x=\"{}\", for=1.1.1.1\r\n", ",".repeat(MAX_COMMAS + 1));
        assert_eq!(elements(&commas), ["1.1.1.1|-|-"]);
    }
}
