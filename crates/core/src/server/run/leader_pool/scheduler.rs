//! The scheduler of a connection that is advanced by a thread of the pool.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::LeaderPool;
use crate::server::event_loop::EventLoop;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::sync::lock;

/// A thread of the pool while it advances a connection: the leader, a thread that was the leader when the current
/// request began, or a thread that never had the loop.
pub(super) struct PoolThread<'p> {
    pool: &'p Arc<LeaderPool>,
    /// The loop, until the first application call. From then on it stays in `shared_loop` until the connection has been
    /// advanced; between pipelined requests only the call counter is advanced.
    event_loop: Option<Box<EventLoop>>,
    /// The call counter's value for this thread: odd from the beginning of a call, when another thread may claim the
    /// loop; even once the call has ended and the loop is this thread's; 0 if there was no call, or the loop is known to
    /// be lost.
    call: u64,
    /// Whether the leader has acquired a slot for its request.
    admitted: bool,
    /// Whether a slot was acquired in advance for the first request of this thread, which never had the loop.
    has_reserved_slot: bool,
    /// Whether requests are expected to block, so that they are passed to other threads.
    dispatches: bool,
    /// Whether the thread waits for its client without a slot.
    waits_without_slot: bool,
}

impl<'p> PoolThread<'p> {
    /// Makes the scheduler of the leader. With `dispatches`, requests are expected to block.
    pub(super) fn leading(pool: &'p Arc<LeaderPool>, event_loop: Box<EventLoop>, dispatches: bool) -> PoolThread<'p> {
        let event_loop = Some(event_loop);
        PoolThread {
            pool,
            event_loop,
            call: 0,
            admitted: false,
            has_reserved_slot: false,
            dispatches,
            waits_without_slot: false,
        }
    }

    /// Makes the scheduler of a thread without the loop, for which a slot has been acquired.
    pub(super) fn detached(pool: &'p Arc<LeaderPool>) -> PoolThread<'p> {
        let dispatches = false;
        PoolThread {
            pool,
            event_loop: None,
            call: 0,
            admitted: false,
            has_reserved_slot: true,
            dispatches,
            waits_without_slot: false,
        }
    }

    /// Takes the loop back, unless another thread has claimed it.
    #[inline]
    pub(super) fn reclaim(&mut self) -> Option<Box<EventLoop>> {
        self.end_call();
        if std::mem::take(&mut self.call) != 0 {
            self.event_loop = lock(&self.pool.shared_loop).take();
        }
        if std::mem::take(&mut self.admitted) && self.event_loop.is_some() {
            self.pool.group.end_call(self.pool.index);
        }
        self.event_loop.take()
    }

    /// Ends the thread's call, if there is one, and the possibility that another thread claims the loop.
    #[inline]
    fn end_call(&mut self) {
        if self.call & 1 == 1 {
            self.advance_call(1);
        }
    }

    /// Advances the counter from this thread's call. The number distinguishes it from a call of the current leader.
    #[inline]
    fn advance_call(&mut self, advance: u64) {
        self.call = if self.pool.try_claim(self.call, advance) { self.call + advance } else { 0 };
    }
}

impl Scheduler for PoolThread<'_> {
    #[inline]
    fn admit(&mut self) -> Admission {
        if self.admitted && self.call & 1 == 1 && self.holds_loop() && !self.pool.group.has_returning() {
            // A pipelined request continues in the slot of the one before it. If another thread claims the loop now, it
            // transfers that slot to this thread, as during a call.
            return Admission::Run;
        }
        // Only the thread that has the loop may count as the leader that runs a request.
        self.end_call();
        let LeaderPool { group, index, .. } = &**self.pool;
        let may_run = if !self.holds_loop() {
            std::mem::take(&mut self.has_reserved_slot) || group.available_slots(*index) > 0
        } else {
            let has_slot = group.begin_call(*index);
            if has_slot && self.dispatches {
                // `LeaderPool::dispatch` transfers the slot to the other thread.
                return Admission::Dispatch;
            }
            self.admitted = has_slot;
            has_slot
        };
        if may_run {
            Admission::Run
        } else {
            Admission::Queue
        }
    }

    #[inline]
    fn enter_blocking(&mut self) {
        if let Some(event_loop) = self.event_loop.take() {
            *lock(&self.pool.shared_loop) = Some(event_loop);
            self.call = self.pool.calls.fetch_add(1, Ordering::SeqCst) + 1;
        } else {
            if self.call != 0 {
                // The next odd number: the monitor takes this for another call.
                self.advance_call(1 + (self.call & 1));
            }
            if self.call == 0 {
                return;
            }
        }
        if self.pool.monitor_parked.load(Ordering::SeqCst) {
            self.pool.wake_monitor();
        }
    }

    #[inline]
    fn exit_blocking(&mut self) -> bool {
        !self.holds_loop()
    }

    fn begin_file_write(&mut self) -> bool {
        let begun = self.pool.group.begin_file_write();
        if begun {
            self.enter_blocking();
        }
        begun
    }

    fn end_file_write(&mut self) {
        self.pool.group.end_file_write();
    }

    fn begin_client_wait(&mut self) -> bool {
        let group = &self.pool.group;
        if group.runs_one_at_a_time() {
            return true;
        }
        // Reserved before the loop is passed on: the new leader may need a thread in place of this one, and the
        // reservation raises the maximum.
        if !group.reserve_client_wait() {
            return false;
        }
        if self.call & 1 == 1 && !self.pool.pass_loop(self.call) {
            // There is no monitor now. Start a thread, which may be the monitor by the next attempt.
            self.pool.spawn_thread(None);
            group.cancel_client_wait();
            return false;
        }
        group.begin_client_wait();
        self.waits_without_slot = true;
        true
    }

    fn end_client_wait(&mut self) {
        if std::mem::take(&mut self.waits_without_slot) {
            self.pool.group.end_client_wait();
        }
    }

    #[inline]
    fn holds_loop(&self) -> bool {
        self.event_loop.is_some() || self.call != 0 && self.pool.calls.load(Ordering::SeqCst) == self.call
    }
}
