//! The `Cookie` field (RFC 6265 §5.4).

use cookie::Cookie;
use percent_encoding::percent_decode_str;

/// The names and values of a field, in order. Values are percent-decoded, and names are as they were sent:
/// `__%48ost-session` would otherwise pass for `__Host-session`, which a browser takes from a secure page of the same
/// host only (CVE-2020-8184 of Rack, CVE-2020-7070 of PHP).
pub(crate) fn parse(field: &str) -> impl Iterator<Item = (String, String)> + use<'_> {
    Cookie::split_parse(field).flatten().map(|cookie| {
        let value = percent_decode_str(cookie.value_trimmed()).decode_utf8_lossy().into_owned();
        (cookie.name().to_owned(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_are_decoded_and_names_are_not() {
        for (field, pairs) in [
            ("a=x%20y; b=\"q\"; bad; c=", &[("a", "x y"), ("b", "q"), ("c", "")][..]),
            ("__%48ost-s=forged; __Host-s=real", &[("__%48ost-s", "forged"), ("__Host-s", "real")]),
            ("a=%22q%22; b=%ff; c=%", &[("a", "\"q\""), ("b", "\u{fffd}"), ("c", "%")]),
        ] {
            let found: Vec<_> = parse(field).collect();
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, pairs, "{field}");
        }
    }
}
