//! The state of a loop's requests that all loops of the group can read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Instant;

use crate::server::sync::lock;

/// The state of one loop's requests.
#[derive(Default)]
pub(super) struct LoopLoad {
    /// Whether the loop's leader holds a slot for a request.
    pub(super) running: AtomicBool,
    /// Whether the loop has queued requests.
    pub(super) has_queued: AtomicBool,
    /// When the oldest queued request was queued.
    pub(super) queued_since: Mutex<Option<Instant>>,
    /// The number of requests that have been taken out of the queue but have not begun to run.
    pub(super) resumed: AtomicUsize,
}

impl LoopLoad {
    /// Whether a queued request was queued before `time`.
    pub(super) fn has_queued_before(&self, time: Instant) -> bool {
        self.has_queued.load(Ordering::SeqCst) && lock(&self.queued_since).is_some_and(|oldest| oldest < time)
    }
}
