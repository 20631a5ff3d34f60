//! The header section of a part, with its Content-Disposition (RFC 7578 §4).

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::form::error::{FormError, FormErrorKind};
use crate::form::parameters::{is_token_byte, split_parameters};
use crate::headers::Headers;

/// The header section of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The name of the field.
    pub(crate) name: String,
    /// The file name as it was sent; `None` if the part is a field and not a file.
    pub(crate) filename: Option<String>,
    /// All fields, as they were sent.
    pub(crate) headers: Headers,
}

impl PartHead {
    /// Parses a header section: lines that end with CR LF, and an empty line.
    pub(crate) fn parse(section: &[u8], dash_boundary: &[u8]) -> Result<PartHead, FormError> {
        let headers = parse_fields(section, dash_boundary)?;
        let disposition = only(&headers, "Content-Disposition", FormErrorKind::Disposition)?;
        let (name, filename) = parse_disposition(disposition.ok_or(FormErrorKind::Disposition)?)?;
        let content_type = only(&headers, "Content-Type", FormErrorKind::PartHeader)?;
        let nested = content_type.is_some_and(|value| starts_with_ignoring_case(value, b"multipart/"));
        // RFC 7578 §4.3: the parts would otherwise be lost in one text. An uploaded file may have such a type.
        if nested && filename.is_none() {
            return Err(FormErrorKind::Nested.into());
        }
        // RFC 7578 §4.7: browsers never encode. A filter that decodes it would see other data than the application.
        let encoding = only(&headers, "Content-Transfer-Encoding", FormErrorKind::TransferEncoding)?;
        let is_identity =
            |value: &[u8]| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|id| value.eq_ignore_ascii_case(id));
        if !encoding.is_none_or(is_identity) {
            return Err(FormErrorKind::TransferEncoding.into());
        }
        Ok(PartHead { name, filename, headers })
    }
}

/// The value of a field that may occur once; the error if it is repeated.
fn only<'h>(headers: &'h Headers, name: &str, repeated: FormErrorKind) -> Result<Option<&'h [u8]>, FormError> {
    let mut values = headers.get_all(name);
    let value = values.next();
    match values.next() {
        Some(_) => Err(repeated.into()),
        None => Ok(value),
    }
}

fn parse_fields(section: &[u8], dash_boundary: &[u8]) -> Result<Headers, FormError> {
    let mut headers = Headers::default();
    for line in section.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").ok_or(FormErrorKind::PartHeader)?;
        if line.is_empty() {
            break;
        }
        // `--boundary: x` would be a field, but other parsers see a delimiter.
        if line.starts_with(dash_boundary) {
            return Err(FormErrorKind::Delimiter.into());
        }
        let (name, value) = parse_field(line).ok_or(FormErrorKind::PartHeader)?;
        headers.add(name, value);
    }
    Ok(headers)
}

/// A field name and a value without white space around it. A folded line begins with white space, so it has no name and
/// is refused: browsers do not fold, and parsers differ on it (RFC 9112 §5.2).
fn parse_field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let well_formed = !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte));
    let allowed = |&byte: &u8| byte == b'\t' || byte >= 0x20 && byte != 0x7f;
    if !well_formed || !value.iter().all(allowed) {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, value))
}

/// The name and the file name of `form-data; name="…"; filename="…"`.
fn parse_disposition(value: &[u8]) -> Result<(String, Option<String>), FormError> {
    let (disposition, parameters) = split_parameters(value);
    if !disposition.eq_ignore_ascii_case(b"form-data") {
        return Err(FormErrorKind::Disposition.into());
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    for parameter in parameters {
        let (key, value) = parameter.map_err(|_| FormErrorKind::Disposition)?;
        if key.eq_ignore_ascii_case(b"filename*") && extended.is_none() {
            extended = Some(decode_extended(&value).ok_or(FormErrorKind::ExtendedParameter)?);
            continue;
        }
        if key.ends_with(b"*") {
            return Err(FormErrorKind::ExtendedParameter.into());
        }
        let slot = match &*key.to_ascii_lowercase() {
            b"name" => &mut name,
            b"filename" => &mut filename,
            _ => continue,
        };
        if slot.replace(unescape(&value)).is_some() {
            return Err(FormErrorKind::Disposition.into());
        }
    }
    // RFC 7578 §4.2 forbids `filename*`, and .NET sends it behind `filename`. Another name than that is refused and not
    // ignored: a filter may read one of the two and the application the other, and a file with this name alone would
    // become a field.
    if extended.is_some() && extended != filename {
        return Err(FormErrorKind::ExtendedParameter.into());
    }
    let name = name.ok_or(FormErrorKind::Disposition)?;
    Ok((name, filename.map(|filename| without_windows_path(&filename).to_owned())))
}

/// The value of an extended parameter in UTF-8: `utf-8''caf%C3%A9.txt` (RFC 8187 §3.2).
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let is_utf8 = parts.next()?.eq_ignore_ascii_case(b"utf-8");
    let encoded = parts.nth(1).filter(|_| is_utf8)?;
    percent_decode(encoded).decode_utf8().ok().map(Cow::into_owned)
}

/// Replaces the three escapes that browsers send in names: `%22`, `%0D` and `%0A`
/// ([HTML Standard §4.10.21.8](https://html.spec.whatwg.org/#multipart-form-data)). Other percent signs are plain text.
fn unescape(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if !text.contains('%') {
        return text.into_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(percent) = rest.find('%') {
        plain.push_str(&rest[..percent]);
        rest = &rest[percent..];
        let (char, length) = match rest.as_bytes() {
            [b'%', b'2', b'2', ..] => ('"', 3),
            [b'%', b'0', b'D' | b'd', ..] => ('\r', 3),
            [b'%', b'0', b'A' | b'a', ..] => ('\n', 3),
            _ => ('%', 1),
        };
        plain.push(char);
        rest = &rest[length..];
    }
    plain.push_str(rest);
    plain
}

/// The last component of a Windows path, which Internet Explorer sends as the file name (RFC 7578 §4.2); other names
/// unchanged.
fn without_windows_path(filename: &str) -> &str {
    let is_path = matches!(filename.as_bytes(), [_, b':', b'\\', ..] | [b'\\', ..]);
    match filename.rfind('\\') {
        Some(last) if is_path => &filename[last + 1..],
        _ => filename,
    }
}

fn starts_with_ignoring_case(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl PartHead {
    /// The value of Content-Type; bytes that are not UTF-8 are replaced with U+FFFD.
    pub(crate) fn content_type(&self) -> Option<Cow<'_, str>> {
        self.headers.get("Content-Type").map(String::from_utf8_lossy)
    }
}

#[cfg(test)]
mod tests;
