//! What the loops of a group know of each other's requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::server::sync::lock;

/// The requests of one loop.
#[derive(Default)]
pub(super) struct LoopLoad {
    /// Whether its leader has begun a request, and may still be inside the application.
    pub(super) running: AtomicBool,
    /// Whether complete requests wait in its queue.
    pub(super) has_queued: AtomicBool,
    /// Since when the oldest of them waits.
    pub(super) queued_since: Mutex<Option<Instant>>,
    /// The number of requests that have left its queue and not begun to run.
    pub(super) resumed: AtomicUsize,
}

impl LoopLoad {
    /// Whether a request has waited in the queue since before `time`.
    pub(super) fn has_waited_since_before(&self, time: Instant) -> bool {
        self.has_queued.load(Ordering::SeqCst) && lock(&self.queued_since).is_some_and(|oldest| oldest < time)
    }
}
