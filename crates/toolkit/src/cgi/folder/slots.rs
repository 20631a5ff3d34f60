//! The number of scripts that run at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A counting semaphore with a timeout.
pub(super) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to run one script, until it is dropped.
pub(super) struct Permit(Arc<Slots>);

impl Slots {
    pub(super) fn new(count: usize) -> Arc<Slots> {
        Arc::new(Slots { free: Mutex::new(count), freed: Condvar::new() })
    }

    /// Waits for a free slot, at most this long.
    pub(super) fn acquire(self: &Arc<Slots>, timeout: Duration) -> Option<Permit> {
        let start = Instant::now();
        let mut free = self.lock();
        while *free == 0 {
            let left = timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
            (free, _) = self.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Some(Permit(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_its_permit_is_dropped() {
        let slots = Slots::new(1);
        let permit = slots.acquire(Duration::ZERO).unwrap();
        assert!(slots.acquire(Duration::from_millis(1)).is_none());
        let waiting = std::thread::spawn({
            let slots = slots.clone();
            move || slots.acquire(Duration::from_secs(20)).is_some()
        });
        drop(permit);
        assert!(waiting.join().unwrap());
        assert!(slots.acquire(Duration::ZERO).is_some());
    }
}
