//! Limits how many received connections wait for the supervisor's thread.

use crate::sync::lock;
use std::sync::{Condvar, Mutex, PoisonError};

/// The maximum number of connections that were received and not handled yet (64). Beyond that, workers wait: each may
/// hand back thousands, and each connection needs a descriptor.
const MAX_UNHANDLED: usize = 64;

#[derive(Debug)]
pub(super) struct Semaphore {
    /// How many permits are taken; `None` once the semaphore is closed.
    taken: Mutex<Option<usize>>,
    released: Condvar,
}

impl Semaphore {
    pub(super) fn new() -> Semaphore {
        Semaphore { taken: Mutex::new(Some(0)), released: Condvar::new() }
    }

    /// Waits for a permit. Returns false if the semaphore is closed.
    pub(super) fn acquire(&self) -> bool {
        let taken = lock(&self.taken);
        let is_full = |taken: &mut Option<usize>| taken.is_some_and(|count| count >= MAX_UNHANDLED);
        let mut taken = self.released.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        taken.as_mut().map(|count| *count += 1).is_some()
    }

    pub(super) fn release(&self) {
        self.change(|taken| *taken = taken.map(|count| count.saturating_sub(1)));
    }

    pub(super) fn close(&self) {
        self.change(|taken| *taken = None);
    }

    fn change(&self, change: impl FnOnce(&mut Option<usize>)) {
        change(&mut lock(&self.taken));
        self.released.notify_all();
    }
}
