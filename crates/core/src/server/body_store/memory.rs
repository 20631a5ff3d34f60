//! Memory blocks for collected bodies, counted together and reused.
//!
//! Fresh memory is expensive: the system clears each page when it is first touched, which takes longer than to receive
//! the bytes that are stored there. So a block that a body has released is kept for the next body, until it has not been
//! used for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// The minimum size of a block that is kept, in bytes. The allocator itself keeps smaller ones.
const MIN_KEPT_SIZE: usize = 64 * 1024;
/// The maximum ratio of a spare block's size to the size that is asked for.
const MAX_SIZE_RATIO: usize = 2;

/// The memory of all collected bodies of a server.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// The maximum total size of the blocks in use and the spare ones, in bytes. A block is not kept beyond it.
    limit: u64,
    /// The total size of the blocks that bodies use, in bytes.
    in_use: AtomicU64,
    /// The total size of the spare blocks, in bytes. Changes only while `spare` is locked.
    spare_bytes: AtomicU64,
    spare: Mutex<Spare>,
}

/// Blocks that no body uses. The most recently used ones are at the end.
#[derive(Debug, Default)]
struct Spare {
    blocks: Vec<Vec<u8>>,
    /// The number of blocks, from the front, that have not been used since the last call of [`BodyMemory::trim`].
    idle: usize,
}

impl BodyMemory {
    /// Keeps blocks while they and the blocks in use are at most `limit` bytes in total.
    pub(crate) fn new(limit: u64) -> BodyMemory {
        let (in_use, spare_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        BodyMemory { limit, in_use, spare_bytes, spare: Mutex::default() }
    }

    /// Returns the total size of the blocks that bodies use, in bytes.
    pub(crate) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Returns a block of at least `size` bytes, all of them initialised.
    pub(crate) fn acquire(&self, size: usize) -> Vec<u8> {
        let block = self.acquire_spare(size).unwrap_or_else(|| vec![0; size]);
        self.in_use.fetch_add(block.len() as u64, Ordering::Relaxed);
        block
    }

    fn acquire_spare(&self, size: usize) -> Option<Vec<u8>> {
        if size < MIN_KEPT_SIZE / MAX_SIZE_RATIO || self.spare_bytes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut spare = self.try_lock_spare()?;
        let fits = |block: &Vec<u8>| block.len() >= size && block.len() <= size.saturating_mul(MAX_SIZE_RATIO);
        let index = spare.blocks.iter().rposition(fits)?;
        let block = spare.blocks.remove(index);
        spare.idle = spare.idle.min(index);
        self.spare_bytes.fetch_sub(block.len() as u64, Ordering::Relaxed);
        Some(block)
    }

    /// Takes back a block of [`acquire`](BodyMemory::acquire), with its length unchanged. An empty `Vec` is allowed.
    pub(crate) fn release(&self, block: Vec<u8>) {
        let in_use = self.in_use.fetch_sub(block.len() as u64, Ordering::Relaxed);
        if block.len() < MIN_KEPT_SIZE {
            return;
        }
        let Some(mut spare) = self.try_lock_spare() else { return };
        if in_use + self.spare_bytes.load(Ordering::Relaxed) <= self.limit {
            self.spare_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
            spare.blocks.push(block);
        }
    }

    /// Whether [`trim`](BodyMemory::trim) may have a block to free, in this call or the next.
    pub(crate) fn has_spare(&self) -> bool {
        self.spare_bytes.load(Ordering::Relaxed) > 0
    }

    /// Frees the blocks that have not been used since the last call.
    pub(crate) fn trim(&self) {
        let Some(mut spare) = self.try_lock_spare() else { return };
        let idle = spare.idle;
        let freed: usize = spare.blocks.drain(..idle).map(|block| block.len()).sum();
        spare.idle = spare.blocks.len();
        self.spare_bytes.fetch_sub(freed as u64, Ordering::Relaxed);
    }

    /// Locks the spare blocks without waiting: in a process that the application has forked, the lock may be held by a
    /// thread that does not exist there and never releases it.
    fn try_lock_spare(&self) -> Option<MutexGuard<'_, Spare>> {
        match self.spare.try_lock() {
            Ok(spare) => Some(spare),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_reused_and_freed_when_they_are_idle() {
        let memory = BodyMemory::new(16 << 20);
        let first = memory.acquire(100_000);
        let address = first.as_ptr();
        assert_eq!((first.len(), memory.in_use(), memory.has_spare()), (100_000, 100_000, false));
        memory.release(first);
        assert_eq!((memory.in_use(), memory.has_spare()), (0, true));

        // The spare block is too small for the first request, and far too large for the second.
        assert_eq!((memory.acquire(100_001).len(), memory.acquire(20_000).len()), (100_001, 20_000));
        let reused = memory.acquire(50_000);
        assert_eq!((reused.as_ptr(), reused.len(), memory.has_spare()), (address, 100_000, false));
        memory.release(reused);

        memory.trim();
        assert!(memory.has_spare(), "the block was used since the last trim");
        memory.trim();
        assert!(!memory.has_spare());
    }

    #[test]
    fn a_block_that_is_used_between_trims_is_not_freed() {
        let memory = BodyMemory::new(16 << 20);
        let blocks: Vec<_> = (0..3).map(|_| memory.acquire(1 << 20)).collect();
        blocks.into_iter().for_each(|block| memory.release(block));
        for _ in 0..5 {
            let block = memory.acquire(1 << 20);
            memory.trim();
            memory.release(block);
        }
        // Only the block that was used each time is left.
        assert_eq!(memory.spare_bytes.load(Ordering::Relaxed), 1 << 20);
    }

    #[test]
    fn spare_blocks_never_exceed_the_limit() {
        let memory = BodyMemory::new(16 << 20);
        let blocks: Vec<_> = (0..20).map(|_| memory.acquire(1 << 20)).collect();
        blocks.into_iter().for_each(|block| memory.release(block));
        assert_eq!((memory.in_use(), memory.spare_bytes.load(Ordering::Relaxed)), (0, 16 << 20));
        memory.release(memory.acquire(100));
        assert_eq!(memory.in_use(), 0);
    }
}
