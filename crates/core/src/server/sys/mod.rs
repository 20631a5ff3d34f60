//! The few system calls that std does not offer, declared by hand because std links them already.
//!
//! One of the two places where `unsafe` may live. Every function here is safe to call: descriptors come in as borrowed
//! or owned std types, or have no owner ([`inherited`]), and every pointer handed to the system points into a value that
//! outlives the call.
//!
//! The rest of the server sees one interface: a [`Handle`] is a borrowed descriptor or socket, [`Raw`] its number.
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

/// -1 and the thread's last error as a `Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A time-out in milliseconds, rounded up so that a deadline has passed when the wait is over; -1 for none.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    match timeout {
        None => -1,
        Some(timeout) => c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX),
    }
}

/// Has the other side of a connection closed it, or at least the half it sends on, as far as the system tells?
pub(super) fn is_hung_up(handle: Handle<'_>) -> bool {
    let mut fds = [PollFd { fd: raw(handle), events: POLLRDHUP, revents: 0 }];
    poll_many(&mut fds, Some(Duration::ZERO)).is_ok_and(|ready| ready > 0)
}

/// Waits until a descriptor is readable or writable; false when the time is up first.
pub(super) fn wait_for(handle: Handle<'_>, writable: bool, timeout: Duration) -> io::Result<bool> {
    // Beyond the clock's end there is no deadline.
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
