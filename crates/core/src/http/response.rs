//! The head of a response: checked, serialised once, and framed.
//!
//! A head is written in two steps, because the length of the body is often known only after the application has
//! returned. [`ResponseHead::start`] checks and appends the status line and the application's fields.
//! [`ResponseHead::finish`] decides how the body ends (RFC 9112 §6.3), appends the fields that follow from that, and
//! ends the head. A byte that could end a line early is refused, so no application can split a response.

use super::body_writer::ResponseFraming;
use super::error::{ResponseError, ResponseErrorKind};
use super::status::{allows_body, reason_phrase};
use super::syntax::{is_token, is_value_byte, parse_decimal};
use super::version::Version;

/// The properties of a request that its response depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseContext {
    /// The version of the request.
    pub version: Version,
    /// Whether the method is HEAD.
    pub head: bool,
    /// Whether the connection may stay open.
    pub keep_alive: bool,
}

/// The decisions of [`ResponseHead::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePlan {
    /// How the body ends.
    pub framing: ResponseFraming,
    /// Whether the connection stays open after the response.
    pub keep_alive: bool,
}

/// A response head whose status line and application fields are in the output buffer.
///
/// ```
/// use amboss_core::http::{ResponseContext, ResponseFraming, ResponseHead, Version};
///
/// let mut out = Vec::new();
/// let head = ResponseHead::start(&mut out, "200 OK", [("Content-Type", &b"text/plain"[..])]).unwrap();
/// let answering = ResponseContext { version: Version::Http11, head: false, keep_alive: true };
/// let plan = head.finish(&mut out, answering, Some(5), None, None);
/// assert_eq!(plan.framing, ResponseFraming::Length(5));
/// out.extend_from_slice(b"hello");
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    status: u16,
    content_length: Option<u64>,
    has_date: bool,
    has_server: bool,
}

impl ResponseHead {
    /// Checks a status (`"404 Not Found"`; a bare code gets its phrase) and fields, and appends them to `out`.
    ///
    /// # Errors
    /// For a status or a field that can't be sent; `out` is unchanged then.
    #[inline]
    pub fn start<'f>(
        out: &mut Vec<u8>,
        status: &str,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<ResponseHead, ResponseError> {
        let mark = out.len();
        let head = ResponseHead::append(out, status, fields);
        if head.is_err() {
            out.truncate(mark);
        }
        head
    }

    #[inline]
    fn append<'f>(
        out: &mut Vec<u8>,
        status: &str,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<ResponseHead, ResponseError> {
        let code = status_code(status).ok_or_else(|| ResponseError::new(ResponseErrorKind::Status, status))?;
        if code < 200 && code != 101 {
            return Err(ResponseError::new(ResponseErrorKind::InterimStatus, status));
        }
        // Enough for most heads, so that the buffer grows once.
        out.reserve(256);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_bytes());
        if status.len() == 3 {
            out.push(b' ');
            out.extend_from_slice(reason_phrase(code).as_bytes());
        }
        out.extend_from_slice(b"\r\n");

        ResponseHead::append_fields(out, code, fields)
    }

    /// Appends a complete `103 Early Hints` response with these fields (RFC 8297).
    ///
    /// # Errors
    /// For a status or a field that can't be sent; `out` is unchanged then.
    pub fn early_hints<'f>(
        out: &mut Vec<u8>,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<(), ResponseError> {
        let mark = out.len();
        out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        if let Err(error) = ResponseHead::append_fields(out, 103, fields) {
            out.truncate(mark);
            return Err(error);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    #[inline]
    fn append_fields<'f>(
        out: &mut Vec<u8>,
        status: u16,
        fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
    ) -> Result<ResponseHead, ResponseError> {
        let mut head = ResponseHead { status, content_length: None, has_date: false, has_server: false };
        for (name, value) in fields {
            if !is_token(name.as_bytes()) {
                return Err(ResponseError::new(ResponseErrorKind::FieldName, name));
            }
            if !value.iter().all(|&byte| is_value_byte(byte)) {
                return Err(ResponseError::new(ResponseErrorKind::FieldValue, name));
            }
            if head.inspect_field(name, value)? {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.trim_ascii());
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(head)
    }

    /// Records the fields that the rest of the head depends on; `false` if the field must not be sent.
    #[inline]
    fn inspect_field(&mut self, name: &str, value: &[u8]) -> Result<bool, ResponseError> {
        // The length rules out most names without a comparison.
        match name.len() {
            4 if name.eq_ignore_ascii_case("date") => self.has_date = true,
            6 if name.eq_ignore_ascii_case("server") => self.has_server = true,
            14 if name.eq_ignore_ascii_case("content-length") => {
                let error = || ResponseError::new(ResponseErrorKind::ContentLength, &String::from_utf8_lossy(value));
                let length = parse_decimal(value.trim_ascii()).ok_or_else(error)?;
                if self.content_length.is_some() {
                    return Err(error());
                }
                self.content_length = Some(length);
                // RFC 9110 §8.6: not allowed with 1xx and 204. With 205 it can only be 0, which `finish` appends.
                return Ok(self.status >= 200 && !matches!(self.status, 204 | 205));
            }
            2 | 7 | 8 | 10 | 17 | 18 | 19 if is_hop_by_hop(name) => {
                let switching = self.status == 101
                    && (name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("connection"));
                if !switching {
                    return Err(ResponseError::new(ResponseErrorKind::HopByHop, name));
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The Content-Length that the application set.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Ends the head: appends the framing, `date` and `server` unless the application set them, and the empty line.
    ///
    /// `length` is the length of the body in bytes, if it is known. A response to HEAD gets the Content-Length that the
    /// response to GET would have.
    #[inline]
    pub fn finish(
        &self,
        out: &mut Vec<u8>,
        answering: ResponseContext,
        length: Option<u64>,
        date: Option<&[u8; 29]>,
        server: Option<&str>,
    ) -> ResponsePlan {
        let server = server.map_or_else(String::new, server_line);
        self.finish_with_lines(out, answering, length, date.map(date_line).as_ref().map_or(b"", |line| line), &server)
    }

    /// As [`finish`](ResponseHead::finish), with the complete lines of `Date` and `Server`, or empty text for none.
    #[inline]
    pub(crate) fn finish_with_lines(
        &self,
        out: &mut Vec<u8>,
        answering: ResponseContext,
        length: Option<u64>,
        date_line: &[u8],
        server_line: &str,
    ) -> ResponsePlan {
        if !self.has_server {
            out.extend_from_slice(server_line.as_bytes());
        }
        if !self.has_date {
            out.extend_from_slice(date_line);
        }
        let mut keep_alive = answering.keep_alive;
        let mut end = HeadEnd::default();
        let framing = if self.status == 205 {
            // RFC 9110 §15.3.6: no content. RFC 9112 §6.3 has no rule for 205, so it needs a length of 0.
            end.push_length(0);
            ResponseFraming::Length(0)
        } else if !allows_body(self.status) {
            ResponseFraming::Empty
        } else if answering.head {
            if let (None, Some(length @ 1..)) = (self.content_length, length) {
                end.push_length(length);
            }
            ResponseFraming::Empty
        } else if let Some(declared) = self.content_length {
            ResponseFraming::Length(declared)
        } else if let Some(length) = length {
            end.push_length(length);
            ResponseFraming::Length(length)
        } else if answering.version == Version::Http11 {
            end.push(b"Transfer-Encoding: chunked\r\n");
            ResponseFraming::Chunked
        } else {
            keep_alive = false;
            ResponseFraming::Close
        };
        if self.status == 101 {
            keep_alive = false;
        } else if !keep_alive {
            end.push(b"Connection: close\r\n");
        } else if answering.version == Version::Http10 {
            end.push(b"Connection: keep-alive\r\n");
        }
        end.push(b"\r\n");
        out.extend_from_slice(&end.bytes[..end.length]);
        ResponsePlan { framing, keep_alive }
    }
}

/// The line of a `Date` field.
pub(crate) fn date_line(date: &[u8; 29]) -> [u8; 37] {
    let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    line[6..35].copy_from_slice(date);
    line
}

/// The line of a `Server` field.
pub(crate) fn server_line(server: &str) -> String {
    format!("Server: {server}\r\n")
}

/// The lines that end a head, which are composed here and then appended at once.
struct HeadEnd {
    bytes: [u8; HeadEnd::LONGEST],
    length: usize,
}

impl Default for HeadEnd {
    #[inline]
    fn default() -> HeadEnd {
        HeadEnd { bytes: [0; HeadEnd::LONGEST], length: 0 }
    }
}

impl HeadEnd {
    /// More than a line of Content-Length or Transfer-Encoding, one of Connection, and the empty line.
    const LONGEST: usize = 96;

    /// Appends text whose length is known when this is compiled, which takes a few instructions.
    #[inline]
    fn push<const N: usize>(&mut self, text: &[u8; N]) {
        self.bytes[self.length..][..N].copy_from_slice(text);
        self.length += N;
    }

    /// Appends the line of a Content-Length.
    #[inline]
    fn push_length(&mut self, length: u64) {
        self.push(b"Content-Length: ");
        let digits = length.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = length;
        for place in self.bytes[self.length..][..digits].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.length += digits;
        self.push(b"\r\n");
    }
}

/// Parses a status: three digits, then nothing or SP and a phrase without control characters (RFC 9112 §4).
fn status_code(status: &str) -> Option<u16> {
    let bytes = status.as_bytes();
    let (digits, phrase) = bytes.split_at_checked(3)?;
    let code = parse_decimal(digits)? as u16;
    let phrase_is_valid = phrase.is_empty() || phrase[0] == b' ' && phrase.iter().all(|&byte| is_value_byte(byte));
    (code >= 100 && phrase_is_valid).then_some(code)
}

/// Whether a field concerns only the connection (RFC 9110 §7.6.1; PEP 3333, "Other HTTP Features").
pub fn is_hop_by_hop(name: &str) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
    .iter()
    .any(|hop| name.eq_ignore_ascii_case(hop))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V11: ResponseContext = ResponseContext { version: Version::Http11, head: false, keep_alive: true };

    fn write(
        status: &str,
        fields: &[(&str, &str)],
        answering: ResponseContext,
        length: Option<u64>,
    ) -> Result<(String, ResponsePlan), ResponseError> {
        let mut out = b"before".to_vec();
        let fields = fields.iter().map(|&(name, value)| (name, value.as_bytes()));
        let result = ResponseHead::start(&mut out, status, fields);
        if result.is_err() {
            assert_eq!(out, b"before", "an error leaves the buffer unchanged");
        }
        let plan = result?.finish(&mut out, answering, length, None, None);
        Ok((String::from_utf8(out.split_off(6)).unwrap(), plan))
    }

    #[test]
    fn framing_follows_version_method_status_and_declaration() {
        use ResponseFraming::*;
        let v10 = ResponseContext { version: Version::Http10, ..V11 };
        let head = ResponseContext { head: true, ..V11 };
        let closing = ResponseContext { keep_alive: false, ..V11 };
        let declared: &[(&str, &str)] = &[("Content-Length", "3")];
        type Fields<'a> = &'a [(&'a str, &'a str)];
        type Case<'a> = (&'a str, Fields<'a>, ResponseContext, Option<u64>, &'a str, ResponseFraming, bool);
        let cases: &[Case<'_>] = &[
            ("200 OK", &[], V11, Some(5), "Content-Length: 5\r\n", Length(5), true),
            ("200 OK", &[], V11, Some(0), "Content-Length: 0\r\n", Length(0), true),
            ("200 OK", &[], V11, None, "Transfer-Encoding: chunked\r\n", Chunked, true),
            ("200 OK", declared, V11, None, "Content-Length: 3\r\n", Length(3), true),
            ("200 OK", declared, V11, Some(5), "Content-Length: 3\r\n", Length(3), true),
            ("200 OK", &[], v10, None, "Connection: close\r\n", Close, false),
            ("200 OK", &[], v10, Some(5), "Content-Length: 5\r\nConnection: keep-alive\r\n", Length(5), true),
            ("200 OK", &[], closing, Some(5), "Content-Length: 5\r\nConnection: close\r\n", Length(5), false),
            ("200 OK", &[], head, Some(5), "Content-Length: 5\r\n", Empty, true),
            ("200 OK", &[], head, Some(0), "", Empty, true),
            ("200 OK", &[], head, None, "", Empty, true),
            ("200 OK", declared, head, Some(0), "Content-Length: 3\r\n", Empty, true),
            ("204 No Content", &[], V11, Some(5), "", Empty, true),
            ("204 No Content", declared, V11, None, "", Empty, true),
            // RFC 9110 §15.3.6: no content, which the recipient can only learn from the length.
            ("205 Reset Content", &[], V11, Some(5), "Content-Length: 0\r\n", Length(0), true),
            ("205 Reset Content", &[], V11, None, "Content-Length: 0\r\n", Length(0), true),
            ("205 Reset Content", declared, V11, Some(3), "Content-Length: 0\r\n", Length(0), true),
            ("205 Reset Content", &[], head, None, "Content-Length: 0\r\n", Length(0), true),
            ("205 Reset Content", &[], v10, None, "Content-Length: 0\r\nConnection: keep-alive\r\n", Length(0), true),
            ("304 Not Modified", declared, V11, None, "Content-Length: 3\r\n", Empty, true),
            ("304 Not Modified", &[], V11, Some(5), "", Empty, true),
        ];
        for (status, fields, answering, length, expected, framing, keep_alive) in cases {
            let (text, plan) = write(status, fields, *answering, *length).unwrap();
            assert_eq!(text, format!("HTTP/1.1 {status}\r\n{expected}\r\n"));
            assert_eq!(plan, ResponsePlan { framing: *framing, keep_alive: *keep_alive }, "{text}");
        }
        for length in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            let (text, _) = write("200 OK", &[], V11, Some(length)).unwrap();
            assert_eq!(text, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        }
        let switch = [("Upgrade", "echo"), ("Connection", "Upgrade")];
        let (text, plan) = write("101 Switching Protocols", &switch, V11, Some(0)).unwrap();
        assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(plan, ResponsePlan { framing: Empty, keep_alive: false });
    }

    #[test]
    fn a_status_or_field_that_could_split_a_response_is_refused() {
        let error = |status, field| write(status, &[field], V11, None).unwrap_err().to_string();
        let fine = ("A", "b");
        for bad in ["", "20", "200OK", "abc d", "200 O\rK", "200 O\nK", "200 \0", "099 x", "\u{0662}00 OK"] {
            assert!(error(bad, fine).contains("status"), "{bad:?}");
        }
        assert!(error("100 Continue", fine).contains("interim"));
        for bad in [("", "x"), ("a b", "x"), ("a:", "x"), ("a\r\n", "x"), ("\u{e4}", "x"), ("a\0", "x")] {
            assert!(error("200 OK", bad).contains("field name"), "{bad:?}");
        }
        for bad in ["a\r\nX: y", "a\n", "a\r", "\0", "\x7f", "\x1b[31m"] {
            assert!(error("200 OK", ("X", bad)).contains("control character"), "{bad:?}");
        }
        for hop in ["Connection", "keep-alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate"] {
            assert!(error("200 OK", (hop, "x")).contains("hop-by-hop"), "{hop}");
        }
        assert!(error("101 Switching Protocols", ("Transfer-Encoding", "x")).contains("hop-by-hop"));
        for bad in ["-1", "+1", "x", "", "1,1", "18446744073709551616"] {
            assert!(error("200 OK", ("Content-Length", bad)).contains("Content-Length"), "{bad}");
        }
        let twice = [("Content-Length", "1"), ("content-length", "1")];
        assert!(write("200 OK", &twice, V11, None).is_err());
    }

    #[test]
    fn date_and_server_are_added_unless_the_application_set_them() {
        let date = crate::http::date::imf_fixdate(0);
        for (fields, expected) in [
            (
                &[][..],
                "HTTP/1.1 200 OK\r\nServer: s\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                &[("date", &b"x"[..]), ("SERVER", b" y ")][..],
                "HTTP/1.1 200 OK\r\ndate: x\r\nSERVER: y\r\nContent-Length: 0\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            let head = ResponseHead::start(&mut out, "200", fields.iter().copied()).unwrap();
            head.finish(&mut out, V11, Some(0), Some(&date), Some("s"));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
