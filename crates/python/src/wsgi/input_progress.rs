//! How much of a request's body the application has read.

use crate::runtime::sync::lock;
use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The state of a request body that the application reads.
pub(crate) struct InputProgress {
    /// The length of the body; `None` if it is chunked.
    length: Option<u64>,
    /// Whether the body is read as it arrives, so that reading may wait for the client.
    pub(crate) streamed: bool,
    /// Whether the client waits for `100 Continue`, which is sent with the first read.
    expects_continue: bool,
    read: AtomicU64,
    ended: AtomicBool,
    /// The rest of a small body, kept for an application that reads while its response is iterated.
    kept: Mutex<Option<Cursor<Vec<u8>>>>,
}

impl InputProgress {
    pub(crate) fn new(length: Option<u64>, streamed: bool, expects_continue: bool) -> InputProgress {
        let (read, ended) = (AtomicU64::new(0), AtomicBool::new(length == Some(0)));
        InputProgress { length, streamed, expects_continue, read, ended, kept: Mutex::new(None) }
    }

    /// Whether the client still waits for `100 Continue` before it sends the body.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.expects_continue && self.read.load(Ordering::Relaxed) == 0
    }

    /// Returns how many bytes are left; `None` if that is known only at the end of the body.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.ended.load(Ordering::Relaxed) {
            return Some(0);
        }
        self.length.map(|length| length.saturating_sub(self.read.load(Ordering::Relaxed)))
    }

    /// Counts bytes that were read; 0 is the end of the body.
    pub(crate) fn advance(&self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        if count == 0 {
            self.ended.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps the rest of the body for reads after the application's call.
    pub(crate) fn keep(&self, rest: Vec<u8>) {
        *self.kept() = Some(Cursor::new(rest));
    }

    /// Returns the rest of the body that was kept, if any.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Option<Cursor<Vec<u8>>>> {
        lock(&self.kept)
    }
}
