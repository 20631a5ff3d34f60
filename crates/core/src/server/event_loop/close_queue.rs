//! Connections that only wait for their clients to close, as the clients have announced.
//!
//! Most clients close at once. Such a connection is therefore not registered with the poller, which would cost as much
//! as the close itself, but checked after a grace period.

use std::collections::VecDeque;

use super::slab::Token;

/// How long after its last response a connection is checked, in milliseconds.
const CLOSE_GRACE: u64 = 20;
/// The maximum number of connections in the queue; with more, the first one is checked early.
const MAX_AWAITING_CLOSE: usize = 128;

#[derive(Default)]
pub(super) struct CloseQueue {
    /// The connections and when each is checked, in the service's milliseconds; in ascending order.
    queue: VecDeque<(Token, u64)>,
}

impl CloseQueue {
    /// Adds a connection. If the queue is full, returns another connection, which has to be checked now.
    pub(super) fn push(&mut self, token: Token, now: u64) -> Option<Token> {
        self.queue.push_back((token, now + CLOSE_GRACE));
        if self.queue.len() > MAX_AWAITING_CLOSE {
            return self.queue.pop_front().map(|(token, _)| token);
        }
        None
    }

    /// Returns when the first connection is checked.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.front().map(|&(_, at)| at)
    }

    /// Takes out a connection that has to be checked by `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Token> {
        self.next_at().filter(|&at| at <= now)?;
        self.queue.pop_front().map(|(token, _)| token)
    }
}
