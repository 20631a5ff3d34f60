//! The head of a script's response (RFC 3875 §6), parsed from bytes as they arrive.

use std::fmt;

use amboss_core::http::{is_hop_by_hop, ResponseHead};

/// A parser that takes the output of a script in pieces of any size. Lines end with LF or CRLF (RFC 3875 §6.2).
pub(super) struct HeadParser {
    buffer: Vec<u8>,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// How many bytes were searched for a line end.
    searched: usize,
    fields: Vec<(String, Vec<u8>)>,
    max_bytes: usize,
    max_fields: usize,
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScriptHead {
    /// A status code with a phrase, or without one.
    pub status: String,
    /// The fields for the client, without those that concern only the server.
    pub fields: Vec<(String, Vec<u8>)>,
    pub has_content_type: bool,
    pub content_length: Option<u64>,
}

/// A sentence that says what is wrong with a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeadError(String);

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn error<T>(message: impl Into<String>) -> Result<T, HeadError> {
    Err(HeadError(message.into()))
}

impl HeadParser {
    pub(super) fn new(max_bytes: usize, max_fields: usize) -> HeadParser {
        HeadParser { buffer: Vec::new(), line: 0, searched: 0, fields: Vec::new(), max_bytes, max_fields }
    }

    /// Takes more output. Returns the head once it is complete, with the bytes behind it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<(ScriptHead, Vec<u8>)>, HeadError> {
        self.buffer.extend_from_slice(bytes);
        while let Some(found) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
            let end = self.searched + found;
            let line = &self.buffer[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if end >= self.max_bytes {
                break;
            }
            if line.is_empty() {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some((ScriptHead::new(std::mem::take(&mut self.fields))?, rest)));
            }
            let field = parse_line(line)?;
            if self.fields.len() == self.max_fields {
                return error(format!("its head has more than {} fields (`max_fields`)", self.max_fields));
            }
            self.fields.push(field);
            (self.line, self.searched) = (end + 1, end + 1);
        }
        self.searched = self.buffer.len();
        if self.searched >= self.max_bytes {
            return error(format!("its head is longer than {} bytes (`max_head`)", self.max_bytes));
        }
        Ok(None)
    }
}

/// Parses `name: value`.
fn parse_line(line: &[u8]) -> Result<(String, Vec<u8>), HeadError> {
    // NPH scripts begin in this way (RFC 3875 §5).
    if line.starts_with(b"HTTP/") {
        return error("it writes a status line, as NPH scripts do; a CGI script writes \"Status: 200 OK\"");
    }
    // A folded line would hide a field from a parser that does not know folding (RFC 9112 §5.2).
    let shown = || line[..line.len().min(80)].escape_ascii().to_string();
    let Some(colon) = line.iter().position(|&byte| byte == b':').filter(|_| !line[0].is_ascii_whitespace()) else {
        return error(format!("a line of its head is not \"name: value\": \"{}\"", shown()));
    };
    match std::str::from_utf8(&line[..colon]) {
        // `ResponseHead::start` checks the characters.
        Ok(name) => Ok((name.to_owned(), line[colon + 1..].trim_ascii().to_vec())),
        Err(_) => error(format!("the name of a field is not ASCII: \"{}\"", shown())),
    }
}

impl ScriptHead {
    /// Separates the fields for the server from those for the client (RFC 3875 §6.3), and checks both.
    fn new(all: Vec<(String, Vec<u8>)>) -> Result<ScriptHead, HeadError> {
        let (mut status, mut has_location, mut has_content_type) = (None, false, false);
        let mut fields = Vec::with_capacity(all.len());
        for (name, value) in all {
            let seen = match name.to_ascii_lowercase().as_str() {
                "status" => {
                    let text = String::from_utf8_lossy(&value).into_owned();
                    if status.replace(text).is_some() {
                        return error("it writes the field Status more than once");
                    }
                    continue;
                }
                // The coding would be applied twice, and chunked data would reach the client as text.
                "transfer-encoding" => return error("it writes Transfer-Encoding, which belongs to the server"),
                "location" => std::mem::replace(&mut has_location, true),
                "content-type" => std::mem::replace(&mut has_content_type, true),
                // RFC 3875 §6.3.4 leaves the other fields of the connection to the server, and §6.3.5 these extensions.
                lower if is_hop_by_hop(lower) || lower.starts_with("x-cgi-") => continue,
                _ => false,
            };
            if seen {
                return error(format!("it writes the field {name} more than once"));
            }
            fields.push((name, value));
        }
        if status.is_none() && !has_location && !has_content_type {
            return error("its head has none of Content-Type, Location and Status");
        }
        // RFC 3875 §6.2.3: a redirect without a status is 302.
        let status = status.unwrap_or_else(|| if has_location { "302 Found" } else { "200 OK" }.to_owned());
        if status.starts_with('1') {
            return error(format!("it writes the interim status {status:?}, which belongs to the server"));
        }
        let values = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        match ResponseHead::start(&mut Vec::new(), &status, values) {
            Ok(head) => Ok(ScriptHead { status, has_content_type, content_length: head.content_length(), fields }),
            Err(refused) => error(format!("its head can't be sent: {refused}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Option<(ScriptHead, Vec<u8>)>, HeadError> {
        HeadParser::new(1000, 5).push(text)
    }

    #[test]
    fn a_head_is_the_same_wherever_it_is_cut() {
        // Output; status, fields, length and body.
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<u64>, &'a str);
        let cases: [Case<'_>; 9] = [
            ("Content-Type: text/plain\n\nbody\n\n", "200 OK", &[("Content-Type", "text/plain")], None, "body\n\n"),
            ("content-type:a/b\r\n\r\n", "200 OK", &[("content-type", "a/b")], None, ""),
            ("Content-Type: a/b\r\n\nx", "200 OK", &[("Content-Type", "a/b")], None, "x"),
            ("Status: 404 Not Found\nContent-Type: a/b\n\n", "404 Not Found", &[("Content-Type", "a/b")], None, ""),
            ("Status:204\n\n", "204", &[], None, ""),
            ("Location: /here?x\n\n", "302 Found", &[("Location", "/here?x")], None, ""),
            ("Location: http://a/\nStatus: 301\n\n", "301", &[("Location", "http://a/")], None, ""),
            ("Status: 200 OK\nContent-Length: 3\n\nabc", "200 OK", &[("Content-Length", "3")], Some(3), "abc"),
            (
                "Set-Cookie: a=1\nset-cookie: b=2\nConnection: close\nX-CGI-A: b\nStatus: 200\n\n",
                "200",
                &[("Set-Cookie", "a=1"), ("set-cookie", "b=2")],
                None,
                "",
            ),
        ];
        for (text, status, fields, length, body) in cases {
            for cut in 0..=text.len() {
                let mut parser = HeadParser::new(1000, 5);
                let first = parser.push(&text.as_bytes()[..cut]).unwrap();
                let (head, rest) = match first {
                    Some((head, rest)) => (head, [&rest[..], &text.as_bytes()[cut..]].concat()),
                    None => parser.push(&text.as_bytes()[cut..]).unwrap().expect("the head is complete"),
                };
                let found: Vec<_> =
                    head.fields.iter().map(|(n, v)| (n.as_str(), std::str::from_utf8(v).unwrap())).collect();
                assert_eq!((head.status.as_str(), &found[..]), (status, fields), "{text:?} cut at {cut}");
                assert_eq!((head.content_length, &rest[..]), (length, body.as_bytes()), "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_head_that_a_client_must_not_get_is_refused_wherever_it_is_cut() {
        for (text, message) in [
            (&b"\nbody"[..], "none of Content-Type"),
            (b"Server: x\n\n", "none of Content-Type"),
            (b"HTTP/1.1 200 OK\nContent-Type: a/b\n\n", "NPH"),
            (b"Traceback (most recent call last)\n", "not \\\"name: value"),
            (b"Content-Type: a/b\n folded\n\n", "not \\\"name: value"),
            (b"Content-Type: a/b\n folded: line\n\n", "not \\\"name: value"),
            (b"Content-Type: a/b\nContent-type: a/c\n\n", "more than once"),
            (b"Location: /a\nLocation: /b\n\n", "more than once"),
            (b"Status: 200\nStatus: 404\n\n", "more than once"),
            (b"Status: 200\nTransfer-Encoding: chunked\n\n", "Transfer-Encoding"),
            (b"Status: 100 Continue\n\n", "interim"),
            (b"Status: 101 Switching Protocols\n\n", "interim"),
            (b"Status: fine\n\n", "status"),
            (b"Status: 200\nContent-Length: x\n\n", "Content-Length"),
            (b"Status: 200\nContent-Length: 1\nContent-Length: 1\n\n", "Content-Length"),
            (b"Status: 200\nX: a\rY: b\n\n", "control character"),
            (b"Status: 200\nX: \0\n\n", "control character"),
            (b"Status: 200\nX Y: a\n\n", "field name"),
            (b"Status: 200\n: a\n\n", "field name"),
            (b"Status: 200\n\xff: a\n\n", "not ASCII"),
            (b"A: 1\nB: 1\nC: 1\nD: 1\nE: 1\nStatus: 200\n\n", "max_fields"),
        ] {
            for cut in 0..text.len() {
                let mut parser = HeadParser::new(1000, 5);
                let result = parser.push(&text[..cut]).and_then(|_| parser.push(&text[cut..]));
                let refused = result.expect_err(&text.escape_ascii().to_string());
                assert!(format!("{refused:?}").contains(message), "{refused:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let mut parser = HeadParser::new(1000, 5);
        for _ in 0..999 {
            assert!(parser.push(b"a").unwrap().is_none());
        }
        assert!(parser.push(b"a").unwrap_err().to_string().contains("max_head"));
        let long = [b"Status: 200\nX: ".to_vec(), vec![b'x'; 1000], b"\n\n".to_vec()].concat();
        assert!(parse(&long).unwrap_err().to_string().contains("max_head"));
    }
}
