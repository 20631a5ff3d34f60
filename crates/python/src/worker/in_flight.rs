//! Counts the server threads of this process that are inside an application.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Returns how many server threads are inside an application, including those that wait for the GIL.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Marks this thread as being inside an application until it is dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn begin() -> InFlight {
        COUNT.fetch_add(1, Ordering::Relaxed);
        InFlight(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}
