//! Hosts: the name that a request is for, and the patterns that applications are known by.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::net::Ipv6Addr;

use super::converter::Converter;
use super::error::{RouteError, RouteErrorKind};
use super::segment::{Segment, Spans};

/// The pattern of a host: `api.localhost`, `<user>.localhost`, `*.localhost` or `[::1]`.
#[derive(Debug)]
pub(super) struct HostPattern {
    /// The pattern, in lower case where it is static.
    pub(super) text: String,
    /// The names of the arguments, from left to right.
    pub(super) names: Vec<String>,
    /// Whether one or more labels may precede the others.
    wildcard: bool,
    /// The labels of a pattern with arguments; otherwise `text` is compared.
    labels: Vec<Segment>,
}

impl HostPattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<HostPattern, RouteError> {
        let malformed = |advice: &str| {
            RouteError::new(RouteErrorKind::MalformedHost, format!("the host {text:?} is malformed: {advice}"))
        };
        let is_ip = text.parse::<Ipv6Addr>().is_ok();
        let name = if is_ip { normalize(&format!("[{text}]")).into_owned() } else { text.to_owned() };
        let (rest, wildcard) = match name.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (name.as_str(), false),
        };
        let mut pattern = HostPattern { text: String::new(), names: Vec::new(), wildcard, labels: Vec::new() };
        if !rest.contains(['<', '>']) {
            if rest.is_empty() || rest.contains(['*', '/']) || rest.split('.').any(str::is_empty) {
                return Err(malformed("write a name such as api.localhost, *.localhost or <user>.localhost"));
            }
            let host = normalize(rest);
            if host.len() != rest.len() && !rest.starts_with('[') {
                return Err(malformed("leave out the port; every port matches"));
            }
            pattern.text = host.into_owned();
            return Ok(pattern);
        }
        pattern.text = rest.to_owned();
        for label in rest.split('.') {
            let segment = Segment::parse(label, text, &mut pattern.names)?;
            pattern.labels.push(match segment {
                Segment::Static(label) if label.is_empty() || label.contains([':', '*', '/']) => {
                    return Err(malformed("write labels between the dots, and leave out the port"));
                }
                Segment::Static(label) => Segment::Static(label.to_ascii_lowercase()),
                Segment::Argument { converter: Converter::Path, .. } => {
                    return Err(malformed("an argument takes one label; use *. for several"));
                }
                argument => argument,
            });
        }
        Ok(pattern)
    }

    /// Matches a host that is normalized, and notes the arguments in `spans`.
    pub(super) fn matches(&self, host: &str, spans: &mut Spans) -> bool {
        if self.labels.is_empty() {
            let before = host.strip_suffix(self.text.as_str());
            return if self.wildcard { before.is_some_and(is_subdomain) } else { before == Some("") };
        }
        let mut start = 0;
        if self.wildcard {
            let extra = host.split('.').count().saturating_sub(self.labels.len());
            let skipped = host.split('.').take(extra).map(|label| label.len() + 1).sum();
            if extra == 0 {
                return false;
            }
            start = skipped;
        }
        let (mut labels, mut argument) = (host[start..].split('.'), 0);
        let fits = self.labels.iter().all(|segment| {
            labels.next().is_some_and(|label| {
                let fits = segment.matches(label, start, spans, &mut argument);
                start += label.len() + 1;
                fits
            })
        });
        fits && labels.next().is_none()
    }

    /// The place of the pattern among others: names, then arguments, then wildcards; each with the longest first.
    pub(super) fn weight(&self) -> (bool, usize, Reverse<usize>) {
        (self.wildcard, self.names.len(), Reverse(self.text.len()))
    }

    /// The pattern without the names of its arguments: patterns with the same one match the same hosts.
    pub(super) fn pattern(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(Segment::pattern).collect();
        let name = if labels.is_empty() { self.text.clone() } else { labels.join(".") };
        format!("{}{name}", if self.wildcard { "*." } else { "" })
    }
}

/// Whether the text is what precedes a domain: labels and a dot.
fn is_subdomain(text: &str) -> bool {
    text.len() > 1 && text.ends_with('.') && !text.starts_with('.')
}

/// The host of a Host field (RFC 9110 §7.2): without the port and the dot of the root, in lower case. IPv6 addresses are
/// written as RFC 5952 says.
pub(super) fn normalize(field: &str) -> Cow<'_, str> {
    if let Some((address, _)) = field.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Cow::Owned(format!("[{address}]")),
            Err(_) => Cow::Borrowed(field),
        };
    }
    let host = field.split_once(':').map_or(field, |(host, _)| host);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::segment::MAX_ARGUMENTS;

    #[test]
    fn a_pattern_matches_its_hosts_only() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "api.localhost",
                &["api.localhost", "API.Localhost:80", "api.localhost."],
                &["localhost", "xapi.localhost"],
            ),
            ("API.localhost", &["api.localhost"], &[""]),
            ("*.localhost", &["a.localhost", "a.b.localhost:5000"], &["localhost", ".localhost", "alocalhost"]),
            ("<x>.localhost", &["a.localhost"], &["localhost", ".localhost", "a.b.localhost", "a.localhost.com"]),
            ("<int:n>.v<x>.LOCALHOST", &["5.va.localhost"], &["5.v.localhost", "x.va.localhost"]),
            ("*.<x>.localhost", &["a.b.localhost", "a.b.c.localhost"], &["b.localhost", "localhost"]),
            ("[::1]", &["[::1]", "[::1]:5000", "[0:0:0:0:0:0:0:1]:5000"], &["::1", "[::2]", "[::1", "[x]"]),
            ("::1", &["[::1]:80"], &["[::2]"]),
            ("127.0.0.1", &["127.0.0.1:5000"], &["127.0.0.2"]),
        ];
        for (text, accepted, refused) in table {
            let pattern = HostPattern::parse(text).unwrap();
            let mut spans = [(0, 0); MAX_ARGUMENTS];
            for host in *accepted {
                assert!(pattern.matches(&normalize(host), &mut spans), "{text} matches {host}");
            }
            for host in *refused {
                assert!(!pattern.matches(&normalize(host), &mut spans), "{text} does not match {host}");
            }
        }
    }

    #[test]
    fn an_argument_of_a_host_is_a_label() {
        let mut spans = [(0, 0); MAX_ARGUMENTS];
        let pattern = HostPattern::parse("*.v<int:n>.<x>.localhost").unwrap();
        let host = "a.b.v12.ada.localhost";
        assert!(pattern.matches(host, &mut spans));
        let values = spans[..2].iter().map(|&(first, end)| &host[first as usize..end as usize]);
        assert_eq!(values.collect::<Vec<_>>(), ["12", "ada"]);
    }

    #[test]
    fn a_malformed_host_is_an_error() {
        for host in
            ["", "*", "*.", "a..b", "a.*.b", "api.localhost:80", "a/b", "<x>.localhost:80", "<path:x>.localhost"]
        {
            assert_eq!(HostPattern::parse(host).unwrap_err().kind(), RouteErrorKind::MalformedHost, "{host}");
        }
        assert_eq!(HostPattern::parse("<x.localhost").unwrap_err().kind(), RouteErrorKind::MalformedRule);
    }
}
