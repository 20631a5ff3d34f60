//! The leader: it takes connections from the loop, advances them, and returns them.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::scheduler::PoolThread;
use super::{Completed, LeaderPool};
use crate::server::connection::upgrade::run_upgrade;
use crate::server::connection::{Connection, Remains, Step};
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::scheduler::Scheduler;
use crate::server::sync::lock;

/// Why a thread no longer leads.
pub(super) enum LeadEnd {
    /// Another thread leads now.
    Lost,
    /// The loop has ended.
    Stopped,
}

impl LeaderPool {
    /// Leads until another thread claims the loop, or the loop ends. The requests of the first `blocking` connections
    /// of the batch are expected to block.
    pub(super) fn lead(self: &Arc<LeaderPool>, mut event_loop: Box<EventLoop>, mut blocking: usize) -> LeadEnd {
        // The previous leader may have been inside the application for a long time.
        event_loop.update_time();
        // Responses that the previous leader left in the batch are sent before the rest of the batch is served.
        event_loop.flush_responses();
        loop {
            let kept = match event_loop.next(None) {
                Ok(Next::Work { token, connection, readable }) => {
                    self.serve(event_loop, token, connection, readable, &mut blocking)
                }
                Ok(Next::Discard(remains)) => self.discard(event_loop, remains),
                Ok(Next::Notified) => match self.process_notifications(event_loop) {
                    Some(event_loop) => Some(event_loop),
                    None => return LeadEnd::Stopped,
                },
                Err(error) => {
                    self.finish(event_loop, Err(error));
                    return LeadEnd::Stopped;
                }
            };
            match kept {
                Some(kept) => event_loop = kept,
                None => return LeadEnd::Lost,
            }
        }
    }

    /// Advances a connection. Returns `None` if another thread has claimed the loop.
    #[inline]
    fn serve(
        self: &Arc<LeaderPool>,
        event_loop: Box<EventLoop>,
        token: Token,
        mut connection: Box<Connection>,
        readable: bool,
        blocking: &mut usize,
    ) -> Option<Box<EventLoop>> {
        let now = event_loop.now;
        let mut thread = PoolThread::leading(self, event_loop, *blocking > 0);
        *blocking = blocking.saturating_sub(1);
        let step = connection.catch_panic(&self.service, |it| it.advance(&self.service, &mut thread, readable, now));
        let Some(mut event_loop) = thread.reclaim() else {
            self.complete_connection(token, connection, step, &mut thread);
            return None;
        };
        if self.was_slow.load(Ordering::Relaxed) {
            self.was_slow.store(false, Ordering::Relaxed);
            event_loop.update_time();
        }
        match step {
            Step::Upgrade => event_loop = self.upgrade(event_loop, token, connection)?,
            Step::Dispatch => {
                if let Err(connection) = self.dispatch(token, connection) {
                    // There is no thread for it: this thread serves it, and the rest of the batch.
                    *blocking = 0;
                    event_loop.return_connection(token, connection, step);
                }
            }
            step => event_loop.return_connection(token, connection, step),
        }
        if self.service.has_failed() {
            self.shutdown.shutdown();
        }
        if now >= self.spawn_again_at.load(Ordering::Relaxed) {
            self.spawn_again_at.store(u64::MAX, Ordering::Relaxed);
            self.spawn_thread(None);
        }
        Some(event_loop)
    }

    /// Runs the application's function on a connection that has left HTTP. Returns `None` if another thread has claimed
    /// the loop.
    fn upgrade(
        self: &Arc<LeaderPool>,
        mut event_loop: Box<EventLoop>,
        token: Token,
        connection: Box<Connection>,
    ) -> Option<Box<EventLoop>> {
        event_loop.remove(token);
        let mut thread = PoolThread::leading(self, event_loop, false);
        run_upgrade(connection, &mut thread, &self.service);
        let reclaimed = thread.reclaim();
        match reclaimed {
            Some(mut event_loop) => {
                event_loop.update_time();
                Some(event_loop)
            }
            None => {
                self.complete(Completed::Upgraded(token));
                None
            }
        }
    }

    /// Drops the application's values that a closed connection has left. Returns `None` if another thread has claimed
    /// the loop.
    fn discard(self: &Arc<LeaderPool>, event_loop: Box<EventLoop>, remains: Remains) -> Option<Box<EventLoop>> {
        let mut thread = PoolThread::leading(self, event_loop, false);
        thread.admit();
        thread.enter_blocking();
        drop(remains);
        let reclaimed = thread.reclaim();
        if reclaimed.is_none() {
            self.complete(Completed::Discarded);
        }
        reclaimed
    }

    /// Passes a connection that was advanced without the loop back to the leader, after its response has been written.
    pub(super) fn complete_connection(
        &self,
        token: Token,
        mut connection: Box<Connection>,
        step: Step,
        thread: &mut PoolThread<'_>,
    ) {
        let step = match step {
            Step::Flush => connection.catch_panic(&self.service, |it| it.flush(&self.service, self.service.now())),
            step => step,
        };
        if step == Step::Upgrade {
            run_upgrade(connection, thread, &self.service);
            self.complete(Completed::Upgraded(token));
        } else {
            self.complete(Completed::Connection { token, connection, step });
        }
    }

    /// Processes the results of detached threads, connections from other loops, the queue, and requests to stop.
    /// Returns `None` if the loop has ended.
    fn process_notifications(&self, mut event_loop: Box<EventLoop>) -> Option<Box<EventLoop>> {
        for completed in std::mem::take(&mut *lock(&self.completed)) {
            self.note_completed();
            match completed {
                Completed::Connection { token, connection, step } => {
                    event_loop.return_connection(token, connection, step);
                }
                Completed::Upgraded(token) => event_loop.remove(token),
                Completed::Discarded => {}
            }
        }
        let detached = self.detached.load(Ordering::SeqCst);
        event_loop.receive_connections();
        event_loop.resume_queued(self.group.available_slots(self.index));
        // The rest of the queue follows when these requests have been answered. No completed thread wakes the leader
        // for that if the leader answers them itself, so it has to check again.
        event_loop.notified |= event_loop.has_queued() && self.group.available_slots(self.index) > 0;
        if event_loop.stop_if_requested(&self.shutdown, detached) {
            self.finish(event_loop, Ok(()));
            return None;
        }
        Some(event_loop)
    }

    /// Passes the loop to the monitor, because the leader's call waits for a client. Returns true if this thread no
    /// longer has the loop, false if there is no monitor to pass it to.
    pub(super) fn pass_loop(&self, call: u64) -> bool {
        let threads = lock(&self.threads);
        if self.calls.load(Ordering::SeqCst) != call {
            // The monitor has claimed the loop already.
            return true;
        }
        if !threads.has_monitor {
            return false;
        }
        if let Some(event_loop) = self.claim_from_call(call) {
            *lock(&self.passed_loop) = event_loop;
            drop(threads);
            self.wake_monitor();
        }
        true
    }
}
