//! Descriptors that this process was started with, each of which can be taken once.
//!
//! A number alone does not prove that a descriptor has no owner: it may belong to a `File` or a `TcpStream` of this
//! program, and taking it would close that file while it is in use. So [`take`] returns a descriptor only if nothing in
//! this process can own it:
//!
//! - It was open when the process began. A function in `.init_array` (`__mod_init_func` on Apple's systems) records the
//!   open descriptors before `main`. No Rust code of the program has run by then, so every descriptor that is open was
//!   inherited and has no owner.
//! - It survives `exec`, both then and when it is taken. An inherited descriptor cannot have FD_CLOEXEC, and every
//!   descriptor that std, this crate or Python opens has it. This check matters if this code is in a library that is
//!   loaded later, as it is in the Python package, and if the program has closed an inherited descriptor whose number was
//!   then reused.
//! - It was not taken before.
//!
//! Unsafe code elsewhere has to uphold the rest: if it makes an owned descriptor of the same number
//! (`OwnedFd::from_raw_fd`), one descriptor has two owners.

use std::ffi::c_int;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::unix::{fcntl, poll_many, redirect_to_null, PollFd};

/// Descriptors from this number on are not recorded. Service managers pass descriptors from 3 on.
const MAX_RECORDED: usize = 1024;
const BITS: usize = u64::BITS as usize;
/// The first number after standard input, output and error. std reads and writes those three by number, so their numbers
/// have to stay open.
const FIRST_NON_STANDARD: RawFd = 3;

/// One bit for each descriptor that was open at the start and has not been taken.
static INHERITED: [AtomicU64; MAX_RECORDED / BITS] = [const { AtomicU64::new(0) }; MAX_RECORDED / BITS];
/// One bit for each descriptor that has been taken.
static TAKEN: [AtomicU64; MAX_RECORDED / BITS] = [const { AtomicU64::new(0) }; MAX_RECORDED / BITS];

// SAFETY: the section is a list of pointers to functions of this type. The loader calls them before `main` or, in a
// library, before `dlopen` returns. This function does not allocate, and it uses nothing that std initialises when it
// starts.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static AT_START: extern "C" fn() = record_open_descriptors;

extern "C" fn record_open_descriptors() {
    /// How many numbers one call of poll(2) checks.
    const CHUNK: usize = 256;
    const POLLNVAL: i16 = 0x20;
    for first in (0..MAX_RECORDED).step_by(CHUNK) {
        let mut fds = [const { PollFd { fd: 0, events: 0, revents: 0 } }; CHUNK];
        for (offset, entry) in fds.iter_mut().enumerate() {
            entry.fd = (first + offset) as RawFd;
        }
        // One call checks many numbers. If the process may not open that many descriptors, the call fails with EINVAL,
        // and each number is checked alone.
        let failed = poll_many(&mut fds, Some(Duration::ZERO)).is_err();
        for entry in fds.iter().filter(|entry| failed || entry.revents & POLLNVAL == 0) {
            if survives_exec(entry.fd) {
                let (word, bit) = bit_position(entry.fd);
                INHERITED[word].fetch_or(bit, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the index of the descriptor's word in the bitmaps, and its bit.
fn bit_position(fd: RawFd) -> (usize, u64) {
    (fd as usize / BITS, 1 << (fd as usize % BITS))
}

/// Whether a descriptor is open and without FD_CLOEXEC.
fn survives_exec(fd: RawFd) -> bool {
    const F_GETFD: c_int = 1;
    const FD_CLOEXEC: c_int = 1;
    // SAFETY: the call takes no pointers and changes nothing. For a number that is not open it fails (EBADF).
    let flags = unsafe { fcntl(fd, F_GETFD) };
    flags >= 0 && flags & FD_CLOEXEC == 0
}

/// Takes a descriptor that this process was started with, if `check` accepts it.
///
/// The result has another number and is close-on-exec, so programs that this process starts do not inherit it. The old
/// number is closed or, if it is below 3, redirected to the null device.
///
/// # Errors
/// When the process was not started with the descriptor, when it was taken or closed since, or with the error of `check`.
pub(in crate::server) fn take(fd: RawFd, check: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<OwnedFd> {
    let fail = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let in_range = usize::try_from(fd).is_ok_and(|number| number < MAX_RECORDED);
    if !in_range {
        return fail("only descriptors from 0 to 1023 that this process was started with can be used");
    }
    let (word, bit) = bit_position(fd);
    // The thread that clears the bit has exclusive access to the descriptor.
    if INHERITED[word].fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
        return fail(if TAKEN[word].load(Ordering::Relaxed) & bit == 0 {
            "this process was not started with that descriptor; open it in the program that starts this one, and keep \
             it open across exec"
        } else {
            "it is in use already; name each descriptor once"
        });
    }
    if !survives_exec(fd) {
        return fail("it was closed after this process was started; keep it open until the server has taken it");
    }
    // SAFETY: `survives_exec` has shown that the descriptor is open. Nothing else owns it, for the reasons in the module's
    // documentation, and this thread has cleared its bit, so nothing closes it during the borrow.
    let copied = unsafe {
        let descriptor = BorrowedFd::borrow_raw(fd);
        check(descriptor).and_then(|()| descriptor.try_clone_to_owned())
    };
    match copied {
        Ok(copy) => {
            TAKEN[word].fetch_or(bit, Ordering::Relaxed);
            if fd < FIRST_NON_STANDARD {
                redirect_to_null(|| std::iter::once(fd));
            } else {
                // SAFETY: the descriptor is open and nothing else owns it, as above. This value is its only owner and closes it.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
            Ok(copy)
        }
        Err(error) => {
            INHERITED[word].fetch_or(bit, Ordering::Release);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn only_descriptors_that_were_open_at_the_start_can_be_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.as_raw_fd();
        for number in [number, -1, RawFd::MAX, MAX_RECORDED as RawFd, MAX_RECORDED as RawFd - 1] {
            let error = take(number, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("started with"), "{number}: {error}");
        }
        assert!(listener.local_addr().is_ok(), "the listener is still open");
        // Standard error is open in every test. A descriptor that `check` has refused can be taken later.
        for _ in 0..2 {
            let error = take(2, |_| Err(io::Error::other("not this one"))).unwrap_err().to_string();
            assert_eq!(error, "not this one");
        }
    }
}
