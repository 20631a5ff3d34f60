//! Descriptors that this process was started with, each to be taken once.
//!
//! A number proves nothing: the descriptor may belong to a `File` or a `TcpStream` of this program, and taking it would
//! close that one's file under it. So [`take`] gives a descriptor only where nothing in this process can own it:
//!
//! - It was open when the process began. A function in `.init_array` (`__mod_init_func` on Apple's systems) notes that
//!   before `main`, when no Rust code of the program has run, so what is open then was inherited and has no owner.
//! - It survives `exec`, then and when it is taken. An inherited descriptor cannot have FD_CLOEXEC, and everything that
//!   std, this crate or Python opens has it. That matters where this code is in a library which is loaded later, as it
//!   is in the Python package, and where somebody has closed an inherited number that was then used again.
//! - It was not taken before.
//!
//! What remains is for unsafe code to uphold: who turns the number into an owned descriptor elsewhere
//! (`OwnedFd::from_raw_fd`) and takes it here as well has two owners of one descriptor.

use std::ffi::c_int;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::unix::{fcntl, poll_many, redirect_to_null, PollFd};

/// Numbers from here on are not noted: service managers pass descriptors from 3 on.
const NOTED: usize = 1024;
const BITS: usize = u64::BITS as usize;
/// Standard input, output and error: std reads and writes them whatever they are, so their numbers have to stay open.
const STANDARD: RawFd = 3;

static INHERITED: [AtomicU64; NOTED / BITS] = [const { AtomicU64::new(0) }; NOTED / BITS];
static TAKEN: [AtomicU64; NOTED / BITS] = [const { AtomicU64::new(0) }; NOTED / BITS];

// SAFETY: the section is a list of functions of this type, which the loader calls before `main` or, in a library,
// before `dlopen` returns. This one allocates nothing and uses nothing that std initialises at its start.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static AT_START: extern "C" fn() = note;

extern "C" fn note() {
    const AT_ONCE: usize = 256;
    const POLLNVAL: i16 = 0x20;
    for first in (0..NOTED).step_by(AT_ONCE) {
        let mut fds = [const { PollFd { fd: 0, events: 0, revents: 0 } }; AT_ONCE];
        for (offset, entry) in fds.iter_mut().enumerate() {
            entry.fd = (first + offset) as RawFd;
        }
        // One call for many numbers; where the process may not open as many (EINVAL), each is looked at.
        let all = poll_many(&mut fds, Some(Duration::ZERO)).is_err();
        for entry in fds.iter().filter(|entry| all || entry.revents & POLLNVAL == 0) {
            if survives_exec(entry.fd) {
                let (word, bit) = place(entry.fd);
                INHERITED[word].fetch_or(bit, Ordering::Relaxed);
            }
        }
    }
}

fn place(fd: RawFd) -> (usize, u64) {
    (fd as usize / BITS, 1 << (fd as usize % BITS))
}

/// Whether a descriptor is open and without FD_CLOEXEC.
fn survives_exec(fd: RawFd) -> bool {
    const F_GETFD: c_int = 1;
    const FD_CLOEXEC: c_int = 1;
    // SAFETY: takes no pointers, changes nothing, and fails where nothing is open.
    let flags = unsafe { fcntl(fd, F_GETFD) };
    flags >= 0 && flags & FD_CLOEXEC == 0
}

/// Takes a descriptor that this process was started with, if `is_right` says so. It gets another number, which no
/// program that this one starts inherits; the old one is closed, or stands for the null device below 3.
pub(in crate::server) fn take(
    fd: RawFd,
    is_right: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let fail = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let in_range = usize::try_from(fd).is_ok_and(|number| number < NOTED);
    if !in_range {
        return fail("it is not one of the descriptors that this process was started with");
    }
    let (word, bit) = place(fd);
    // Whoever clears the bit has the descriptor to itself.
    if INHERITED[word].fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
        return fail(if TAKEN[word].load(Ordering::Relaxed) & bit == 0 {
            "this process was not started with that descriptor; open it in the program that starts this one, and keep \
             it open across exec"
        } else {
            "it is in use already; name each descriptor once"
        });
    }
    if !survives_exec(fd) {
        return fail("it was closed since this process was started");
    }
    // SAFETY: it is open, and for as long as this function runs nothing else owns it: see the module's description.
    let copied = unsafe {
        let descriptor = BorrowedFd::borrow_raw(fd);
        is_right(descriptor).and_then(|()| descriptor.try_clone_to_owned())
    };
    match copied {
        Ok(copy) => {
            TAKEN[word].fetch_or(bit, Ordering::Relaxed);
            if fd < STANDARD {
                redirect_to_null(|| std::iter::once(fd));
            } else {
                // SAFETY: as above; this is its only owner, and closes it.
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
    fn only_what_was_there_at_the_start_is_given() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.as_raw_fd();
        for number in [number, -1, RawFd::MAX, NOTED as RawFd, NOTED as RawFd - 1] {
            let error = take(number, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("started with"), "{number}: {error}");
        }
        assert!(listener.local_addr().is_ok(), "it is still open");
        // Standard error is there for every test. What is not right now can be taken later.
        for _ in 0..2 {
            let error = take(2, |_| Err(io::Error::other("not this one"))).unwrap_err().to_string();
            assert_eq!(error, "not this one");
        }
    }
}
