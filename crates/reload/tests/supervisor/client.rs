//! Talking HTTP to workers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for a condition: longer than anything takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A client with a persistent connection.
pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new() }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Starts a request, and returns when it is running: it is pipelined behind one whose response has arrived.
    pub fn start_request(&mut self, path: &str) {
        self.send(&format!("GET / HTTP/1.1\r\n\r\nGET {path} HTTP/1.1\r\n\r\n"));
        self.response().unwrap();
    }

    pub fn get(&mut self, path: &str) -> io::Result<String> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
        self.response()
    }

    /// Reads the next response, and returns its body.
    pub fn response(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
                let (_, rest) = head.split_once("content-length: ").expect("responses have a length");
                let length: usize = rest.lines().next().unwrap().trim().parse().unwrap();
                if self.read.len() >= end + 4 + length {
                    let response: Vec<u8> = self.read.drain(..end + 4 + length).collect();
                    return Ok(String::from_utf8_lossy(&response[end + 4..]).into_owned());
                }
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.read.extend(&piece[..count]),
            }
        }
    }
}
