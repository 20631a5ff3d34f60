//! [`AccessFormat`]: access lines by a format string of gunicorn.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use super::format::{write_escaped, write_time, TimeFormat, MAX_FIELD};
use super::record::AccessRecord;
use super::request_line::RequestLine;

/// A format of access lines, written as gunicorn's `access_log_format`: text with parts such as `%(h)s`.
///
/// ```
/// use amboss_core::AccessFormat;
///
/// let format: AccessFormat = r#"%(h)s %(t)s "%(r)s" %(s)s %(b)s %(M)sms "%({x-request-id}i)s""#.parse()?;
/// let error = "%(x)s".parse::<AccessFormat>().unwrap_err();
/// assert!(error.to_string().contains("%(x)s"));
/// # Ok::<(), amboss_core::AccessFormatError>(())
/// ```
///
/// | part | value |
/// |---|---|
/// | `h` | the client's address |
/// | `l` | `-` |
/// | `u` | the user name of basic authentication (RFC 7617); `-` without one |
/// | `t` | the time when the response was complete, in UTC: `[21/Nov/2026:09:00:00 +0000]` |
/// | `r`, `m`, `U`, `q`, `H` | the request line; its method, path, query and protocol |
/// | `s` | the status |
/// | `B`, `b` | the bytes of the response body that were sent; for `b`, `-` if there are none |
/// | `f`, `a` | the fields Referer and User-Agent of the request |
/// | `T`, `M`, `D`, `L` | the duration in seconds, milliseconds, microseconds, and in seconds with six decimals |
/// | `p` | the process ID: `<1234>` |
/// | `{x-request-id}i`, `{x-request-id}o` | the ID of the request ([`Settings::request_ids`](crate::Settings::request_ids)) |
/// | `{name}i` | a field of the request; `-` without one |
/// | `{name}e` | `HTTP_…` of the environ, which is a field of the request, and the keys of the parts above |
///
/// The durations begin with the complete head, as [`AccessRecord::duration`](crate::AccessRecord::duration). `%%` is a
/// percent sign. Fields of the response (`{name}o`) are not kept until the line is written, so they are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFormat {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Peer,
    User,
    Time,
    RequestLine,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    Bytes { dash_for_none: bool },
    Field(String),
    Seconds,
    Milliseconds,
    Microseconds,
    Decimal,
    Process,
    RequestId,
}

/// Why a text is no [`AccessFormat`]. The message says which part is unknown, and which there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFormatError(String);

impl fmt::Display for AccessFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AccessFormatError {}

impl FromStr for AccessFormat {
    type Err = AccessFormatError;

    fn from_str(format: &str) -> Result<AccessFormat, AccessFormatError> {
        let mut pieces = Vec::new();
        let mut rest = format;
        while let Some(start) = rest.find('%') {
            text(&mut pieces, &rest[..start]);
            let part = &rest[start..];
            if let Some(after) = part.strip_prefix("%%") {
                text(&mut pieces, "%");
                rest = after;
                continue;
            }
            let end = part.find(')').filter(|_| part.starts_with("%(")).ok_or_else(|| {
                let shown: String = part.chars().take(12).collect();
                AccessFormatError(format!("a part is written as %(h)s and a percent sign as %%, but here is {shown:?}"))
            })?;
            let name = &part[2..end];
            // `%(s)d` is allowed where the value is a number.
            let conversion = part[end + 1..].chars().next().filter(|conversion| matches!(conversion, 's' | 'd'));
            if conversion.is_none() {
                return Err(AccessFormatError(format!("after %({name}) follows s, as in %({name})s")));
            }
            pieces.push(piece(name).ok_or_else(|| unknown(name))?);
            rest = &part[end + 2..];
        }
        text(&mut pieces, rest);
        if pieces.is_empty() {
            return Err(AccessFormatError("the format is empty; write it as in '%(h)s \"%(r)s\" %(s)s %(b)s'".into()));
        }
        if format.contains(['\r', '\n']) {
            return Err(AccessFormatError("the format is one line".into()));
        }
        Ok(AccessFormat { pieces })
    }
}

fn unknown(name: &str) -> AccessFormatError {
    if name.ends_with("}o") {
        return AccessFormatError(format!(
            "the log has no fields of the response, so there is no %({name})s; %(B)s is the length of the body"
        ));
    }
    AccessFormatError(format!(
        "there is no part %({name})s; there are %(X)s with h, l, u, t, r, m, U, q, H, s, B, b, f, a, T, M, D, L and p, and \
         fields of the request as %({{host}}i)s"
    ))
}

/// Appends text that stands between parts.
fn text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.extend_from_slice(text.as_bytes()),
        _ => pieces.push(Piece::Text(text.as_bytes().to_vec())),
    }
}

/// Returns the piece with a name of gunicorn's.
fn piece(name: &str) -> Option<Piece> {
    Some(match name {
        "h" | "{REMOTE_ADDR}e" => Piece::Peer,
        "l" => Piece::Text(b"-".to_vec()),
        "u" | "{REMOTE_USER}e" => Piece::User,
        "t" => Piece::Time,
        "r" => Piece::RequestLine,
        "m" | "{REQUEST_METHOD}e" => Piece::Method,
        "U" => Piece::Path,
        "q" | "{QUERY_STRING}e" => Piece::Query,
        "H" | "{SERVER_PROTOCOL}e" => Piece::Protocol,
        "s" => Piece::Status,
        "B" => Piece::Bytes { dash_for_none: false },
        "b" => Piece::Bytes { dash_for_none: true },
        "f" => Piece::Field("referer".into()),
        "a" => Piece::Field("user-agent".into()),
        "T" => Piece::Seconds,
        "M" => Piece::Milliseconds,
        "D" => Piece::Microseconds,
        "L" => Piece::Decimal,
        "p" => Piece::Process,
        _ => {
            let (name, kind) = name.strip_prefix('{')?.split_once('}')?;
            match (kind, name.to_ascii_lowercase().as_str()) {
                (_, "") => return None,
                // The one that the server has made, if the client is not trusted.
                ("i" | "o", "x-request-id") | ("e", "http_x_request_id") => Piece::RequestId,
                ("i", name) => Piece::Field(name.to_owned()),
                ("e", name) => Piece::Field(name.strip_prefix("http_")?.replace('_', "-")),
                _ => return None,
            }
        }
    })
}

impl AccessFormat {
    /// Writes the line of a request.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>) {
        let line = RequestLine::parse(record);
        let part = |part: Option<&[u8]>, out: &mut Vec<u8>| write_escaped(out, part.unwrap_or(b"-"));
        for piece in &self.pieces {
            let _ = match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                Piece::Peer => write!(out, "{}", record.peer),
                Piece::User => {
                    let user = record.head.and_then(|head| head.get("authorization")).and_then(basic_user);
                    part(user.as_deref(), out);
                    Ok(())
                }
                Piece::Time => {
                    out.push(b'[');
                    write_time(out, record.time, TimeFormat::Common);
                    out.push(b']');
                    Ok(())
                }
                Piece::RequestLine => {
                    write_escaped(out, record.request_line);
                    Ok(())
                }
                Piece::Method | Piece::Path | Piece::Query | Piece::Protocol => {
                    let value = line.as_ref().map(|line| match piece {
                        Piece::Method => line.method,
                        Piece::Path => line.path,
                        Piece::Query => line.query,
                        _ => line.protocol,
                    });
                    part(value, out);
                    Ok(())
                }
                Piece::Status => write!(out, "{}", record.status),
                Piece::Bytes { dash_for_none: true } if record.bytes == 0 => out.write_all(b"-"),
                Piece::Bytes { .. } => write!(out, "{}", record.bytes),
                Piece::Field(name) => {
                    let value = record.head.and_then(|head| head.get(name));
                    part(value.map(|value| &value[..value.len().min(MAX_FIELD)]), out);
                    Ok(())
                }
                Piece::Seconds => write!(out, "{}", record.duration.as_secs()),
                Piece::Milliseconds => write!(out, "{}", record.duration.as_millis()),
                Piece::Microseconds => write!(out, "{}", record.duration.as_micros()),
                Piece::RequestId => match record.request_id {
                    Some(id) => write!(out, "{id}"),
                    None => out.write_all(b"-"),
                },
                Piece::Decimal => decimal(out, record.duration),
                Piece::Process => write!(out, "<{}>", std::process::id()),
            };
        }
        out.push(b'\n');
    }
}

/// Writes seconds with six decimals, from integers: the code that formats floats would add ten kilobytes to a small tool.
fn decimal(out: &mut Vec<u8>, time: Duration) -> std::io::Result<()> {
    write!(out, "{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Returns the user name of basic authentication (RFC 7617 §2).
fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = decode_base64(credentials.trim_ascii())?;
    user.truncate(user.iter().position(|&byte| byte == b':')?);
    (!user.is_empty()).then_some(user)
}

/// Decodes base64 (RFC 4648 §4); `None` if it is malformed.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str, request_line: &[u8]) -> String {
        let mut out = Vec::new();
        let mut record = AccessRecord::example(request_line, b"/a?b", 200);
        record.duration = Duration::from_micros(2_034_567);
        format.parse::<AccessFormat>().unwrap().write(&mut out, &record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_part_has_its_value() {
        let request = b"GET /a?b HTTP/1.1";
        for (format, expected) in [
            ("%(h)s %(l)s %(u)s", "<local> - -"),
            ("%(t)s", "[06/Nov/1994:08:49:37 +0000]"),
            ("\"%(r)s\" %(m)s %(U)s %(q)s %(H)s", "\"GET /a?b HTTP/1.1\" GET /a b HTTP/1.1"),
            ("%(s)s %(s)d %(B)s %(b)s", "200 200 13 13"),
            ("%(T)s %(M)s %(D)s %(L)s", "2 2034 2034567 2.034567"),
            ("%(f)s %(a)s %({Host}i)s", "- - -"),
            ("%({REMOTE_ADDR}e)s %({HTTP_HOST}e)s", "<local> -"),
            ("100%% %(s)s%%", "100% 200%"),
            ("no part", "no part"),
        ] {
            assert_eq!(line(format, request), format!("{expected}\n"), "{format}");
        }
        assert_eq!(line("%(p)s", request), format!("<{}>\n", std::process::id()));
        assert_eq!(line("%(r)s %(m)s %(U)s", b"\"\x1b]x"), "\\\"\\x1b]x - -\n");
    }

    #[test]
    fn a_format_that_is_no_format_is_explained() {
        for (format, message) in [
            ("%(x)s", "there is no part %(x)s; there are %(X)s with h, l, u"),
            ("%h", "a part is written as %(h)s and a percent sign as %%, but here is \"%h\""),
            ("%(h)", "after %(h) follows s, as in %(h)s"),
            ("%(h)x", "after %(h) follows s"),
            ("%({server}o)s", "the log has no fields of the response, so there is no %({server}o)s"),
            ("%({wsgi.x}e)s", "there is no part %({wsgi.x}e)s"),
            ("", "the format is empty"),
            ("a\nb", "the format is one line"),
        ] {
            let error = format.parse::<AccessFormat>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{format}: {error}");
        }
    }

    #[test]
    fn the_user_is_that_of_basic_authentication() {
        for (value, user) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin")),
            ("basic dTpw", Some("u")),
            ("Basic dQ==", None),
            ("Basic OnA=", None),
            ("Basic ???", None),
            ("Bearer QWxhZGRpbjpvcGVu", None),
            ("Basic", None),
        ] {
            assert_eq!(basic_user(value.as_bytes()).as_deref(), user.map(str::as_bytes), "{value}");
        }
    }
}
