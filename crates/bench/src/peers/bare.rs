//! The limit: one epoll loop that writes the same canned bytes for every blank line it reads. It parses nothing, checks nothing
//! and does not tell the time; whatever a server costs above it is the price of being a server.

use super::{Mode, Site, BODY};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A connection, and how much of `\r\n\r\n` its last read ended with.
struct Connection {
    stream: TcpStream,
    matched: usize,
}

/// Serves until the process is killed.
pub fn serve(site: &Site) -> io::Result<()> {
    let close = site.mode == Mode::Close;
    let answer = answer(close);
    let listener = TcpListener::bind(site.address())?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd())?;

    let mut connections: HashMap<RawFd, Connection> = HashMap::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 512];
    let mut input = vec![0; 65536];
    let mut output = Vec::new();
    loop {
        for event in epoll.wait(&mut events)? {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll.add(stream.as_raw_fd())?;
                    let connection = Connection { stream, matched: 0 };
                    connections.insert(connection.stream.as_raw_fd(), connection);
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&fd) else {
                continue;
            };
            let filled = match connection.stream.read(&mut input) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => 0,
            };
            output.clear();
            for _ in 0..blank_lines(&mut connection.matched, &input[..filled]) {
                output.extend_from_slice(&answer);
            }
            let written = output.is_empty() || connection.stream.write_all(&output).is_ok();
            if filled == 0 || !written || (close && !output.is_empty()) {
                connections.remove(&fd); // Closing the descriptor takes it out of the epoll set, too.
            }
        }
    }
}

fn answer(close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
         {connection}Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

fn blank_lines(matched: &mut usize, bytes: &[u8]) -> usize {
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

struct Epoll(OwnedFd);

impl Epoll {
    #[allow(unsafe_code)]
    fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor is fresh and owned by nobody else.
        unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Epoll(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    #[allow(unsafe_code)]
    fn add(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: `event` lives across the call, which only reads it.
        match unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    #[allow(unsafe_code)]
    fn wait<'a>(&self, events: &'a mut [libc::epoll_event]) -> io::Result<&'a [libc::epoll_event]> {
        let room = events.len() as i32;
        // SAFETY: the kernel writes at most `room` entries into the slice.
        let ready = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, -1) };
        match ready {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Ok(&[]),
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(&events[..ready as usize]),
        }
    }
}
