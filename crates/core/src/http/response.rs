//! The head of a response: checked, serialised once, and framed.
//!
//! Two steps, because the length of the body is often known only after the application has spoken:
//! [`ResponseHead::start`] checks and appends the status line and the application's fields, and
//! [`ResponseHead::finish`] decides how the body ends (RFC 9112 §6.3), appends what follows from that, and closes the
//! head. Nothing that could end a line early gets through, so no response can be split.

use std::fmt;

use super::chunked::{encode_chunk, LAST_CHUNK};
use super::framing::parse_decimal;
use super::head::Version;
use super::scan::scalar::{is_token_slice, is_value};
use super::status::{allows_body, reason_phrase};

/// What of the request bears on the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answering {
    /// The version of the request.
    pub version: Version,
    /// The method was HEAD.
    pub head: bool,
    /// May the connection stay open?
    pub keep_alive: bool,
}

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none (HEAD, 1xx, 204, 304), whatever the application gives. 205 has [`Length`](Self::Length) 0, since
    /// nothing but its framing tells a client that no content follows.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// When the connection closes.
    Close,
}

/// What [`ResponseHead::finish`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePlan {
    /// How the body ends.
    pub framing: ResponseFraming,
    /// Does the connection stay open after it?
    pub keep_alive: bool,
}

/// Why a response can't be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not three digits and a phrase, or a control character in it.
    Status(String),
    /// 1xx other than 101 is no final status.
    Interim(u16),
    /// The name is no token.
    FieldName(String),
    /// CR, LF, NUL or another control character in the value of this field.
    FieldValue(String),
    /// A field that belongs to the connection, which is the server's (RFC 9110 §7.6.1, PEP 3333).
    HopByHop(String),
    /// Content-Length is no decimal number, or there are several.
    ContentLength(String),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::Status(status) => {
                write!(f, "the status {status:?} is not three digits and a phrase, as in \"200 OK\"")
            }
            ResponseError::Interim(status) => write!(f, "{status} is an interim status; a final one is needed"),
            ResponseError::FieldName(name) => write!(f, "{name:?} can't be a field name: it is no token"),
            ResponseError::FieldValue(name) => write!(f, "the value of {name} holds a control character"),
            ResponseError::HopByHop(name) => {
                write!(f, "{name} is a hop-by-hop field, which is for the server to set; leave it out")
            }
            ResponseError::ContentLength(value) => write!(f, "Content-Length {value:?} is not one decimal number"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// A response head whose application part stands in the output buffer.
///
/// ```
/// use amboss_core::http::{Answering, ResponseFraming, ResponseHead, Version};
///
/// let mut out = Vec::new();
/// let head = ResponseHead::start(&mut out, "200 OK", [("Content-Type", &b"text/plain"[..])]).unwrap();
/// let answering = Answering { version: Version::Http11, head: false, keep_alive: true };
/// let plan = head.finish(&mut out, answering, Some(5), None, None);
/// assert_eq!(plan.framing, ResponseFraming::Length(5));
/// out.extend_from_slice(b"hello");
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
/// ```
#[derive(Clone, Copy, Debug)]
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
    /// See [`ResponseError`]; `out` is then as it was.
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
        let code = status_code(status).ok_or_else(|| ResponseError::Status(status.to_owned()))?;
        if code < 200 && code != 101 {
            return Err(ResponseError::Interim(code));
        }
        // One growth for what a head usually takes.
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

    /// `103 Early Hints` with these fields, whole (RFC 8297).
    ///
    /// # Errors
    /// See [`ResponseError`]; `out` is then as it was.
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
            if !is_token_slice(name.as_bytes()) {
                return Err(ResponseError::FieldName(name.to_owned()));
            }
            if !value.iter().all(|&byte| is_value(byte)) {
                return Err(ResponseError::FieldValue(name.to_owned()));
            }
            if head.meet(name, value)? {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.trim_ascii());
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(head)
    }

    /// Takes note of the fields that matter; false when the field is not to be sent.
    #[inline]
    fn meet(&mut self, name: &str, value: &[u8]) -> Result<bool, ResponseError> {
        // The length tells most names apart from these without looking at them.
        match name.len() {
            4 if name.eq_ignore_ascii_case("date") => self.has_date = true,
            6 if name.eq_ignore_ascii_case("server") => self.has_server = true,
            14 if name.eq_ignore_ascii_case("content-length") => {
                let text = || ResponseError::ContentLength(String::from_utf8_lossy(value).into_owned());
                let length = parse_decimal(value.trim_ascii()).ok_or_else(text)?;
                if self.content_length.is_some() {
                    return Err(text());
                }
                self.content_length = Some(length);
                // RFC 9110 §8.6: not with 1xx and 204. With 205 it can only be 0, which `finish` adds.
                return Ok(self.status >= 200 && !matches!(self.status, 204 | 205));
            }
            2 | 7 | 8 | 10 | 17 | 18 | 19 if is_hop_by_hop(name) => {
                let switching = self.status == 101
                    && (name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("connection"));
                if !switching {
                    return Err(ResponseError::HopByHop(name.to_owned()));
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

    /// The Content-Length that the application declared.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Closes the head: appends framing, `date` and `server` unless the application set them, and the empty line.
    ///
    /// `length` is the number of bytes the body will have, when that is known. A response to HEAD gets the
    /// Content-Length of the body it does not have.
    #[inline]
    pub fn finish(
        &self,
        out: &mut Vec<u8>,
        answering: Answering,
        length: Option<u64>,
        date: Option<&[u8; 29]>,
        server: Option<&str>,
    ) -> ResponsePlan {
        if let (false, Some(server)) = (self.has_server, server) {
            out.extend_from_slice(b"Server: ");
            out.extend_from_slice(server.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let (false, Some(date)) = (self.has_date, date) {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(date);
            out.extend_from_slice(b"\r\n");
        }
        let mut keep_alive = answering.keep_alive;
        let framing = if self.status == 205 {
            // RFC 9110 §15.3.6: no content. RFC 9112 §6.3 has no rule for 205, so a length has to say it.
            append_length(out, 0);
            ResponseFraming::Length(0)
        } else if !allows_body(self.status) {
            ResponseFraming::Empty
        } else if answering.head {
            if let (None, Some(length @ 1..)) = (self.content_length, length) {
                append_length(out, length);
            }
            ResponseFraming::Empty
        } else if let Some(declared) = self.content_length {
            ResponseFraming::Length(declared)
        } else if let Some(length) = length {
            append_length(out, length);
            ResponseFraming::Length(length)
        } else if answering.version == Version::Http11 {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            ResponseFraming::Chunked
        } else {
            keep_alive = false;
            ResponseFraming::Close
        };
        if self.status == 101 {
            keep_alive = false;
        } else if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if answering.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        ResponsePlan { framing, keep_alive }
    }
}

/// Keeps a body to its framing: cuts what is too much, tells what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyWriter {
    framing: ResponseFraming,
    written: u64,
}

impl BodyWriter {
    /// For a body with this framing.
    pub fn new(framing: ResponseFraming) -> BodyWriter {
        BodyWriter { framing, written: 0 }
    }

    /// How many of `offered` bytes belong on the wire: less with a Content-Length that would be passed, none without
    /// a body.
    pub fn admit(&self, offered: u64) -> u64 {
        match self.framing {
            ResponseFraming::Empty => 0,
            ResponseFraming::Length(length) => offered.min(length - self.written),
            ResponseFraming::Chunked | ResponseFraming::Close => offered,
        }
    }

    /// Counts body bytes that were admitted and written by other means than [`append`](BodyWriter::append).
    pub fn count(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Appends a block, framed.
    pub fn append(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let admitted = self.admit(block.len() as u64) as usize;
        let block = &block[..admitted];
        if self.framing == ResponseFraming::Chunked {
            encode_chunk(block, out);
        } else {
            out.extend_from_slice(block);
        }
        self.count(admitted as u64);
    }

    /// Ends the body: appends the last chunk where there is one. False when bytes are missing and the connection has
    /// to be cut, so that the client can tell.
    pub fn end(&self, out: &mut Vec<u8>) -> bool {
        match self.framing {
            ResponseFraming::Chunked => out.extend_from_slice(LAST_CHUNK),
            ResponseFraming::Length(length) => return self.written == length,
            ResponseFraming::Empty | ResponseFraming::Close => {}
        }
        true
    }

    /// Body bytes on the wire so far, without the chunked coding's own.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Does the body end by Content-Length, and has it all been written?
    pub fn is_full(&self) -> bool {
        matches!(self.framing, ResponseFraming::Length(length) if length == self.written)
    }

    /// How the body ends.
    pub fn framing(&self) -> ResponseFraming {
        self.framing
    }
}

fn append_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    append_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal digits.
pub(crate) fn append_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Three digits, then nothing or SP and a phrase without control characters (RFC 9112 §4).
fn status_code(status: &str) -> Option<u16> {
    let bytes = status.as_bytes();
    let (digits, phrase) = bytes.split_at_checked(3)?;
    let code = parse_decimal(digits)? as u16;
    let phrase_is_valid = phrase.is_empty() || phrase[0] == b' ' && phrase.iter().all(|&byte| is_value(byte));
    (code >= 100 && phrase_is_valid).then_some(code)
}

/// Is this a field that concerns only the connection (RFC 9110 §7.6.1; PEP 3333, "Other HTTP Features")?
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

    const V11: Answering = Answering { version: Version::Http11, head: false, keep_alive: true };

    fn write(
        status: &str,
        fields: &[(&str, &str)],
        answering: Answering,
        length: Option<u64>,
    ) -> Result<(String, ResponsePlan), ResponseError> {
        let mut out = b"before".to_vec();
        let fields = fields.iter().map(|&(name, value)| (name, value.as_bytes()));
        let result = ResponseHead::start(&mut out, status, fields);
        if result.is_err() {
            assert_eq!(out, b"before", "an error leaves the buffer as it was");
        }
        let plan = result?.finish(&mut out, answering, length, None, None);
        Ok((String::from_utf8(out.split_off(6)).unwrap(), plan))
    }

    #[test]
    fn framing_follows_version_method_status_and_declaration() {
        use ResponseFraming::*;
        let v10 = Answering { version: Version::Http10, ..V11 };
        let head = Answering { head: true, ..V11 };
        let closing = Answering { keep_alive: false, ..V11 };
        let declared: &[(&str, &str)] = &[("Content-Length", "3")];
        type Fields<'a> = &'a [(&'a str, &'a str)];
        type Case<'a> = (&'a str, Fields<'a>, Answering, Option<u64>, &'a str, ResponseFraming, bool);
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
            // RFC 9110 §15.3.6: no content, and a recipient has to be told so.
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
        let switch = [("Upgrade", "echo"), ("Connection", "Upgrade")];
        let (text, plan) = write("101 Switching Protocols", &switch, V11, Some(0)).unwrap();
        assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
        assert_eq!(plan, ResponsePlan { framing: Empty, keep_alive: false });
    }

    #[test]
    fn nothing_that_could_split_a_response_gets_through() {
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
    fn date_and_server_are_added_once() {
        let date = crate::http::imf_fixdate(0);
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

    #[test]
    fn a_body_keeps_to_its_framing() {
        let run = |framing, blocks: &[&str]| {
            let mut out = Vec::new();
            let mut body = BodyWriter::new(framing);
            for block in blocks {
                body.append(block.as_bytes(), &mut out);
            }
            (body.end(&mut out), String::from_utf8(out).unwrap())
        };
        use ResponseFraming::*;
        assert_eq!(run(Length(4), &["ab", "", "cdef", "g"]), (true, "abcd".into()));
        assert_eq!(run(Length(4), &["ab"]), (false, "ab".into()));
        assert_eq!(run(Chunked, &["ab", "", "c"]), (true, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n".into()));
        assert_eq!(run(Close, &["ab", "c"]), (true, "abc".into()));
        assert_eq!(run(Empty, &["ab", "c"]), (true, "".into()));
    }
}
