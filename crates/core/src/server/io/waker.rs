//! Waking an event loop from any thread.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::server::sys;

/// Wakes an event loop: a byte written to one of two connected sockets makes the other one readable, which the loop's
/// poller reports.
#[derive(Debug)]
pub(crate) struct Waker {
    receiver: sys::Pair,
    sender: sys::Pair,
    /// Whether a byte has been written and not read yet, so that another one is not needed.
    pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        let (receiver, sender) = sys::pair()?;
        receiver.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        Ok(Waker { receiver, sender, pending: AtomicBool::new(false) })
    }

    /// Ends the loop's current wait, or its next one.
    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // A full socket buffer already makes the receiver readable.
            let _ = (&self.sender).write(&[1]);
        }
    }

    /// Makes the waker ready for the next call of [`wake`](Waker::wake). The loop calls this before it looks for the reason
    /// of the wake-up, so that no later reason is missed.
    pub(crate) fn reset(&self) {
        let mut discard = [0; 16];
        let _ = (&self.receiver).read(&mut discard);
        self.pending.store(false, Ordering::SeqCst);
    }

    /// Whether the loop will be woken.
    #[cfg(test)]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    /// Returns the descriptor that becomes readable.
    pub(crate) fn raw(&self) -> sys::Raw {
        sys::raw(sys::handle(&self.receiver))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_readable(waker: &Waker) -> bool {
        sys::wait_for(sys::handle(&waker.receiver), sys::Interest::Read, Duration::ZERO).unwrap()
    }

    #[test]
    fn wake_ups_before_a_reset_count_as_one() {
        let waker = Waker::new().unwrap();
        assert!(!is_readable(&waker));
        for _ in 0..1000 {
            waker.wake();
        }
        assert!(is_readable(&waker));
        waker.reset();
        assert!(!is_readable(&waker));
        waker.wake();
        assert!(is_readable(&waker), "a wake-up after the reset is seen");
    }
}
