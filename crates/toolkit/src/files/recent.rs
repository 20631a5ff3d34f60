//! Paths that were found to be files a moment ago.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The number of paths that are remembered; those with the same place in the table replace each other.
const PLACES: usize = 256;
/// The bits of an entry that hold the second in which the path was found; the others hold a hash of the path.
const SECOND: u64 = 0xffff;

/// A table of paths that were found in this second or the one before. It saves a look into the file system for each
/// request; a file that is deleted meanwhile is remembered for two seconds at most.
///
/// The hash has a random key, so a path that is not a file can't be made to look like one that is.
#[derive(Debug)]
pub(super) struct Recent {
    places: Box<[AtomicU64]>,
    keys: RandomState,
    started: Instant,
}

impl Recent {
    pub fn new() -> Recent {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Recent { places, keys: RandomState::new(), started: Instant::now() }
    }

    pub fn contains(&self, path: &[u8]) -> bool {
        let (place, entry) = self.entry(path, self.second());
        let known = place.load(Ordering::Relaxed);
        let age = entry.wrapping_sub(known) & SECOND;
        known & !SECOND == entry & !SECOND && age <= 1
    }

    pub fn insert(&self, path: &[u8]) {
        let (place, entry) = self.entry(path, self.second());
        place.store(entry, Ordering::Relaxed);
    }

    fn entry(&self, path: &[u8], second: u64) -> (&AtomicU64, u64) {
        let hash = self.keys.hash_one(path);
        (&self.places[hash as usize % PLACES], hash & !SECOND | second & SECOND)
    }

    /// The current second; never 0, which is that of an empty place.
    fn second(&self) -> u64 {
        self.started.elapsed().as_secs() + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_remembered_for_this_second_and_the_next() {
        let recent = Recent::new();
        assert!(!recent.contains(b"/a"));
        recent.insert(b"/a");
        assert!(recent.contains(b"/a") && !recent.contains(b"/b"));
        let (place, old) = recent.entry(b"/a", recent.second() - 2);
        place.store(old, Ordering::Relaxed);
        assert!(!recent.contains(b"/a"));
    }
}
