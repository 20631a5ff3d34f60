//! Conversions between the values of C functions and std's types.

use std::ffi::c_int;
use std::io;
use std::time::Duration;

/// Turns a negative result into the thread's last error (`errno`).
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Converts a timeout to milliseconds, or to -1 for none. Rounds up, so that the deadline has passed when the wait ends.
pub(super) fn milliseconds(timeout: Option<Duration>) -> c_int {
    match timeout {
        None => -1,
        Some(timeout) => c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX),
    }
}
