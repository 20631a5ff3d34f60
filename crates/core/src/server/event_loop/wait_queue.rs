//! The queue of complete requests that wait until the application may run, in order of arrival.

use std::collections::VecDeque;
use std::time::Instant;

use super::slab::{Slab, Token};

#[derive(Default)]
pub(super) struct WaitQueue {
    /// May also hold tokens of connections that have left the queue; `Slot::queued` tells them apart.
    tokens: VecDeque<Token>,
    /// Whether requests are refused with 503 instead of being queued.
    refusing: bool,
}

impl WaitQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.refusing
    }

    /// Begins to refuse requests. Returns false if that had begun already.
    pub(super) fn begin_refusing(&mut self) -> bool {
        !std::mem::replace(&mut self.refusing, true)
    }

    /// Adds a request that has waited since `since`. A request that was taken out but could not run keeps its place at
    /// the front.
    pub(super) fn push(&mut self, slab: &mut Slab, token: Token, since: Option<Instant>) {
        match self.oldest(slab) {
            Some(oldest) if since.is_some_and(|since| since < oldest) => self.tokens.push_front(token),
            _ => self.tokens.push_back(token),
        }
    }

    /// Returns when the first request began to wait.
    pub(super) fn oldest(&mut self, slab: &mut Slab) -> Option<Instant> {
        while let Some(&token) = self.tokens.front() {
            match slab.slot(token) {
                Some(slot) if slot.queued => {
                    return slot.connection.as_ref().and_then(|connection| connection.queued_since());
                }
                // The connection has left the queue.
                _ => self.tokens.pop_front(),
            };
        }
        None
    }

    /// Takes the first request out.
    pub(super) fn pop(&mut self, slab: &mut Slab) -> Option<Token> {
        while let Some(token) = self.tokens.pop_front() {
            // A connection that has left the queue may have given its slot to another one.
            if let Some(slot) = slab.slot(token) {
                if std::mem::take(&mut slot.queued) {
                    return Some(token);
                }
            }
        }
        None
    }
}
