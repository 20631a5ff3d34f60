//! An HTTP/1.1 client that sends exactly the bytes of the test, one by one if necessary, and parses responses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::{Response, DEADLINE};

/// How the peer ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end: a FIN, or with TLS a `close_notify`.
    Orderly,
    /// A reset.
    Reset,
    /// The end of the stream where more was due, as a TLS stream without `close_notify` reports it.
    Truncated,
}

/// A client on one connection: a `TcpStream`, or any other stream of bytes.
///
/// Reading and writing give up after [`DEADLINE`]. Apart from the `try_` functions, each function panics when the
/// response cannot be read, and shows what has arrived by then.
pub struct Client<S = TcpStream> {
    /// The underlying stream. The client may have read bytes from it that no function has returned yet.
    pub stream: S,
    buffer: Vec<u8>,
    end: Option<End>,
    fields: String,
}

impl Client {
    /// Connects over TCP.
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> Client {
        match Client::try_connect(address) {
            Ok(client) => client,
            Err(error) => panic!("cannot connect: {error}"),
        }
    }

    /// Connects over TCP.
    ///
    /// # Errors
    ///
    /// Those of `TcpStream::connect`.
    pub fn try_connect(address: impl ToSocketAddrs) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client::on(stream))
    }

    /// Closes the sending side; responses can still be read.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether the connection stays open and nothing arrives on it for this long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let timed_out = |error: io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let silent = self.buffer.is_empty() && self.stream.peek(&mut [0]).is_err_and(timed_out);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }
}

impl<S: Read + Write> Client<S> {
    /// Uses a stream that is connected already.
    pub fn on(stream: S) -> Client<S> {
        Client { stream, buffer: Vec::new(), end: None, fields: String::new() }
    }

    /// Adds fields, each with its line end, to the requests that [`get`](Client::get) and its variants send.
    #[must_use]
    pub fn with_fields(mut self, fields: &str) -> Client<S> {
        self.fields.push_str(fields);
        self
    }

    /// Sends bytes. An error is ignored: a server that has closed the connection may still have sent a response.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends bytes, each with a call of its own, until that fails.
    pub fn send_bytewise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.try_send([*byte]).is_err() {
                return;
            }
        }
    }

    /// Sends a GET request without waiting for the response.
    pub fn send_get(&mut self, path: &str) {
        self.send(self.get_request(path));
    }

    fn get_request(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.fields)
    }

    /// Sends a GET request, and returns when it is running: it is pipelined behind one whose response has arrived.
    #[track_caller]
    pub fn start_get(&mut self, path: &str) {
        self.send(self.get_request("/") + &self.get_request(path));
        self.try_response().unwrap();
    }

    /// Sends a GET request and reads the response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send_get(path);
        self.response()
    }

    /// Sends a GET request and reads the response.
    ///
    /// # Errors
    ///
    /// Those of the stream, and of [`try_response`](Client::try_response).
    pub fn try_get(&mut self, path: &str) -> io::Result<Response> {
        self.try_send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.fields))?;
        self.try_response()
    }

    /// Reads one response. Its body may be incomplete; see [`Response::complete`].
    #[track_caller]
    pub fn response(&mut self) -> Response {
        match self.read_response(false) {
            Ok(response) => response,
            Err(error) => panic!("no response: {error}; received so far: {}", self.buffer.escape_ascii()),
        }
    }

    /// Reads the response to a HEAD request, which has no body whatever its fields say.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        match self.read_response(true) {
            Ok(response) => response,
            Err(error) => panic!("no response: {error}; received so far: {}", self.buffer.escape_ascii()),
        }
    }

    /// Reads one response that is known to be whole.
    ///
    /// # Errors
    ///
    /// Those of the stream; `UnexpectedEof` when the connection ended within the response; `InvalidData` when the
    /// response is malformed or does not say where its body ends.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let response = self.read_response(false)?;
        if !response.is_delimited() {
            return Err(invalid("the response does not say where its body ends"));
        }
        if !response.complete {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended within the body"));
        }
        Ok(response)
    }

    /// Reads until the peer ends the connection, and returns everything that was not read before.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits until the peer ends the connection. Returns true if no other bytes arrived before that.
    #[track_caller]
    pub fn at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// How the peer has ended the connection, once a read has met that end.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether a read has met a reset of the connection.
    pub fn was_reset(&self) -> bool {
        self.end == Some(End::Reset)
    }

    /// Reads and returns this many bytes.
    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more(), "the connection ended after {}", self.buffer.escape_ascii());
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads until `text` has arrived, and returns everything up to its end.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> Vec<u8> {
        let read = self.until_end_or(text);
        assert!(read.ends_with(text.as_bytes()), "{text:?} never arrived: {}", read.escape_ascii());
        read
    }

    /// Reads until `text` has arrived or the connection has ended, and returns everything up to there.
    #[track_caller]
    pub fn until_end_or(&mut self, text: &str) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buffer, text.as_bytes()) {
                return self.buffer.drain(..at + text.len()).collect();
            }
            if !self.more() {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    /// Reads some more bytes; `false` at the end of the connection.
    #[track_caller]
    fn more(&mut self) -> bool {
        match self.try_more() {
            Ok(more) => more,
            Err(error) => panic!("cannot read: {error}; received so far: {}", self.buffer.escape_ascii()),
        }
    }

    fn try_more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        self.end = Some(match self.stream.read(&mut piece) {
            Ok(0) => End::Orderly,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                return Ok(true);
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => return Ok(true),
                ErrorKind::ConnectionReset => End::Reset,
                ErrorKind::UnexpectedEof => End::Truncated,
                _ => return Err(error),
            },
        });
        Ok(false)
    }

    fn read_response(&mut self, to_head: bool) -> io::Result<Response> {
        let head = self.line_until(b"\r\n\r\n")?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("not a response: {head:?}")))?;
        let mut response = Response { status, head, body: Vec::new(), complete: true };
        if to_head || status < 200 || status == 204 || status == 304 {
            return Ok(response);
        }
        if response.field("Transfer-Encoding") == Some("chunked") {
            response.complete = match self.read_chunks(&mut response.body) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
                result => result.map(|()| true)?,
            };
        } else if let Some(length) = response.field("Content-Length") {
            let length = length.parse().map_err(|_| invalid(format!("Content-Length: {length}")))?;
            while self.buffer.len() < length && self.try_more()? {}
            response.complete = self.buffer.len() >= length;
            response.body = self.buffer.drain(..self.buffer.len().min(length)).collect();
        } else {
            while self.try_more()? {}
            response.body = std::mem::take(&mut self.buffer);
            response.complete = self.end == Some(End::Orderly);
        }
        Ok(response)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.line_until(b"\r\n")?;
            let size =
                usize::from_str_radix(line.trim_end(), 16).map_err(|_| invalid(format!("chunk size {line:?}")))?;
            while self.buffer.len() < size + 2 {
                self.expect_more()?;
            }
            body.extend(self.buffer.drain(..size));
            let end: Vec<u8> = self.buffer.drain(..2).collect();
            if end != b"\r\n" {
                return Err(invalid(format!("a chunk ends with {end:?}")));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads everything up to the end of `mark`.
    fn line_until(&mut self, mark: &[u8]) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                let line: Vec<u8> = self.buffer.drain(..at + mark.len()).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.expect_more()?;
        }
    }

    fn expect_more(&mut self) -> io::Result<()> {
        match self.try_more()? {
            true => Ok(()),
            false => Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended")),
        }
    }
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message.into())
}

/// Returns the index at which `needle` first occurs in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose peer sends these bytes and then ends it: orderly, or with an error.
    struct Peer(io::Cursor<Vec<u8>>, Option<ErrorKind>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (self.0.read(buffer)?, self.1) {
                (0, Some(kind)) => Err(kind.into()),
                (count, _) => Ok(count),
            }
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn client(sent: &str, end: Option<ErrorKind>) -> Client<Peer> {
        Client::on(Peer(io::Cursor::new(sent.into()), end))
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let mut client = client(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: 1\r\nx: 2\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest",
            None,
        );
        assert_eq!(client.get("/").text(), "one");
        assert_eq!(client.get("/").status, 304);
        let chunked = client.get("/");
        assert_eq!((chunked.text().as_str(), chunked.fields("X"), chunked.complete), ("two", vec!["1", "2"], true));
        assert_eq!(client.response_to_head().field("content-length"), Some("9"));
        let last = client.response();
        assert_eq!((last.text().as_str(), last.complete, client.end()), ("rest", true, Some(End::Orderly)));
    }

    #[test]
    fn a_cut_body_is_incomplete_and_an_error_for_those_who_want_all_of_it() {
        for sent in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhalf",
        ] {
            let mut reset = client(sent, Some(ErrorKind::ConnectionReset));
            let response = reset.response();
            assert_eq!((response.text().as_str(), response.complete), ("half", false), "{sent:?}");
            assert!(reset.was_reset());
            assert!(client(sent, None).try_get("/").is_err(), "{sent:?}");
        }
        let error = client("HTTP/1.1 200 OK\r\nContent", None).try_response().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
