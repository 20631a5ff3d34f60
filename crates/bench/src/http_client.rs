//! A small HTTP client, for checks before a measurement, and for connections that stay idle or wait for a slow
//! response.

use crate::peers::BODY;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A response.
pub struct Response {
    /// The status line and the fields, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The value of a field in a head that is in lower case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// A connection that sends requests and checks responses, over TCP or TLS.
pub struct HttpClient<S = TcpStream> {
    /// The underlying stream.
    pub stream: S,
    pending: Vec<u8>,
    /// Whether the last response had `Connection: close`.
    pub announced_close: bool,
}

impl HttpClient {
    /// Connects to a port on the loopback interface.
    ///
    /// # Errors
    ///
    /// When the connection fails.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(HttpClient::new(stream))
    }
}

impl<S: Read + Write> HttpClient<S> {
    /// A client on this stream.
    pub fn new(stream: S) -> Self {
        HttpClient { stream, pending: Vec::new(), announced_close: false }
    }

    /// Sends this many requests in one write. `field` is a complete additional field line, or empty.
    ///
    /// # Errors
    ///
    /// When the connection fails.
    pub fn send(&mut self, path: &str, field: &str, count: usize) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
        self.stream.write_all(request.repeat(count).as_bytes())
    }

    /// Reads a response and checks it: status 200, the 13 bytes, `Date`, plain text.
    ///
    /// # Errors
    ///
    /// When the connection fails or the response is wrong.
    pub fn receive(&mut self) -> io::Result<()> {
        self.receive_body(BODY.as_bytes())
    }

    /// As [`receive`](HttpClient::receive), with this body instead.
    ///
    /// # Errors
    ///
    /// As for [`receive`](HttpClient::receive).
    pub fn receive_body(&mut self, expected: &[u8]) -> io::Result<()> {
        let Response { head, body } = self.read_response()?;
        let value = |name| field(&head, name);
        let length = value("content-length").and_then(|value| value.parse().ok());
        let checks = [
            (head.starts_with("http/1.1 200"), "the status is not 200"),
            (length == Some(expected.len()), "Content-Length is wrong"),
            (value("date").is_some(), "there is no Date"),
            (
                value("content-type").is_some_and(|value| value.starts_with("text/plain")),
                "Content-Type is not text/plain",
            ),
        ];
        if let Some((_, problem)) = checks.iter().find(|(passed, _)| !*passed) {
            return Err(io::Error::other(format!("{problem}: {head}")));
        }
        if body != expected {
            return Err(io::Error::other("the body is wrong"));
        }
        Ok(())
    }

    /// Reads a response of any status. Without Content-Length and chunks, the body is empty.
    ///
    /// # Errors
    ///
    /// When the connection fails, or the length of a chunk is not a number.
    pub fn read_response(&mut self) -> io::Result<Response> {
        let head = self.read_through(b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        self.announced_close = field(&head, "connection") == Some("close");
        let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let body = match field(&head, "transfer-encoding") {
            Some("chunked") => self.read_chunks()?,
            _ => self.read_exactly(length)?,
        };
        Ok(Response { body, head })
    }

    /// Reads chunks without trailer fields (RFC 9112 section 7.1).
    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_through(b"\r\n")?;
            let line = String::from_utf8_lossy(&line);
            let length = usize::from_str_radix(line.trim_end(), 16)
                .map_err(|_| io::Error::other(format!("the length of a chunk is {line:?}")))?;
            let chunk = self.read_exactly(length + 2)?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    fn read_through(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|bytes| bytes == end) {
                return Ok(self.pending.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < length {
            self.fill()?;
        }
        Ok(self.pending.drain(..length).collect())
    }

    /// Whether the peer closes the connection without sending more.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 16];
        matches!(self.stream.read(&mut rest), Ok(0)) && self.pending.is_empty()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        let read = self.stream.read(&mut block).map_err(|error| {
            // Sockets report a read timeout as WouldBlock.
            match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            }
        })?;
        match read {
            0 => Err(io::Error::other("the connection was closed early")),
            length => {
                self.pending.extend_from_slice(&block[..length]);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn chunks_are_joined_and_the_next_response_is_left() {
        let input = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let mut client = HttpClient::new(Cursor::new(input.as_bytes().to_vec()));
        assert_eq!(client.read_response().expect("complete").body, b"abc0123456789");
        assert_eq!(client.read_response().expect("complete").body, b"ok");
        assert!(client.read_response().is_err());
    }
}
