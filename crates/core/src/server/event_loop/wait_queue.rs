//! Complete requests that wait until an application may run for them, in the order in which they came.

use std::collections::VecDeque;
use std::time::Instant;

use super::slab::{Slab, Token};

#[derive(Default)]
pub(super) struct WaitQueue {
    /// Also holds connections that have left the queue meanwhile; their slots say so.
    tokens: VecDeque<Token>,
    /// Whether no request may wait any more: each gets 503.
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

    /// Refuses all requests from now on. True when that is new.
    pub(super) fn begin_refusing(&mut self) -> bool {
        !std::mem::replace(&mut self.refusing, true)
    }

    /// Adds a request that waits since `since`. One that was admitted, and could not run after all, keeps its place.
    pub(super) fn push(&mut self, slab: &mut Slab, token: Token, since: Option<Instant>) {
        match self.oldest(slab) {
            Some(oldest) if since.is_some_and(|since| since < oldest) => self.tokens.push_front(token),
            _ => self.tokens.push_back(token),
        }
    }

    /// When the first request began to wait.
    pub(super) fn oldest(&mut self, slab: &mut Slab) -> Option<Instant> {
        while let Some(&token) = self.tokens.front() {
            match slab.slot(token) {
                Some(slot) if slot.queued => {
                    return slot.connection.as_ref().and_then(|connection| connection.queued_since());
                }
                // It has left the queue.
                _ => self.tokens.pop_front(),
            };
        }
        None
    }

    /// Takes the first request out.
    pub(super) fn pop(&mut self, slab: &mut Slab) -> Option<Token> {
        while let Some(token) = self.tokens.pop_front() {
            // Some have left the queue, and their slot may be another connection's.
            if let Some(slot) = slab.slot(token) {
                if std::mem::take(&mut slot.queued) {
                    return Some(token);
                }
            }
        }
        None
    }
}
