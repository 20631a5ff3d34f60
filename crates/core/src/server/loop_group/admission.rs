//! The limit on how many requests run at once, across all loops of a group.
//!
//! A *slot* is a permit to run one request; there are [`Runtime::threads`](crate::server::Runtime::threads) of them. A
//! request holds a slot while it runs, in the leader of its loop (`running`) or in a thread without the loop
//! (`detached`). A thread that waits for its client releases its slot, and acquires one again before it continues, so
//! slow clients do not take slots from other requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::load::LoopLoad;
use super::{LoopGroup, Member};
use crate::server::sync::{lock, wait};

/// The maximum number of threads that write request bodies to files at once. More of them would only wait for the same
/// disk.
const MAX_FILE_WRITES: usize = 16;

impl LoopGroup {
    /// Returns the number of slots that other loops and detached threads hold, or may hold.
    #[inline]
    fn taken_slots(&self, index: usize) -> usize {
        if self.members.len() == 1 {
            return self.detached.load(Ordering::SeqCst);
        }
        let others = self.members.iter().enumerate().filter(|&(other, _)| other != index);
        let running = others.filter(|(_, member)| member.load.running.load(Ordering::SeqCst)).count();
        self.detached.load(Ordering::SeqCst) + running
    }

    /// Whether a thread that has returned from a client wait waits for a slot.
    #[inline]
    pub(crate) fn has_returning(&self) -> bool {
        self.returning.load(Ordering::SeqCst) > 0
    }

    /// Returns an estimate of the number of requests that this loop may begin. A thread that has returned from a client
    /// wait goes first if it returned before the oldest request was queued here.
    #[inline]
    pub(crate) fn available_slots(&self, index: usize) -> usize {
        let mut taken = self.taken_slots(index);
        if self.has_returning() {
            taken += self.returned_before(index, &lock(&self.returned_at));
        }
        self.threads.saturating_sub(taken)
    }

    /// Returns the number of threads that returned from a client wait before the oldest request of this loop was
    /// queued.
    fn returned_before(&self, index: usize, returned_at: &[Instant]) -> usize {
        match *lock(&self.members[index].load.queued_since) {
            Some(oldest) => returned_at.iter().filter(|&&returned| returned <= oldest).count(),
            None => returned_at.len(),
        }
    }

    /// Acquires a slot for a request in the leader of this loop. Returns false if there is none. The slot is held until
    /// [`end_call`](LoopGroup::end_call) or [`end_leading`](LoopGroup::end_leading).
    #[inline]
    pub(crate) fn begin_call(&self, index: usize) -> bool {
        let LoopLoad { running, resumed, .. } = &self.members[index].load;
        // A request from the queue goes before threads that returned after it was queued. Only the leader changes
        // `resumed`.
        let waited = resumed.load(Ordering::Relaxed);
        if waited > 0 {
            resumed.store(waited - 1, Ordering::Relaxed);
        }
        if self.members.len() == 1 {
            let is_free =
                if waited > 0 { self.taken_slots(index) < self.threads } else { self.available_slots(index) > 0 };
            running.store(is_free, Ordering::Relaxed);
            return is_free;
        }
        // Set before the others are counted, so that of two leaders at least one sees the other.
        running.store(true, Ordering::SeqCst);
        let without_loop = self.detached.load(Ordering::SeqCst) + self.returning.load(Ordering::SeqCst);
        if without_loop + self.leaders.load(Ordering::SeqCst) <= self.threads {
            // There are enough slots even if every leader runs a request.
            return true;
        }
        running.store(false, Ordering::SeqCst);
        let returned_at = lock(&self.returned_at);
        let earlier = if waited > 0 { 0 } else { self.returned_before(index, &returned_at) };
        let is_free = self.taken_slots(index) + earlier < self.threads;
        running.store(is_free, Ordering::SeqCst);
        drop(returned_at);
        is_free
    }

    /// Releases the slot of a request that the leader of this loop has run.
    #[inline]
    pub(crate) fn end_call(&self, index: usize) {
        let running = &self.members[index].load.running;
        if self.members.len() == 1 {
            running.store(false, Ordering::Relaxed);
        } else {
            running.store(false, Ordering::SeqCst);
            self.wake_queues(Some(index));
        }
        self.offer_slot();
    }

    /// Transfers the slot of the leader of this loop to the thread to which it passes its request.
    pub(crate) fn note_detached(&self, index: usize) {
        self.expect_detached();
        self.end_leading(index);
    }

    /// Acquires a slot for a thread that is about to lose the loop while it runs a request.
    pub(crate) fn expect_detached(&self) {
        self.detached.fetch_add(1, Ordering::SeqCst);
    }

    /// Releases the leader's slot, because its thread no longer leads. Called after
    /// [`expect_detached`](LoopGroup::expect_detached), so for a moment the request has counted twice, and another loop
    /// may have queued a request for which there is a slot: it is woken.
    pub(crate) fn end_leading(&self, index: usize) {
        self.members[index].load.running.store(false, Ordering::SeqCst);
        if self.members.len() > 1 {
            self.wake_queues(Some(index));
        }
        self.offer_slot();
    }

    /// Releases the slot of a thread without the loop that has ended its request.
    pub(crate) fn note_completed(&self, index: usize) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.wake_queues(Some(index));
        self.offer_slot();
    }

    /// Wakes the loops that have queued requests, except one.
    #[inline]
    fn wake_queues(&self, except: Option<usize>) {
        for (index, Member { load, .. }) in self.members.iter().enumerate() {
            if Some(index) != except && load.has_queued.load(Ordering::SeqCst) {
                self.wake(index);
            }
        }
    }

    /// Notifies the threads that have returned from a client wait that a slot may be free.
    #[inline]
    fn offer_slot(&self) {
        if self.has_returning() {
            let _returned_at = lock(&self.returned_at);
            self.slot_freed.notify_all();
        }
    }

    /// Whether there is only one slot. A thread then keeps it while it waits for its client.
    pub(crate) fn runs_one_at_a_time(&self) -> bool {
        self.threads == 1
    }

    /// Reserves one of the `max_client_waits` client waits without a slot: the pool may have one more thread during the
    /// wait. Returns false if all are in use.
    pub(crate) fn reserve_client_wait(&self) -> bool {
        try_count(&self.client_waits, self.max_client_waits)
    }

    /// Cancels the reservation: the thread keeps its slot.
    pub(crate) fn cancel_client_wait(&self) {
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// Releases the slot of a detached thread that is about to wait for its client.
    pub(crate) fn begin_client_wait(&self) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.wake_queues(None);
        self.offer_slot();
    }

    /// Acquires a slot for a thread that has waited for its client; blocks until one is free. The thread goes before
    /// requests that were queued later and after those that have waited longer. Otherwise clients that send single
    /// bytes at long intervals would hold every slot.
    pub(crate) fn end_client_wait(&self) {
        let mut returned_at = lock(&self.returned_at);
        let now = Instant::now();
        returned_at.push(now);
        self.returning.fetch_add(1, Ordering::SeqCst);
        loop {
            let leaders = self.members.iter().filter(|member| member.load.running.load(Ordering::SeqCst)).count();
            if self.detached.load(Ordering::SeqCst) + leaders < self.threads {
                if !self.members.iter().any(|member| member.load.has_queued_before(now)) {
                    break;
                }
                // The loops with older requests may not know about the free slot.
                self.wake_queues(None);
            }
            returned_at = wait(&self.slot_freed, returned_at);
        }
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.returning.fetch_sub(1, Ordering::SeqCst);
        if let Some(index) = returned_at.iter().position(|&other| other == now) {
            returned_at.swap_remove(index);
        }
        // The thread counts among `threads` again, no longer as an additional one.
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// Reserves one of the [`MAX_FILE_WRITES`] file writes. Returns false if all are in use.
    pub(crate) fn begin_file_write(&self) -> bool {
        try_count(&self.file_writes, MAX_FILE_WRITES)
    }

    pub(crate) fn end_file_write(&self) {
        self.file_writes.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns the number of threads that wait for clients or for the disk.
    pub(crate) fn waiting_threads(&self) -> usize {
        self.client_waits.load(Ordering::SeqCst) + self.file_writes.load(Ordering::SeqCst)
    }

    /// Notes when the oldest request in this loop's queue was queued; `None` if the queue is empty. The loop has to
    /// check for a free slot once more after this call, because it was not woken for a slot that was released just
    /// before.
    pub(crate) fn note_queued(&self, index: usize, since: Option<Instant>) {
        let load = &self.members[index].load;
        *lock(&load.queued_since) = since;
        load.has_queued.store(since.is_some(), Ordering::SeqCst);
        self.offer_slot();
    }

    /// Notes how many requests have been taken out of this loop's queue to run next.
    pub(crate) fn note_resumed(&self, index: usize, count: usize) {
        self.members[index].load.resumed.store(count, Ordering::Relaxed);
    }
}

/// Increments a count, unless it has reached its maximum. Returns whether it did.
fn try_count(count: &AtomicUsize, maximum: usize) -> bool {
    let is_counted = count.fetch_add(1, Ordering::SeqCst) < maximum;
    if !is_counted {
        count.fetch_sub(1, Ordering::SeqCst);
    }
    is_counted
}
