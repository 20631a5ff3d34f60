//! Waiting for one descriptor.

use std::io;
use std::time::{Duration, Instant};

#[cfg(unix)]
use super::unix::{poll_many, raw, Handle, PollFd, POLLIN, POLLOUT, POLLRDHUP};
#[cfg(windows)]
use super::windows::{poll_many, raw, Handle, PollFd, POLLIN, POLLOUT, POLLRDHUP};

/// Whether the peer has closed the connection, or at least its sending half where the system reports that (POLLRDHUP).
pub(in crate::server) fn is_hung_up(handle: Handle<'_>) -> bool {
    let mut fds = [PollFd { fd: raw(handle), events: POLLRDHUP, revents: 0 }];
    poll_many(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
}

/// What a blocking wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The socket has something to read, or the peer has closed.
    Read,
    /// The socket has room for something to write.
    Write,
}

/// Waits until a descriptor is ready. False when `timeout` has passed first.
pub(in crate::server) fn wait_for(handle: Handle<'_>, interest: Interest, timeout: Duration) -> io::Result<bool> {
    // A deadline that the clock can't represent counts as none.
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let events = match interest {
            Interest::Read => POLLIN,
            Interest::Write => POLLOUT,
        };
        match poll_many(&mut [PollFd { fd: raw(handle), events, revents: 0 }], Some(left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
