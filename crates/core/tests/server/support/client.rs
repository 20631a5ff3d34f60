//! A client that speaks raw bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::DEADLINE;

/// One answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Status line and fields as sent, with the empty line.
    pub head: String,
    /// Without chunk framing.
    pub body: Vec<u8>,
    /// Did the body end as its framing says?
    pub complete: bool,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client that speaks raw bytes, and gives up after [`DEADLINE`].
pub struct Client<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    /// Ended by a reset instead of an orderly end.
    pub reset: bool,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Client::on(stream)
    }

    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Is there nothing to read, and the connection open, for this long?
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = self.buffer.is_empty()
            && matches!(self.stream.peek(&mut [0]), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }
}

impl<S: Read + Write> Client<S> {
    pub fn on(stream: S) -> Client<S> {
        Client { stream, buffer: Vec::new(), reset: false }
    }

    /// Sends; the server may have closed already, which is for the answer to tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn send_bytewise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.response()
    }

    /// Reads some more; false at the end.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.reset = true;
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("no answer: {error}; so far: {}", self.buffer.escape_ascii()),
        }
    }

    /// Everything until the server closes.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    #[track_caller]
    pub fn at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more(), "ended after {}", self.buffer.escape_ascii());
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads until `text` has come, and returns everything up to its end.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buffer, text.as_bytes()) {
                return self.buffer.drain(..at + text.len()).collect();
            }
            assert!(self.more(), "{text:?} never came: {}", self.buffer.escape_ascii());
        }
    }

    /// Everything up to `text`, or up to the end when that comes first.
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

    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.answer(false)
    }

    /// The answer to a HEAD request: no body, whatever the fields say.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        self.answer(true)
    }

    #[track_caller]
    fn answer(&mut self, to_head: bool) -> Response {
        let head = String::from_utf8_lossy(&self.until("\r\n\r\n")).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let mut response = Response { status, head, body: Vec::new(), complete: true };
        if to_head || status < 200 || status == 204 || status == 304 {
            return response;
        }
        if response.field("Transfer-Encoding") == Some("chunked") {
            response.complete = self.chunks(&mut response.body);
        } else if let Some(length) = response.field("Content-Length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length && self.more() {}
            response.complete = self.buffer.len() >= length;
            let there = self.buffer.len().min(length);
            response.body = self.buffer.drain(..there).collect();
        } else {
            response.body = self.rest();
            response.complete = !self.reset;
        }
        response
    }

    #[track_caller]
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let line = loop {
                if let Some(at) = find(&self.buffer, b"\r\n") {
                    break String::from_utf8(self.buffer.drain(..at + 2).collect()).unwrap();
                }
                if !self.more() {
                    return false;
                }
            };
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
            while self.buffer.len() < size + 2 {
                if !self.more() {
                    return false;
                }
            }
            body.extend(self.buffer.drain(..size));
            let end: Vec<u8> = self.buffer.drain(..2).collect();
            assert_eq!(end, b"\r\n");
            if size == 0 {
                return true;
            }
        }
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
