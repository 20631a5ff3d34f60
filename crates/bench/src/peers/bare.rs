//! The lower bound: one epoll loop that writes the same bytes for every blank line that it reads. It parses nothing,
//! checks nothing and has no clock. The difference to another server is what parsing, checks and the clock cost there.

use super::config::{Mode, PeerConfig, BODY};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// The maximum number of events to take from epoll at once.
const EVENTS: usize = 512;

/// A connection, and the number of bytes of `\r\n\r\n` at the end of its last read.
struct Connection {
    stream: TcpStream,
    matched: usize,
}

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let close = config.mode == Mode::Close;
    let response = response(close);
    let listener = TcpListener::bind(config.address())?;
    listener.set_nonblocking(true)?;
    let listener_id = listener.as_raw_fd() as u64;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(listener_id), EventFlags::IN)?;

    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut input = vec![0; 65536];
    let mut output = Vec::new();
    loop {
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(error) if error == rustix::io::Errno::INTR => continue,
            result => result?,
        };
        for event in events.drain(..) {
            let id = { event.data }.u64();
            if id == listener_id {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let id = stream.as_raw_fd() as u64;
                    epoll::add(&epoll, &stream, EventData::new_u64(id), EventFlags::IN)?;
                    connections.insert(id, Connection { stream, matched: 0 });
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&id) else {
                continue;
            };
            let filled = match connection.stream.read(&mut input) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => 0,
            };
            output.clear();
            for _ in 0..count_blank_lines(&mut connection.matched, &input[..filled]) {
                output.extend_from_slice(&response);
            }
            let written = output.is_empty() || connection.stream.write_all(&output).is_ok();
            if filled == 0 || !written || (close && !output.is_empty()) {
                connections.remove(&id); // Closing the descriptor removes it from epoll, too.
            }
        }
    }
}

fn response(close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
         {connection}Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

fn count_blank_lines(matched: &mut usize, bytes: &[u8]) -> usize {
    let mut count = 0;
    for &byte in bytes {
        *matched = match (byte, *matched) {
            (b'\r', 0 | 2) | (b'\n', 1) => *matched + 1,
            (b'\n', 3) => {
                count += 1;
                0
            }
            (b'\r', _) => 1,
            _ => 0,
        };
    }
    count
}
