//! Memory for collected bodies: counted for all of them together, and used again.
//!
//! Fresh memory is dear: the system clears each page when it is first touched, which takes longer than to receive what is
//! put there. So a block that a body has left is kept for the next one, until nobody has wanted it for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Blocks from this size on are kept; smaller ones the allocator keeps by itself.
const KEPT_FROM: usize = 64 * 1024;
/// A spare block may be so many times larger than what is asked for.
const MOST_TOO_LARGE: usize = 2;

/// The memory of all collected bodies of a server.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// Bytes, beyond which no block is kept.
    limit: u64,
    /// Bytes that bodies have.
    taken: AtomicU64,
    /// Bytes of the spare blocks; changes only under their lock.
    spare_bytes: AtomicU64,
    spare: Mutex<Spare>,
}

/// Blocks that no body has, the ones used last at the end.
#[derive(Debug, Default)]
struct Spare {
    blocks: Vec<Vec<u8>>,
    /// So many from the front have not been wanted since the last look.
    untouched: usize,
}

impl BodyMemory {
    /// Keeps blocks as long as they and those of bodies are at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> BodyMemory {
        let (taken, spare_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        BodyMemory { limit, taken, spare_bytes, spare: Mutex::default() }
    }

    /// Bytes that bodies have.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A block of at least `size` bytes, all of them initialised.
    pub(crate) fn take(&self, size: usize) -> Vec<u8> {
        let block = self.take_spare(size).unwrap_or_else(|| vec![0; size]);
        self.taken.fetch_add(block.len() as u64, Ordering::Relaxed);
        block
    }

    fn take_spare(&self, size: usize) -> Option<Vec<u8>> {
        if size < KEPT_FROM / MOST_TOO_LARGE || self.spare_bytes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut spare = self.spare()?;
        let fits = |block: &Vec<u8>| block.len() >= size && block.len() <= size.saturating_mul(MOST_TOO_LARGE);
        let index = spare.blocks.iter().rposition(fits)?;
        let block = spare.blocks.remove(index);
        spare.untouched = spare.untouched.min(index);
        self.spare_bytes.fetch_sub(block.len() as u64, Ordering::Relaxed);
        Some(block)
    }

    /// Takes a block back, as it was given or empty.
    pub(crate) fn give_back(&self, block: Vec<u8>) {
        let taken = self.taken.fetch_sub(block.len() as u64, Ordering::Relaxed);
        if block.len() < KEPT_FROM {
            return;
        }
        let Some(mut spare) = self.spare() else { return };
        if taken + self.spare_bytes.load(Ordering::Relaxed) <= self.limit {
            self.spare_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
            spare.blocks.push(block);
        }
    }

    /// Is there something that [`trim`](BodyMemory::trim) may free?
    pub(crate) fn has_spare(&self) -> bool {
        self.spare_bytes.load(Ordering::Relaxed) > 0
    }

    /// Frees the blocks that nobody has wanted since this was called last.
    pub(crate) fn trim(&self) {
        let Some(mut spare) = self.spare() else { return };
        let untouched = spare.untouched;
        let freed: usize = spare.blocks.drain(..untouched).map(|block| block.len()).sum();
        spare.untouched = spare.blocks.len();
        self.spare_bytes.fetch_sub(freed as u64, Ordering::Relaxed);
    }

    /// Waits for nobody: in a process that the application has forked, a lock may be held for ever.
    fn spare(&self) -> Option<MutexGuard<'_, Spare>> {
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
    fn blocks_are_used_again_and_freed_when_nobody_wants_them() {
        let memory = BodyMemory::new(16 << 20);
        let first = memory.take(100_000);
        let address = first.as_ptr();
        assert_eq!((first.len(), memory.taken(), memory.has_spare()), (100_000, 100_000, false));
        memory.give_back(first);
        assert_eq!((memory.taken(), memory.has_spare()), (0, true));

        // Too small, and too large by far: neither is taken for the other.
        assert_eq!((memory.take(100_001).len(), memory.take(20_000).len()), (100_001, 20_000));
        let again = memory.take(50_000);
        assert_eq!((again.as_ptr(), again.len(), memory.has_spare()), (address, 100_000, false));
        memory.give_back(again);

        memory.trim();
        assert!(memory.has_spare(), "it was wanted since the last look");
        memory.trim();
        assert!(!memory.has_spare());
    }

    #[test]
    fn what_is_in_use_all_the_time_is_not_freed() {
        let memory = BodyMemory::new(16 << 20);
        let blocks: Vec<_> = (0..3).map(|_| memory.take(1 << 20)).collect();
        blocks.into_iter().for_each(|block| memory.give_back(block));
        for _ in 0..5 {
            let block = memory.take(1 << 20);
            memory.trim();
            memory.give_back(block);
        }
        // Only the one that was taken each time is left.
        assert_eq!(memory.spare_bytes.load(Ordering::Relaxed), 1 << 20);
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let memory = BodyMemory::new(16 << 20);
        let blocks: Vec<_> = (0..20).map(|_| memory.take(1 << 20)).collect();
        blocks.into_iter().for_each(|block| memory.give_back(block));
        assert_eq!((memory.taken(), memory.spare_bytes.load(Ordering::Relaxed)), (0, 16 << 20));
        memory.give_back(memory.take(100));
        assert_eq!(memory.taken(), 0);
    }
}
