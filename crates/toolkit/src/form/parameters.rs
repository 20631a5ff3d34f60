//! The parameters of Content-Type and Content-Disposition: `value; name=token; name="quoted"`.

use std::borrow::Cow;

/// Splits a field value at its first `;` into the part before it, without white space around it, and the parameters.
pub(super) fn split_parameters(value: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    (value[..end].trim_ascii(), Parameters { rest: &value[end..] })
}

/// An iterator over parameters. A malformed one is the last item. Each byte is examined a bounded number of times
/// (CVE-2024-24762 is a regular expression for this that backtracks).
pub(super) struct Parameters<'a> {
    /// Empty, or begins with `;`.
    rest: &'a [u8],
}

/// The parameters do not follow the grammar of RFC 9110 §5.6.6.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A name as it was sent, and a value without quotes and escapes.
type Parameter<'a> = (&'a [u8], Cow<'a, [u8]>);

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty parameters (`;;`, or `;` at the end) are allowed by RFC 9110 §5.6.6.
        while let Some(rest) = self.rest.strip_prefix(b";") {
            self.rest = rest.trim_ascii_start();
        }
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.rest = b"";
        }
        Some(parameter.ok_or(Malformed))
    }
}

impl<'a> Parameters<'a> {
    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let equals = self.rest.iter().position(|&byte| !is_token_byte(byte))?;
        let (name, rest) = self.rest.split_at(equals);
        let rest = rest.strip_prefix(b"=").filter(|_| !name.is_empty())?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => unquoted(rest)?,
        };
        let rest = rest.trim_ascii_start();
        if !(rest.is_empty() || rest.starts_with(b";")) {
            return None;
        }
        self.rest = rest;
        Some((name, value))
    }
}

/// A value without quotes. More than tokens are allowed, because some clients send a boundary such as `----=_Part_1`
/// without quotes.
fn unquoted(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b';').unwrap_or(bytes.len());
    let value = bytes[..end].trim_ascii_end();
    let allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' || *byte >= 0x80;
    value.iter().all(allowed).then_some((Cow::Borrowed(value), &bytes[end..]))
}

/// The value of a quoted string, after its first quote, and the bytes after its last. Only `\"` and `\\` are escapes:
/// browsers do not escape the backslash, so another one is a part of a Windows path.
fn unquote(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if bytes[plain] == b'"' {
        return Some((Cow::Borrowed(&bytes[..plain]), &bytes[plain + 1..]));
    }
    let mut value = bytes[..plain].to_vec();
    let mut at = plain;
    loop {
        match bytes[at..] {
            [b'"', ..] => return Some((Cow::Owned(value), &bytes[at + 1..])),
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(escaped);
                at += 2;
            }
            [byte, ..] => {
                value.push(byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// Whether a byte may occur in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field value, the text before its first `;`, and the names and values of the parameters.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn parse(value: &str) -> (String, Option<Vec<(String, String)>>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (first, parameters) = split_parameters(value.as_bytes());
        let pairs: Result<Vec<_>, _> =
            parameters.map(|pair| pair.map(|(name, value)| (text(name), text(&value)))).collect();
        (text(first), pairs.ok())
    }

    #[test]
    fn parameters_are_tokens_or_quoted_strings() {
        let cases: &[Case<'_>] = &[
            ("text/plain", "text/plain", &[]),
            ("", "", &[]),
            (" a ; b=c ", "a", &[("b", "c")]),
            ("a;;b=c; ;", "a", &[("b", "c")]),
            ("a; b=----=_Part_1; c=d", "a", &[("b", "----=_Part_1"), ("c", "d")]),
            ("a; b=\"c;d=e\"; f=g", "a", &[("b", "c;d=e"), ("f", "g")]),
            ("a; b=\"c\\\"d\\\\e\"", "a", &[("b", "c\"d\\e")]),
            ("a; b=\"C:\\dir\\x\"", "a", &[("b", "C:\\dir\\x")]),
            ("a; b=\"\"", "a", &[("b", "")]),
            ("a; b=", "a", &[("b", "")]),
            ("a; b=\"ä\"; c=ä", "a", &[("b", "ä"), ("c", "ä")]),
        ];
        for (value, first, pairs) in cases {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parse(value), ((*first).to_owned(), Some(pairs)), "{value}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for value in ["a; b", "a; =c", "a; b =c", "a; b= c d", "a; b=\"c", "a; b=\"c\"d", "a; b=c\"d\"", "a; b=\"c\\\""]
        {
            assert_eq!(parse(value).1, None, "{value}");
        }
    }
}
