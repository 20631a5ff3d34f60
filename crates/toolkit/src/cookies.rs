//! The `Cookie` field (RFC 6265 §5.4).

use cookie::Cookie;
use percent_encoding::percent_decode_str;

/// The names and values of a field, in order. Values are percent-decoded, and names are as they were sent:
/// `__%48ost-session` would otherwise pass for `__Host-session`, which a browser takes from a secure page of the same
/// host only (CVE-2020-8184 of Rack, CVE-2020-7070 of PHP).
pub(crate) fn parse(field: &str) -> impl Iterator<Item = (String, String)> + use<'_> {
    Cookie::split_parse(field).flatten().map(|cookie| {
        let value = match cookie.value().strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
            Some(quoted) => unescape(quoted),
            None => cookie.value().to_owned(),
        };
        let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        (cookie.name().to_owned(), value)
    })
}

/// Replaces the escapes that Python's `http.cookies` and Werkzeug write between quotes: a backslash with a character, or
/// with the three octal digits of a byte.
fn unescape(quoted: &str) -> String {
    if !quoted.contains('\\') {
        return quoted.to_owned();
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(quoted.len()), quoted.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            (b'\\', [escaped, after @ ..]) => (*escaped, after),
            _ => (first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_are_decoded_and_names_are_not() {
        for (field, pairs) in [
            ("a=x%20y; b=\"q\"; bad; c=", &[("a", "x y"), ("b", "q"), ("c", "")][..]),
            ("__%48ost-s=forged; __Host-s=real", &[("__%48ost-s", "forged"), ("__Host-s", "real")]),
            (r#"a="x\"y"; b="\303\244\073"; c="\"; d=\"#, &[("a", "x\"y"), ("b", "ä;"), ("c", "\\"), ("d", "\\")]),
            ("a=%22q%22; b=%ff; c=%", &[("a", "\"q\""), ("b", "\u{fffd}"), ("c", "%")]),
        ] {
            let found: Vec<_> = parse(field).collect();
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, pairs, "{field}");
        }
    }
}
