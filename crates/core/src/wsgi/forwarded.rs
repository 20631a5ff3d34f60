//! What a trusted proxy says about a request: the client's address, and the parts of the URL that the client has asked
//! for. The rules are those of Werkzeug's `ProxyFix`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::peer::Peer;
use crate::http::forwarded::{client_address, forwarded_element, member_from_right, scheme};
use crate::http::head::Known;
use crate::http::{host_is_valid, Head, Target};

/// The number of proxies that set each of the `X-Forwarded-*` fields, as in Werkzeug's `ProxyFix`.
///
/// With N, the N-th value from the right is used, if there are at least N. The values to its left were there before the
/// request reached the trusted proxies, so the client may have invented them. With 0, the field is ignored.
///
/// The defaults are for one proxy that sets `X-Forwarded-For` and `X-Forwarded-Proto`. Most proxies pass the other
/// fields on as the client has sent them, so they are believed only on request.
///
/// ```
/// use amboss_core::ForwardedHops;
/// let hops: ForwardedHops = "for=2,host=1".parse()?;
/// assert_eq!((hops.x_for, hops.x_proto, hops.x_host), (2, 1, 1)); // what is not named keeps its default
/// assert!("hosts=1".parse::<ForwardedHops>().unwrap_err().to_string().contains("for, proto, host, port, prefix"));
/// # Ok::<(), amboss_core::ForwardedHopsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardedHops {
    /// `X-Forwarded-For`, which sets `REMOTE_ADDR` and `REMOTE_PORT`; 1.
    pub x_for: usize,
    /// `X-Forwarded-Proto`, which sets `wsgi.url_scheme`; 1.
    pub x_proto: usize,
    /// `X-Forwarded-Host`, which sets `HTTP_HOST`, `SERVER_NAME`, and `SERVER_PORT` if it has a port; 0.
    pub x_host: usize,
    /// `X-Forwarded-Port`, which sets `SERVER_PORT` and the port in `HTTP_HOST`; 0.
    pub x_port: usize,
    /// `X-Forwarded-Prefix`, which sets `SCRIPT_NAME`; 0.
    pub x_prefix: usize,
}

impl Default for ForwardedHops {
    fn default() -> ForwardedHops {
        ForwardedHops { x_for: 1, x_proto: 1, x_host: 0, x_port: 0, x_prefix: 0 }
    }
}

impl FromStr for ForwardedHops {
    type Err = ForwardedHopsError;

    /// Parses `for=1,proto=1,host=0,port=0,prefix=0`. Names that are left out keep their default.
    fn from_str(text: &str) -> Result<ForwardedHops, ForwardedHopsError> {
        let mut hops = ForwardedHops::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let error = |why: &str| Err(ForwardedHopsError(format!("{part:?} is not a number of proxies: {why}")));
            let Some((name, number)) = part.split_once('=') else {
                return error("write a name and a number, as in for=1");
            };
            let slot = match name.trim() {
                "for" => &mut hops.x_for,
                "proto" => &mut hops.x_proto,
                "host" => &mut hops.x_host,
                "port" => &mut hops.x_port,
                "prefix" => &mut hops.x_prefix,
                _ => return error("the names are for, proto, host, port, prefix"),
            };
            match number.trim().parse() {
                Ok(number) => *slot = number,
                Err(_) => return error("the number has to be 0 or more"),
            }
        }
        Ok(hops)
    }
}

/// The error of parsing [`ForwardedHops`]. Its message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedHopsError(String);

impl fmt::Display for ForwardedHopsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ForwardedHopsError {}

/// Which fields are read, and which of their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardingRules {
    pub(crate) hops: ForwardedHops,
    /// Whether `Forwarded` is read, and `X-Forwarded-*` are not.
    pub(crate) rfc7239: bool,
}

impl ForwardingRules {
    /// Whether a proxy may set the host.
    pub(crate) fn may_set_host(self) -> bool {
        self.rfc7239 || self.hops.x_host > 0
    }
}

/// The values that proxies have set for a request. `None` stands for a value that they have not set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'a> {
    pub(crate) client: Option<Peer>,
    pub(crate) scheme: Option<&'static str>,
    /// `HTTP_HOST`
    pub(crate) host: Option<Cow<'a, [u8]>>,
    pub(crate) server_name: Option<Cow<'a, [u8]>>,
    pub(crate) server_port: Option<Cow<'a, [u8]>>,
    pub(crate) script_name: Option<&'a [u8]>,
}

/// What the fields say, before it is checked.
#[derive(Default)]
struct Values<'a> {
    client: Option<Cow<'a, [u8]>>,
    proto: Option<Cow<'a, [u8]>>,
    host: Option<Cow<'a, [u8]>>,
    port: Option<&'a [u8]>,
    prefix: Option<&'a [u8]>,
}

impl<'a> Forwarded<'a> {
    /// Whether a request has fields to read.
    #[inline]
    pub(crate) fn is_in(head: &Head<'_>) -> bool {
        head.has(Known::Forwarding)
    }

    /// Reads the fields of a request from a trusted proxy. `None` if they set nothing.
    #[cold]
    pub(crate) fn of(head: &Head<'a>, target: &Target<'a>, rules: ForwardingRules) -> Option<Box<Forwarded<'a>>> {
        let values = Values::of(head, rules);
        let mut forwarded = Forwarded {
            client: values.client.as_deref().and_then(client_address).map(Peer::Tcp),
            scheme: values.proto.as_deref().and_then(scheme),
            script_name: values.prefix.and_then(script_name),
            ..Forwarded::default()
        };
        if let Some(host) = values.host.filter(|host| is_host(host)) {
            forwarded.set_host(host);
        }
        if let Some(port) = values.port.filter(|port| is_port(port)) {
            let original = target.authority.or_else(|| head.known(Known::Host)).map(Cow::Borrowed);
            forwarded.set_port(port, original);
        }
        (forwarded != Forwarded::default()).then(|| Box::new(forwarded))
    }

    /// Reads only the client's address, for the access log.
    #[cold]
    pub(crate) fn client(head: &Head<'a>, rules: ForwardingRules) -> Option<Peer> {
        let client = match rules.rfc7239 {
            true => Values::of(head, rules).client,
            false => member_from_right(head, "x-forwarded-for", rules.hops.x_for).map(Cow::Borrowed),
        };
        client.as_deref().and_then(client_address).map(Peer::Tcp)
    }

    /// The value that proxies have set for a key of the environ.
    pub(crate) fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        match key {
            "REMOTE_ADDR" => self.client.map(|peer| Cow::Owned(peer.to_string().into_bytes())),
            "REMOTE_PORT" => self.client.map(|peer| Cow::Owned(peer.port().to_string().into_bytes())),
            "wsgi.url_scheme" => self.scheme.map(|scheme| Cow::Borrowed(scheme.as_bytes())),
            "HTTP_HOST" => self.host.as_deref().map(Cow::Borrowed),
            "SERVER_NAME" => self.server_name.as_deref().map(Cow::Borrowed),
            "SERVER_PORT" => self.server_port.as_deref().map(Cow::Borrowed),
            "SCRIPT_NAME" => self.script_name.map(Cow::Borrowed),
            _ => None,
        }
    }

    fn set_host(&mut self, host: Cow<'a, [u8]>) {
        let (name, port) = split_port(&host);
        self.server_port = port.map(|port| Cow::Owned(port.to_vec()));
        self.server_name = Some(Cow::Owned(name.to_vec()));
        self.host = Some(host);
    }

    /// Sets the port, after the host. `original` is the host of the request itself.
    fn set_port(&mut self, port: &'a [u8], original: Option<Cow<'a, [u8]>>) {
        if let Some(host) = self.host.take().or(original).filter(|host| !host.is_empty()) {
            let (name, _) = split_port(&host);
            self.host = Some(Cow::Owned([name, b":", port].concat()));
        }
        self.server_port = Some(Cow::Borrowed(port));
    }
}

impl<'a> Values<'a> {
    fn of(head: &Head<'a>, rules: ForwardingRules) -> Values<'a> {
        let hops = rules.hops;
        if !rules.rfc7239 {
            let member = |name, hops| member_from_right(head, name, hops);
            return Values {
                client: member("x-forwarded-for", hops.x_for).map(Cow::Borrowed),
                proto: member("x-forwarded-proto", hops.x_proto).map(Cow::Borrowed),
                host: member("x-forwarded-host", hops.x_host).map(Cow::Borrowed),
                port: member("x-forwarded-port", hops.x_port),
                prefix: member("x-forwarded-prefix", hops.x_prefix),
            };
        }
        let from_right = |hops| forwarded_element(head, hops).unwrap_or_default();
        Values {
            client: from_right(hops.x_for).client,
            proto: from_right(hops.x_proto).proto,
            host: from_right(hops.x_host).host,
            port: None,
            prefix: None,
        }
    }
}

/// Whether a value is a host that may replace the one of the request: valid and not empty.
fn is_host(host: &[u8]) -> bool {
    host_is_valid(host) && !matches!(host.first(), None | Some(b':'))
}

/// Splits a valid host at its port, which may be empty.
fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    match host.iter().rposition(|&byte| byte == b':') {
        // The last colon of `[::1]` is inside of the address.
        Some(colon) if !host.ends_with(b"]") => {
            (&host[..colon], Some(&host[colon + 1..]).filter(|port| !port.is_empty()))
        }
        _ => (host, None),
    }
}

fn is_port(port: &[u8]) -> bool {
    port.first().is_some_and(|&first| first != b'0')
        && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

/// Returns the `SCRIPT_NAME` of a prefix: without a slash at its end. `None` if it is not an absolute path. Two slashes at
/// the beginning are refused, because a URL that is made of such a path begins with a host.
fn script_name(prefix: &[u8]) -> Option<&[u8]> {
    let is_path = prefix.first() == Some(&b'/') && prefix.get(1) != Some(&b'/');
    let is_valid = prefix.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
    let end = prefix.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    (is_path && is_valid).then_some(&prefix[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadOptions, HeadParser, Leniency};

    /// What the fields of a request set: `client scheme host name port script`, with `-` for what they do not set.
    fn read(fields: &str, hops: &str, rfc7239: bool) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: app:8000\r\n{fields}\r\n\r\n");
        let mut parser = HeadParser::new(HeadOptions::default());
        parser.parse(text.as_bytes(), text.len()).unwrap().unwrap();
        let head = parser.head(text.as_bytes());
        let target = Target::of(&head, Leniency::default()).unwrap();
        let rules = ForwardingRules { hops: hops.parse().unwrap(), rfc7239 };
        assert!(Forwarded::is_in(&head) || fields.starts_with("X-Real-IP"), "{fields}");
        let Some(forwarded) = Forwarded::of(&head, &target, rules) else { return "nothing".into() };
        let client = forwarded.client.map_or("-".into(), |peer| format!("{peer}:{}", peer.port()));
        assert_eq!(Forwarded::client(&head, rules), forwarded.client);
        let text = |value: Option<&[u8]>| value.map_or("-".into(), |value| String::from_utf8_lossy(value).into_owned());
        [
            client,
            forwarded.scheme.unwrap_or("-").into(),
            text(forwarded.host.as_deref()),
            text(forwarded.server_name.as_deref()),
            text(forwarded.server_port.as_deref()),
            text(forwarded.script_name),
        ]
        .join(" ")
    }

    #[test]
    fn fields_are_read_as_by_proxy_fix() {
        const ALL: &str = "for=1,proto=1,host=1,port=1,prefix=1";
        for (fields, hops, expected) in [
            ("X-Forwarded-For: 1.1.1.1", "", "1.1.1.1:0 - - - - -"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1", "", "1.1.1.1:0 - - - - -"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1", "for=2", "6.6.6.6:0 - - - - -"),
            ("X-Forwarded-For: 1.1.1.1", "for=2", "nothing"),
            ("X-Forwarded-For: 1.1.1.1", "for=0", "nothing"),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1:80", "", "1.1.1.1:80 - - - - -"),
            ("X-Forwarded-For: [2001:db8::1]:80", "", "2001:db8::1:80 - - - - -"),
            ("X-Forwarded-For: 6.6.6.6, unknown", "", "nothing"),
            ("X-Forwarded-For: 6.6.6.6,", "", "nothing"),
            ("X-Forwarded-Proto: http, https", "", "- https - - - -"),
            ("X-Forwarded-Proto: gopher", "", "nothing"),
            // By default, what most proxies pass on from the client is not believed.
            ("X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil", "", "nothing"),
            ("Forwarded: for=6.6.6.6;proto=https;host=evil", ALL, "nothing"),
            ("X-Real-IP: 6.6.6.6", ALL, "nothing"),
            ("X-Forwarded-Host: example.org", ALL, "- - example.org example.org - -"),
            ("X-Forwarded-Host: example.org:8443", ALL, "- - example.org:8443 example.org 8443 -"),
            ("X-Forwarded-Host: [::1]", ALL, "- - [::1] [::1] - -"),
            ("X-Forwarded-Host: [::1]:8443", ALL, "- - [::1]:8443 [::1] 8443 -"),
            ("X-Forwarded-Host: a:1\r\nX-Forwarded-Port: 2", ALL, "- - a:2 a 2 -"),
            ("X-Forwarded-Port: 443", ALL, "- - app:443 - 443 -"),
            ("X-Forwarded-Prefix: /app/", ALL, "- - - - - /app"),
            ("X-Forwarded-Prefix: /", ALL, "- - - - - "),
            ("X-Forwarded-Prefix: /a%20b/c", ALL, "- - - - - /a%20b/c"),
        ] {
            assert_eq!(read(fields, hops, false), expected, "{fields} {hops}");
        }
        for field in
            ["Host: a b", "Host: ", "Host: :80", "Host: a@b", "Port: 0", "Port: 080", "Port: 65536", "Port: +1"]
        {
            assert_eq!(read(&format!("X-Forwarded-{field}"), ALL, false), "nothing", "{field}");
        }
        for prefix in ["app", "//evil.org", "/a?b", "/a#b", "/\\evil.org", "/a b", "http://a"] {
            assert_eq!(read(&format!("X-Forwarded-Prefix: {prefix}"), ALL, false), "nothing", "{prefix}");
        }
    }

    #[test]
    fn forwarded_replaces_the_other_fields_when_it_is_asked_for() {
        for (fields, hops, expected) in [
            ("Forwarded: for=1.1.1.1;proto=https;host=evil", "", "1.1.1.1:0 https - - - -"),
            ("Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:80\";host=\"a:1\"", "host=1", "2001:db8::1:80 - a:1 a 1 -"),
            ("Forwarded: for=6.6.6.6;proto=https, for=1.1.1.1", "", "1.1.1.1:0 - - - - -"),
            ("Forwarded: for=6.6.6.6, for=1.1.1.1;proto=https", "for=2,proto=2", "6.6.6.6:0 - - - - -"),
            ("Forwarded: for=6.6.6.6, for=_hidden", "", "nothing"),
            ("Forwarded: for=6.6.6.6, for=unknown;proto=https", "", "- https - - - -"),
            ("Forwarded: for=6.6.6.6;x=\", for=1.1.1.1", "", "1.1.1.1:0 - - - - -"),
            ("Forwarded: for=1.1.1.1, for=6.6.6.6;x=\"", "", "nothing"),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https", "", "nothing"),
            ("Forwarded: proto=https\r\nX-Forwarded-For: 6.6.6.6", "", "- https - - - -"),
        ] {
            assert_eq!(read(fields, hops, true), expected, "{fields} {hops}");
        }
    }

    #[test]
    fn hops_that_can_not_be_parsed_say_what_to_write() {
        assert_eq!("".parse(), Ok(ForwardedHops::default()));
        for (text, expected) in [
            ("for", "as in for=1"),
            ("1", "as in for=1"),
            ("for=x", "0 or more"),
            ("for=-1", "0 or more"),
            ("scheme=1", "the names are for, proto, host, port, prefix"),
        ] {
            let error = text.parse::<ForwardedHops>().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }
}
