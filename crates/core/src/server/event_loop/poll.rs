//! One turn of the loop: wait, collect the ready connections in a batch, and return them one by one.

use std::io;
use std::time::Duration;

use super::acceptor::LISTENER;
use super::slab::Token;
use super::{EventLoop, CHILD, WAKER};
use crate::server::connection::read_buffer::ReadBuffer;
use crate::server::connection::{Connection, Remains};

/// The minimum time between two checks of all deadlines, in milliseconds. With it, ten thousand idle connections use a
/// thousandth of a core.
const DEADLINE_CHECK: u64 = 50;
/// How long unused memory of request bodies is kept, in milliseconds.
const TRIM_AFTER: u64 = 5_000;

/// What the driver has to do next.
pub(crate) enum Next {
    /// Advance this connection.
    Work { token: Token, connection: Box<Connection>, readable: bool },
    /// Drop these values of the application, which may take a while.
    Discard(Remains),
    /// Check for notifications: connections from other threads or loops, ended processes, a request to stop.
    Notified,
}

impl EventLoop {
    /// Returns the next thing to do. Waits for it, at most for `timeout`.
    pub(crate) fn next(&mut self, timeout: Option<Duration>) -> io::Result<Next> {
        loop {
            while let Some((token, readable)) = self.ready.pop() {
                if let Some(mut connection) = self.slab.take(token) {
                    connection.attach_buffer(|| self.read_buffer());
                    return Ok(Next::Work { token, connection, readable });
                }
            }
            self.flush_responses();
            if !self.remains.is_empty() && self.available_slots() > 0 {
                if let Some(remains) = self.remains.pop() {
                    return Ok(Next::Discard(remains));
                }
            }
            if self.notified || !self.ended_children.is_empty() {
                self.notified = false;
                return Ok(Next::Notified);
            }
            if self.stopping.has_begun() && self.slab.open() == 0 {
                return Ok(Next::Notified);
            }
            if self.ready.is_empty() {
                let is_past_stop = self.poll(timeout)?;
                // A caller with a timeout gets control back even if nothing is ready.
                if is_past_stop || timeout.is_some() && self.ready.is_empty() {
                    return Ok(Next::Notified);
                }
            }
        }
    }

    /// Waits until something is ready, and collects it in the batch. Returns true if the deadline of a stop has passed.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.check_saturation();
        self.schedule_trim();
        // With connections that have more to do, the poll does not wait, and the log may gather more entries.
        let log_delay = self.service.settings.log.flush(!self.ready.has_runnable());
        let timeout = self.poll_timeout([timeout, log_delay]);
        if self.process_mark.is_forked() {
            return Err(io::Error::other(
                "this process was forked from the one that made the server, and the server runs only in that one; \
                 make a server in each process that is to serve",
            ));
        }
        let mut events = std::mem::take(&mut self.events);
        self.poller.wait(&mut events, timeout)?;
        self.polls += 1;
        self.ready.restart_batch();
        self.update_time();
        for event in events.drain(..) {
            self.handle_event(event);
        }
        self.events = events;
        self.requeue_runnable(false);
        self.check_close_queue(self.now);
        if self.now >= self.next_deadline_check {
            self.check_deadlines();
        }
        if self.next_trim.is_some_and(|at| self.now >= at) {
            self.next_trim = None;
            self.service.body_budget.memory.trim();
        }
        if self.acceptor.paused_until().is_some_and(|until| self.now >= until) {
            self.end_accept_pause();
        }
        Ok(self.is_past_stop())
    }

    /// Schedules the release of unused memory of request bodies. The first loop does it for all loops.
    fn schedule_trim(&mut self) {
        if self.next_trim.is_none() && self.index == 0 && self.service.body_budget.memory.has_spare() {
            self.next_trim = Some(self.now + TRIM_AFTER);
        }
    }

    /// Returns how long the poller may wait: until the first deadline, at most for the shortest of `limits`, and not at
    /// all while connections have more to do.
    pub(super) fn poll_timeout(&self, limits: [Option<Duration>; 2]) -> Option<Duration> {
        let deadlines = [
            Some(self.next_deadline_check),
            self.next_trim,
            self.acceptor.paused_until(),
            self.stopping.deadline(),
            self.close_queue.next_at(),
        ];
        let next = deadlines.into_iter().flatten().min().filter(|&at| at < u64::MAX / 4);
        let until_next = next.map(|at| Duration::from_millis(at.saturating_sub(self.now)));
        let at_once = self.ready.has_runnable().then_some(Duration::ZERO);
        let [first, second] = limits;
        [first, second, until_next, at_once].into_iter().flatten().min()
    }

    fn handle_event(&mut self, event: u64) {
        if event == WAKER {
            self.waker.reset();
            self.resume_woken();
            self.notified = true;
        } else if event & LISTENER != 0 {
            self.accept((event & !LISTENER) as usize);
        } else if event & CHILD != 0 {
            self.ended_children.push(event & !CHILD);
        } else {
            let Some(slot) = self.slab.slot(event) else { return };
            if slot.queued {
                // The socket of a queued request is watched only for a hang-up.
                self.drop_queued(event);
            } else if slot.connection.is_some() {
                self.ready.push(event, true);
            } else {
                // Another thread is advancing the connection, and its client has sent more: stop the poller from
                // reporting that repeatedly.
                self.unregister(event);
            }
        }
    }

    /// Times out the connections whose deadline has passed, and computes the next check.
    fn check_deadlines(&mut self) {
        self.excess = self.group.excess(self.index);
        self.next_deadline_check = u64::MAX;
        let ready = self.ready.len();
        for index in 0..self.slab.slots() {
            let (token, slot) = self.slab.at(index);
            if slot.connection.is_none() {
                continue;
            }
            if slot.deadline > self.now {
                self.next_deadline_check = self.next_deadline_check.min(slot.deadline);
                continue;
            }
            if slot.queued {
                self.expire_queued(token);
                continue;
            }
            if slot.registered.is_some() && !slot.timeout_deferred {
                // The missing input may have arrived while this thread was inside the application: read once more
                // before timing out.
                if let Some(slot) = self.slab.slot(token) {
                    slot.timeout_deferred = true;
                }
                if !self.ready.contains(token, ready) {
                    self.ready.push(token, true);
                }
                continue;
            }
            if let Some(mut connection) = self.slab.take(token) {
                connection.attach_buffer(|| self.read_buffer());
                let step = connection.catch_panic(&self.service, |it| it.time_out(&self.service, self.now));
                self.return_connection(token, connection, step);
            }
        }
        self.next_deadline_check = self.next_deadline_check.max(self.now + DEADLINE_CHECK);
    }

    /// Returns a spare read buffer, or a new one.
    #[inline]
    pub(super) fn read_buffer(&mut self) -> Box<ReadBuffer> {
        self.spare_buffers.pop().unwrap_or_else(|| ReadBuffer::with_settings(&self.service.settings))
    }
}
