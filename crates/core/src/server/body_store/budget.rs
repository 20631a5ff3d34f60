//! The memory and the file space that the collected bodies of all connections take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::memory::BodyMemory;
use crate::server::settings::Limits;

/// The memory and the file space that the collected bodies of all connections take, in bytes.
#[derive(Debug)]
pub(in crate::server) struct BodyBudget {
    pub(in crate::server) memory: BodyMemory,
    /// The total length of the bodies' temporary files.
    file_bytes: AtomicU64,
}

impl BodyBudget {
    pub(in crate::server) fn new(limits: &Limits) -> Arc<BodyBudget> {
        Arc::new(BodyBudget { memory: BodyMemory::new(limits.bodies_memory), file_bytes: AtomicU64::new(0) })
    }

    /// Reserves space in temporary files. False when all files together would exceed `limit`.
    pub(super) fn reserve_file_bytes(&self, count: u64, limit: u64) -> bool {
        self.file_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(count).filter(|&sum| sum <= limit)
            })
            .is_ok()
    }

    /// Counts a file that exists already, without a limit.
    pub(super) fn add_file_bytes(&self, count: u64) {
        self.file_bytes.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn release_file_bytes(&self, count: u64) {
        self.file_bytes.fetch_sub(count, Ordering::Relaxed);
    }

    /// Returns the bytes in memory and the bytes in files.
    #[cfg(test)]
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.memory.in_use(), self.file_bytes.load(Ordering::Relaxed))
    }
}
