//! Waking a loop that waits, from any thread.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::sys;

/// A pair of connected sockets; a byte in it makes the loop's end readable.
#[derive(Debug)]
pub(super) struct Wake {
    near: sys::Pair,
    far: sys::Pair,
    /// A byte is on its way; another is not needed.
    pending: AtomicBool,
}

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        let (near, far) = sys::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Wake { near, far, pending: AtomicBool::new(false) })
    }

    pub(super) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // A full pipe wakes, too.
            let _ = (&self.far).write(&[1]);
        }
    }

    /// Called by the loop before it looks for what it was woken for.
    pub(super) fn reset(&self) {
        let mut scrap = [0; 16];
        let _ = (&self.near).read(&mut scrap);
        self.pending.store(false, Ordering::SeqCst);
    }

    pub(super) fn raw(&self) -> sys::Raw {
        sys::raw(sys::handle(&self.near))
    }
}
