//! How many requests may run at once, over all loops of a group.
//!
//! A *slot* stands for one of [`Runtime::threads`](crate::server::Runtime::threads). A request has one while it runs: in
//! the leader of its loop (`running`), or in a thread that has lost its loop (`detached`). A thread that waits for its
//! client gives its slot up, and takes a new one before it goes on; so slow clients do not keep the slots of others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::load::LoopLoad;
use super::{LoopGroup, Member};
use crate::server::sync::{lock, wait};

/// The maximum number of threads that write request bodies to files at once: more would only wait for the same disk.
const MAX_FILE_WRITES: usize = 16;

impl LoopGroup {
    /// The number of slots that other loops or detached threads have, or may have.
    fn taken_slots(&self, index: usize) -> usize {
        let others = self.members.iter().enumerate().filter(|&(other, _)| other != index);
        let running = others.filter(|(_, member)| member.load.running.load(Ordering::SeqCst)).count();
        self.detached.load(Ordering::SeqCst) + running
    }

    /// The number of requests that this loop may begin, as far as can be seen. A thread that came back from a wait earlier
    /// than the oldest request here goes first.
    #[inline]
    pub(crate) fn available_slots(&self, index: usize) -> usize {
        let mut taken = self.taken_slots(index);
        if self.returning.load(Ordering::SeqCst) > 0 {
            taken += self.returned_before(index, &lock(&self.returned_at));
        }
        self.threads.saturating_sub(taken)
    }

    /// The number of threads that came back earlier than the oldest request in this loop's queue.
    fn returned_before(&self, index: usize, returned_at: &[Instant]) -> usize {
        match *lock(&self.members[index].load.queued_since) {
            Some(oldest) => returned_at.iter().filter(|&&returned| returned <= oldest).count(),
            None => returned_at.len(),
        }
    }

    /// Takes a slot for a request in the leader of this loop. False when there is none. The slot is held until
    /// [`end_call`](LoopGroup::end_call) or [`note_detached`](LoopGroup::note_detached).
    #[inline]
    pub(crate) fn begin_call(&self, index: usize) -> bool {
        let LoopLoad { running, resumed, .. } = &self.members[index].load;
        // A request that has waited in the queue goes before threads that came back later. Only the leader changes the
        // number.
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
            // There is a slot even if every leader runs a request.
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

    /// Frees the slot of a request that the leader of this loop has run.
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

    /// Takes a slot for a request that the leader of this loop gives to another thread.
    pub(crate) fn note_detached(&self, index: usize) {
        self.expect_detached();
        self.end_leading(index);
    }

    /// Takes a slot for a thread that is about to lose its loop while it runs a request.
    pub(crate) fn expect_detached(&self) {
        self.detached.fetch_add(1, Ordering::SeqCst);
    }

    /// Frees the leader's slot: its thread has lost the loop.
    pub(crate) fn end_leading(&self, index: usize) {
        self.members[index].load.running.store(false, Ordering::SeqCst);
    }

    /// Frees the slot of a thread that has lost its loop, and has ended its request.
    pub(crate) fn note_completed(&self, index: usize) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.wake_queues(Some(index));
        self.offer_slot();
    }

    /// Wakes the loops in which requests wait, except one.
    #[inline]
    fn wake_queues(&self, except: Option<usize>) {
        for (index, Member { load, .. }) in self.members.iter().enumerate() {
            if Some(index) != except && load.has_queued.load(Ordering::SeqCst) {
                self.wake(index);
            }
        }
    }

    /// Tells threads that have waited for a client that there may be a slot for them.
    #[inline]
    fn offer_slot(&self) {
        if self.returning.load(Ordering::SeqCst) > 0 {
            let _returned_at = lock(&self.returned_at);
            self.slot_freed.notify_all();
        }
    }

    /// Whether there is only one slot. A thread that waits for its client then keeps it.
    pub(crate) fn runs_one_at_a_time(&self) -> bool {
        self.threads == 1
    }

    /// Allows a thread to wait for its client without a slot: there may be one more thread meanwhile. False when too many
    /// threads do.
    pub(crate) fn reserve_client_wait(&self) -> bool {
        try_count(&self.client_waits, self.max_client_waits)
    }

    /// Withdraws that: the thread keeps its slot.
    pub(crate) fn cancel_client_wait(&self) {
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// Frees the slot of a thread without a loop that waits for its client.
    pub(crate) fn begin_client_wait(&self) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.wake_queues(None);
        self.offer_slot();
    }

    /// Waits for a slot, for a thread that has waited for its client. The thread goes before requests that came later, and
    /// behind those that have waited longer: otherwise clients that send a byte now and then would hold every slot.
    pub(crate) fn end_client_wait(&self) {
        let mut returned_at = lock(&self.returned_at);
        let now = Instant::now();
        returned_at.push(now);
        self.returning.fetch_add(1, Ordering::SeqCst);
        loop {
            let leaders = self.members.iter().filter(|member| member.load.running.load(Ordering::SeqCst)).count();
            if self.detached.load(Ordering::SeqCst) + leaders < self.threads {
                if !self.members.iter().any(|member| member.load.has_waited_since_before(now)) {
                    break;
                }
                // Their loops may not know of the slot.
                self.wake_queues(None);
            }
            returned_at = wait(&self.slot_freed, returned_at);
        }
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.returning.fetch_sub(1, Ordering::SeqCst);
        if let Some(index) = returned_at.iter().position(|&other| other == now) {
            returned_at.swap_remove(index);
        }
        // Until now it was one of the additional threads.
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// Allows a thread to write to a file. False when too many threads do.
    pub(crate) fn begin_file_write(&self) -> bool {
        try_count(&self.file_writes, MAX_FILE_WRITES)
    }

    pub(crate) fn end_file_write(&self) {
        self.file_writes.fetch_sub(1, Ordering::SeqCst);
    }

    /// The number of threads that wait for clients or for the disk.
    pub(crate) fn waiting_threads(&self) -> usize {
        self.client_waits.load(Ordering::SeqCst) + self.file_writes.load(Ordering::SeqCst)
    }

    /// Notes since when the oldest request waits in this loop's queue. The loop has to look for a slot once more
    /// afterwards: a slot that was freed just before has not been announced to it.
    pub(crate) fn note_queued(&self, index: usize, since: Option<Instant>) {
        let load = &self.members[index].load;
        *lock(&load.queued_since) = since;
        load.has_queued.store(since.is_some(), Ordering::SeqCst);
        self.offer_slot();
    }

    /// Notes how many requests have left this loop's queue to run next.
    pub(crate) fn note_resumed(&self, index: usize, count: usize) {
        self.members[index].load.resumed.store(count, Ordering::Relaxed);
    }
}

/// Adds one to a count, unless it has reached its maximum.
fn try_count(count: &AtomicUsize, maximum: usize) -> bool {
    let is_counted = count.fetch_add(1, Ordering::SeqCst) < maximum;
    if !is_counted {
        count.fetch_sub(1, Ordering::SeqCst);
    }
    is_counted
}
