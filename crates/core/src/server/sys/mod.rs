//! The few system calls that std does not offer. They are declared by hand, because std links the system's libraries
//! already.
//!
//! This is one of the two modules of the crate with `unsafe` code. Every function here is safe to call: descriptors are
//! passed as borrowed or owned types of std, or have no owner ([`inherited`]), and every pointer that is passed to the
//! system points into a value that outlives the call.
//!
//! The interface is the same on all systems: a [`Handle`] is a borrowed descriptor or socket, and [`Raw`] is its number.
#![allow(unsafe_code)]

#[cfg(unix)]
pub(super) mod inherited;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod plain;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::c_int;
use std::io;
use std::time::{Duration, Instant};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::*;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use plain::*;
#[cfg(unix)]
pub(super) use unix::*;
#[cfg(windows)]
pub(super) use windows::*;

/// Turns a negative result into the thread's last error (`errno`).
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Converts a timeout to milliseconds, or to -1 for none. Rounds up, so that the deadline has passed when the wait ends.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    match timeout {
        None => -1,
        Some(timeout) => c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX),
    }
}

/// Whether the peer has closed the connection, or at least its sending half where the system reports that (POLLRDHUP).
pub(super) fn is_hung_up(handle: Handle<'_>) -> bool {
    let mut fds = [PollFd { fd: raw(handle), events: POLLRDHUP, revents: 0 }];
    poll_many(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
}

/// Waits until a descriptor is readable, or with `writable` until it is writable. False when `timeout` has passed first.
pub(super) fn wait_for(handle: Handle<'_>, writable: bool, timeout: Duration) -> io::Result<bool> {
    // A deadline that the clock can't represent counts as none.
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let events = if writable { POLLOUT } else { POLLIN };
        match poll_many(&mut [PollFd { fd: raw(handle), events, revents: 0 }], Some(left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
