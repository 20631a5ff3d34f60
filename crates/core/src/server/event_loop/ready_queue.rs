//! The connections that have something to do, and those whose responses are written together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slab::Token;

/// The maximum number of responses whose first block waits to be written with the batch. What an application holds for
/// each of them stays in the processor's caches for as long as they are few: with 25, a Flask application took half as
/// long again.
const MAX_STREAMING: usize = 8;

pub(super) struct ReadyQueue {
    /// The connections of this batch, each with whether its socket may have something to read.
    batch: VecDeque<(Token, bool)>,
    /// Connections that have more to do, after the events that have become ready meanwhile.
    runnable: Vec<Token>,
    /// Connections whose responses are written when the batch is done.
    pending_flush: Vec<Token>,
    /// The number of those that have more to send.
    streaming: usize,
    /// When the batch began, or when its responses so far were written.
    batch_started: Instant,
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

    /// Begins a batch, or begins to gather responses anew.
    pub(super) fn restart_batch(&mut self) {
        self.batch_started = Instant::now();
    }

    /// How long ago the batch began.
    pub(super) fn batch_age(&self) -> Duration {
        self.batch_started.elapsed()
    }

    pub(super) fn batches_writes(&self) -> bool {
        self.batch_writes
    }

    /// Adds a connection to those that go on after the events that have become ready meanwhile.
    pub(super) fn push_runnable(&mut self, token: Token) {
        self.runnable.push(token);
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    pub(super) fn take_runnable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.runnable)
    }

    /// Adds a connection whose response is written with the batch. True when enough of them have more to send that these
    /// go first.
    pub(super) fn push_flush(&mut self, token: Token, streaming: bool) -> bool {
        self.pending_flush.push(token);
        self.streaming += usize::from(streaming);
        self.streaming >= MAX_STREAMING
    }

    pub(super) fn take_pending_flush(&mut self) -> Vec<Token> {
        self.streaming = 0;
        std::mem::take(&mut self.pending_flush)
    }

    /// Gives the allocation of [`take_pending_flush`](ReadyQueue::take_pending_flush) back.
    pub(super) fn reuse(&mut self, drained: Vec<Token>) {
        if self.pending_flush.is_empty() {
            self.pending_flush = drained;
        }
    }
}
