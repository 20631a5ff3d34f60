//! Before anything is measured, each peer has to give the right answer: a benchmark of errors is fast. The same small client
//! also finds out what a peer cannot do, and holds the idle connections.

use crate::peers::BODY;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answered.
pub struct Answer {
    /// Status line and fields, in lower case.
    pub head: String,
    /// What came after them.
    pub body: Vec<u8>,
}

/// The value of a field of a head in lower case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// A connection that sends requests and checks answers, in the clear or over TLS.
pub struct Client<S = TcpStream> {
    /// What it reads from and writes to.
    pub stream: S,
    pending: Vec<u8>,
    /// The last answer said `Connection: close`.
    announced_close: bool,
}

impl Client {
    /// Connects to the loopback port.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client::over(stream))
    }
}

impl<S: Read + Write> Client<S> {
    /// Goes on over this connection.
    pub fn over(stream: S) -> Self {
        Client { stream, pending: Vec::new(), announced_close: false }
    }

    /// Sends this many requests in one write; `field` is a whole extra field line, or empty.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn send(&mut self, path: &str, field: &str, count: usize) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
        self.stream.write_all(request.repeat(count).as_bytes())
    }

    /// Reads one answer and checks it: status 200, the 13 bytes, `Date`, plain text.
    ///
    /// # Errors
    ///
    /// What the socket says, or what is wrong with the answer.
    pub fn receive(&mut self) -> io::Result<()> {
        self.receive_body(BODY.as_bytes())
    }

    /// As [`receive`](Client::receive), with these bytes instead.
    ///
    /// # Errors
    ///
    /// As [`receive`](Client::receive).
    pub fn receive_body(&mut self, expected: &[u8]) -> io::Result<()> {
        let Answer { head, body } = self.answer()?;
        let value = |name| field(&head, name);
        let length = value("content-length").and_then(|value| value.parse().ok());
        let wrong = [
            (!head.starts_with("http/1.1 200"), "the status is not 200"),
            (length != Some(expected.len()), "Content-Length is another one"),
            (value("date").is_none(), "there is no Date"),
            (
                !value("content-type").is_some_and(|value| value.starts_with("text/plain")),
                "Content-Type is not text/plain",
            ),
        ];
        if let Some((_, what)) = wrong.iter().find(|(wrong, _)| *wrong) {
            return Err(io::Error::other(format!("{what}: {head}")));
        }
        if body != expected {
            return Err(io::Error::other("the body is another one"));
        }
        Ok(())
    }

    /// Reads one answer whatever it says; its body is as long as Content-Length says, and nothing without it.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let head = loop {
            if let Some(at) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.pending.drain(..at + 4).collect::<Vec<u8>>();
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        self.announced_close = field(&head, "connection") == Some("close");
        let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        while self.pending.len() < length {
            self.fill()?;
        }
        Ok(Answer { body: self.pending.drain(..length).collect(), head })
    }

    /// Whether the peer closes the connection now, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 16];
        matches!(self.stream.read(&mut rest), Ok(0)) && self.pending.is_empty()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        let read = self.stream.read(&mut block).map_err(|error| {
            // What a socket says when its read timeout has passed is of no help.
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

/// One kept-alive connection answers twice.
///
/// # Errors
///
/// What was wrong.
pub fn keeps_alive(port: u16) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    for _ in 0..2 {
        client.send("/", "", 1)?;
        client.receive()?;
    }
    Ok(())
}

/// Requests sent in one write are all answered.
///
/// # Errors
///
/// What was wrong.
pub fn pipelines(port: u16, depth: usize) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    client.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.send("/", "", depth)?;
    for number in 0..depth {
        client.receive().map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::Error::other(format!("answers {number} of {depth} pipelined requests")),
            _ => error,
        })?;
    }
    Ok(())
}

/// How a peer ends a connection when the client asked for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Says so in the answer, and closes.
    AsItShould,
    /// Closes, but the answer does not say so.
    Unannounced,
    /// Says so in the answer, and leaves it to the client.
    LeftToTheClient,
}

/// Sends a request with `Connection: close`.
///
/// # Errors
///
/// What was wrong with the answer, or that the connection goes on.
pub fn closes(port: u16) -> io::Result<Close> {
    let mut client = Client::connect(port)?;
    client.send("/", "Connection: close\r\n", 1)?;
    client.receive()?;
    client.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    match (client.announced_close, client.is_closed()) {
        (true, true) => Ok(Close::AsItShould),
        (false, true) => Ok(Close::Unannounced),
        (true, false) => Ok(Close::LeftToTheClient),
        (false, false) => Err(io::Error::other("ignores Connection: close")),
    }
}
