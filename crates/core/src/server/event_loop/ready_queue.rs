//! The connections that have something to do: now, after the next poll, or when the batch is done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slab::Token;

/// The number of unfinished responses in the batch at which their first blocks are written at once. With few of them,
/// the application's data for each stays in the processor's caches: with 25, a Flask application took half as long
/// again.
const MAX_STREAMING: usize = 8;

pub(super) struct ReadyQueue {
    /// The connections of the batch. The flag says whether the socket may have something to read.
    batch: VecDeque<(Token, bool)>,
    /// Connections that have more to do. They follow the connections that the next poll finds ready.
    runnable: Vec<Token>,
    /// Connections with responses that are written when the batch is done.
    pending_flush: Vec<Token>,
    /// The number of connections in `pending_flush` whose response is not complete.
    streaming: usize,
    /// When the batch began, or when its responses were last written.
    batch_started: Instant,
    /// How many times [`is_batch_older_than`](ReadyQueue::is_batch_older_than) answers without reading the clock.
    answers_without_clock: u32,
    /// Whether the responses of a batch are written together.
    batch_writes: bool,
}

impl ReadyQueue {
    pub(super) fn new(batch_writes: bool) -> ReadyQueue {
        ReadyQueue {
            batch: VecDeque::new(),
            runnable: Vec::new(),
            pending_flush: Vec::new(),
            streaming: 0,
            batch_started: Instant::now(),
            answers_without_clock: 0,
            batch_writes,
        }
    }

    pub(super) fn push(&mut self, token: Token, readable: bool) {
        self.batch.push_back((token, readable));
    }

    pub(super) fn push_front(&mut self, token: Token, readable: bool) {
        self.batch.push_front((token, readable));
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Token, bool)> {
        self.batch.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Whether a connection is among the first `length` of the batch.
    pub(super) fn contains(&self, token: Token, length: usize) -> bool {
        self.batch.iter().take(length).any(|&(other, _)| other == token)
    }

    /// Restarts the batch's clock: a new batch begins, or its responses have been written.
    pub(super) fn restart_batch(&mut self) {
        self.batch_started = Instant::now();
        self.answers_without_clock = 0;
    }

    /// Returns how long ago the batch began, or its responses were last written.
    pub(super) fn batch_age(&self) -> Duration {
        self.batch_started.elapsed()
    }

    /// Whether the batch is older than `limit`. Asked after each response, and reads the clock after some of them.
    pub(super) fn is_batch_older_than(&mut self, limit: Duration) -> bool {
        if self.answers_without_clock > 0 {
            self.answers_without_clock -= 1;
            return false;
        }
        let age = self.batch_age();
        // If all responses so far took less than a quarter of the limit, the next three will hardly exceed it.
        self.answers_without_clock = if age < limit / 4 { 3 } else { 0 };
        age > limit
    }

    pub(super) fn batches_writes(&self) -> bool {
        self.batch_writes
    }

    /// Adds a connection that continues after the connections that the next poll finds ready.
    pub(super) fn push_runnable(&mut self, token: Token) {
        self.runnable.push(token);
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// Whether anything is to be done: a connection of the batch, one that continues, or a response to write.
    pub(super) fn has_pending(&self) -> bool {
        !self.batch.is_empty() || !self.runnable.is_empty() || !self.pending_flush.is_empty()
    }

    pub(super) fn take_runnable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.runnable)
    }

    /// Adds a connection whose response is written with the batch. Returns true if [`MAX_STREAMING`] of these responses
    /// are unfinished, so that all have to be written now.
    pub(super) fn push_flush(&mut self, token: Token, streaming: bool) -> bool {
        self.pending_flush.push(token);
        self.streaming += usize::from(streaming);
        self.streaming >= MAX_STREAMING
    }

    pub(super) fn take_pending_flush(&mut self) -> Vec<Token> {
        self.streaming = 0;
        std::mem::take(&mut self.pending_flush)
    }

    /// Returns the allocation of [`take_pending_flush`](ReadyQueue::take_pending_flush) for further use.
    pub(super) fn reuse(&mut self, drained: Vec<Token>) {
        if self.pending_flush.is_empty() {
            self.pending_flush = drained;
        }
    }
}
