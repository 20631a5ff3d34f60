//! Connections whose clients have said that they close, and to which everything has been sent.
//!
//! Most clients close at once, so such a connection is not registered with the poller, which would cost as much again as
//! the close: it is looked at after a moment.

use std::collections::VecDeque;

use super::slab::Token;

/// How long after its last response a connection is looked at, in milliseconds.
const CLOSE_GRACE: u64 = 20;
/// The maximum number of such connections; with more, the first of them is looked at earlier.
const MAX_AWAITING_CLOSE: usize = 128;

#[derive(Default)]
pub(super) struct CloseQueue {
    /// Each with when it is looked at, in the service's milliseconds; the first one first.
    queue: VecDeque<(Token, u64)>,
}

impl CloseQueue {
    /// Adds a connection. Returns another one that has to be looked at now.
    pub(super) fn push(&mut self, token: Token, now: u64) -> Option<Token> {
        self.queue.push_back((token, now + CLOSE_GRACE));
        if self.queue.len() > MAX_AWAITING_CLOSE {
            return self.queue.pop_front().map(|(token, _)| token);
        }
        None
    }

    /// When the first connection is looked at.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.front().map(|&(_, at)| at)
    }

    /// Takes a connection out whose time has come.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Token> {
        self.next_at().filter(|&at| at <= now)?;
        self.queue.pop_front().map(|(token, _)| token)
    }
}
