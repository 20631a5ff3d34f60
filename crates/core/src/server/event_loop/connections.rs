//! What happens to a connection after it was advanced: its response is flushed, its socket is watched, or it is closed.

use std::sync::Arc;

use super::slab::{Slot, Token};
use super::EventLoop;
use crate::server::connection::{Connection, Step};
use crate::server::io::poller::PollInterest;
use crate::server::io::socket::Socket;
use crate::server::io::transport::TransportWaker;
use crate::server::log::CloseReason;
use crate::server::sync::lock;
use crate::server::sys;

/// The maximum number of spare read buffers.
const SPARE_BUFFERS: usize = 64;

impl EventLoop {
    pub(crate) fn insert(&mut self, socket: Arc<Socket>, mut connection: Box<Connection>) {
        connection.guard_from_forks(&socket);
        let token = self.slab.insert(socket, connection);
        let waker = TransportWaker::new(token, self.woken.clone(), self.waker.clone());
        if let Some(connection) = self.slab.slot(token).and_then(|slot| slot.connection.as_mut()) {
            connection.set_waker(waker);
        }
        self.note_open();
        // The first request has often arrived already: read before waiting.
        self.ready.push(token, true);
    }

    /// Takes a connection out of the slab, to advance it independently of the batch.
    pub(crate) fn take(&mut self, token: Token) -> Option<Box<Connection>> {
        self.slab.take(token)
    }

    pub(crate) fn socket(&mut self, token: Token) -> Option<Arc<Socket>> {
        self.slab.socket(token)
    }

    /// Takes back a connection that was advanced, and arranges what its step waits for.
    #[inline]
    pub(crate) fn return_connection(&mut self, token: Token, mut connection: Box<Connection>, step: Step) {
        let step = match step {
            Step::Flush => {
                self.acceptor.end_yielding(self.now);
                if self.ready.batches_writes() {
                    step
                } else {
                    connection.catch_panic(&self.service, |it| it.flush(&self.service, self.now))
                }
            }
            step => step,
        };
        if let Some(buffer) = connection.release_buffer() {
            // The buffer goes to another connection, so it must not contain anything of this one's.
            debug_assert!(buffer.parser.is_untouched());
            if buffer.is_reusable() && self.spare_buffers.len() < SPARE_BUFFERS {
                self.spare_buffers.push(buffer);
            }
        }
        if !self.woken_elsewhere.is_empty() {
            self.note_returned(token);
        }
        match step {
            Step::Read => self.watch(token, connection, PollInterest::Read),
            Step::AwaitClose => self.await_close(token, connection),
            Step::Write if connection.awaits_transport() => self.watch(token, connection, PollInterest::HangUp),
            Step::Write => self.watch(token, connection, PollInterest::Write),
            Step::Flush => self.flush_later(token, connection),
            Step::Yield => {
                self.slab.park(token, connection, u64::MAX);
                self.ready.push_runnable(token);
            }
            Step::Queued | Step::Fork => self.queue(token, connection),
            Step::Detached => self.watch_detached(token, connection),
            // There is no other thread for it: this one advances it again.
            Step::Dispatch => {
                self.slab.park(token, connection, u64::MAX);
                self.ready.push(token, false);
            }
            Step::Close | Step::Upgrade => {
                self.log_end(&mut connection);
                self.close(token, connection);
            }
        }
    }

    /// Puts the connections whose transports have woken this loop into the batch.
    pub(super) fn resume_woken(&mut self) {
        let woken = std::mem::take(&mut *lock(&self.woken));
        for token in woken {
            match self.slab.slot(token) {
                None => {}
                // What the transport has done is of no use before the request runs.
                Some(slot) if slot.queued => {}
                Some(slot) if slot.connection.is_some() => self.ready.push(token, true),
                Some(_) => self.woken_elsewhere.push(token),
            }
        }
    }

    /// Advances a connection again that comes back from another thread, if its transport has made progress meanwhile.
    #[cold]
    fn note_returned(&mut self, token: Token) {
        let before = self.woken_elsewhere.len();
        self.woken_elsewhere.retain(|other| *other != token);
        if self.woken_elsewhere.len() < before {
            lock(&self.woken).push(token);
            self.waker.wake();
        }
    }

    /// Keeps a response until the batch is done, unless the batch has taken too long already.
    #[inline]
    fn flush_later(&mut self, token: Token, connection: Box<Connection>) {
        let is_streaming = connection.is_responding();
        self.slab.park(token, connection, u64::MAX);
        if self.ready.push_flush(token, is_streaming) {
            self.flush_responses();
            self.requeue_runnable(true);
        } else if !self.ready.is_empty() && self.ready.is_batch_older_than(self.service.settings.runtime.batch_delay) {
            self.service.update_date();
            self.flush_responses();
            // The following responses are batched again: if they were written one by one, each write would wake its
            // client separately.
            self.ready.restart_batch();
        }
    }

    /// Writes the responses of the batch.
    pub(crate) fn flush_responses(&mut self) {
        let mut pending = self.ready.take_pending_flush();
        for token in pending.drain(..) {
            if let Some(mut connection) = self.slab.take(token) {
                let step = connection.catch_panic(&self.service, |it| it.flush(&self.service, self.now));
                self.return_connection(token, connection, step);
            }
        }
        self.ready.reuse(pending);
    }

    /// Moves the connections that have more to do into the batch: behind the others, or, if `in_front`, those that are
    /// sending a response in front of them.
    pub(super) fn requeue_runnable(&mut self, in_front: bool) {
        for token in self.ready.take_runnable() {
            // Do not read the next request of a connection that is still sending; other connections go first.
            let connection = self.slab.slot(token).and_then(|slot| slot.connection.as_ref());
            let readable = connection.is_some_and(|connection| !connection.is_responding());
            if in_front && !readable {
                self.ready.push_front(token, readable);
            } else {
                self.ready.push(token, readable);
            }
        }
    }

    /// Parks a connection until its socket is ready, or its deadline has passed.
    #[inline]
    fn watch(&mut self, token: Token, mut connection: Box<Connection>, interest: PollInterest) {
        let mut latest = u64::MAX;
        if self.stopping.has_begun() {
            match self.end_while_stopping(token, connection, interest) {
                Some((kept, until)) => (connection, latest) = (kept, until),
                None => return,
            }
        }
        if self.excess > 0 && interest == PollInterest::Read && connection.is_idle() {
            match self.send_to_other_loop(token, connection) {
                Ok(()) => return,
                Err(kept) => connection = kept,
            }
        }
        let deadline = connection.deadline(&self.service).min(latest);
        let Some(slot) = self.park_until(token, connection, deadline) else { return };
        if slot.registered != Some(interest) && !self.register(token, interest) {
            self.remove(token);
        }
    }

    /// Hands over or closes a connection of a loop that is stopping. Returns it if it stays open, and until when.
    #[cold]
    fn end_while_stopping(
        &mut self,
        token: Token,
        mut connection: Box<Connection>,
        interest: PollInterest,
    ) -> Option<(Box<Connection>, u64)> {
        if let (Some(successor), PollInterest::Read) = (self.stopping.successor(), interest) {
            connection = self.hand_over(token, connection, &successor).err()?;
        }
        let last_request = self.stopping.last_request_until(&connection, self.now);
        let is_idle = connection.is_idle();
        let closes = is_idle && last_request.is_none();
        if closes || connection.awaits_close() {
            if closes {
                connection.close_idle(CloseReason::Shutdown);
            }
            self.log_end(&mut connection);
            self.close(token, connection);
            return None;
        }
        Some((connection, last_request.filter(|_| is_idle).unwrap_or(u64::MAX)))
    }

    /// Parks a connection until its socket has an event or its deadline has passed. `None` if it has been removed.
    #[inline]
    fn park_until(&mut self, token: Token, connection: Box<Connection>, deadline: u64) -> Option<&mut Slot> {
        self.next_deadline_check = self.next_deadline_check.min(deadline);
        let slot = self.slab.slot(token)?;
        slot.deadline = deadline;
        // Single bytes of a slow client move some deadlines. They must not defer the timeout each time.
        slot.timeout_deferred &= deadline <= self.now;
        slot.connection = Some(connection);
        Some(slot)
    }

    /// Parks a connection whose request is detached, until its task or its socket has something to do.
    fn watch_detached(&mut self, token: Token, mut connection: Box<Connection>) {
        if connection.take_wakeup() {
            self.wakeups.push(token);
        }
        let interest = connection.task_interest();
        let deadline = connection.deadline(&self.service);
        let Some(slot) = self.park_until(token, connection, deadline) else { return };
        match (interest, slot.registered) {
            (Some(interest), _) => {
                if !self.register(token, interest) {
                    self.remove(token);
                    self.wakeups.push(token);
                }
            }
            // The next request is read when this one has been answered. Most clients send it only then, so the socket
            // stays registered for reading until it is reported.
            (None, Some(PollInterest::Read) | None) => {}
            (None, Some(_)) => self.unregister(token),
        }
    }

    /// Parks a connection that only waits for its client to close, which the client has announced.
    #[inline]
    fn await_close(&mut self, token: Token, connection: Box<Connection>) {
        let is_registered = self.slab.slot(token).is_some_and(|slot| slot.registered.is_some());
        if is_registered || self.stopping.has_begun() {
            return self.watch(token, connection, PollInterest::Read);
        }
        self.slab.park(token, connection, u64::MAX);
        if let Some(token) = self.close_queue.push(token, self.now) {
            self.ready.push(token, true);
        }
    }

    /// Puts the connections of the close queue whose grace period has passed by `now` into the batch. The read that
    /// follows closes them, or registers them with the poller.
    pub(super) fn check_close_queue(&mut self, now: u64) {
        while let Some(token) = self.close_queue.pop_due(now) {
            self.ready.push(token, true);
        }
    }

    /// Registers a connection's socket with the poller, or changes its interest. Returns false if the system refuses.
    pub(super) fn register(&mut self, token: Token, interest: PollInterest) -> bool {
        let Some(slot) = self.slab.slot(token) else { return false };
        let registered = slot.registered.replace(interest);
        let Some(fd) = slot.socket.as_ref().map(|socket| sys::raw(socket.handle())) else { return false };
        let result = match registered {
            Some(before) if before == interest => return true,
            Some(_) => self.poller.modify(fd, token, interest),
            None => self.poller.add(fd, token, interest),
        };
        if let Err(error) = &result {
            self.service
                .settings
                .log
                .error(&format!("can't watch a connection's socket, so the connection is closed: {error}"));
        }
        result.is_ok()
    }

    pub(crate) fn unregister(&mut self, token: Token) {
        let Some(slot) = self.slab.slot(token) else { return };
        if slot.registered.take().is_some() {
            let Some(fd) = slot.socket.as_ref().map(|socket| sys::raw(socket.handle())) else { return };
            let _ = self.poller.remove(fd);
        }
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, token: Token, mut connection: Box<Connection>) {
        self.remains.extend(connection.take_remains());
        if connection.take_wakeup() {
            self.wakeups.push(token);
        }
        drop(connection);
        // Not `Arc::get_mut`, which also requires that there are no weak references: an application that checks whether
        // its client has left holds one.
        let is_last = self
            .slab
            .slot(token)
            .and_then(|slot| slot.socket.as_ref())
            .is_some_and(|socket| Arc::strong_count(socket) == 1);
        // epoll forgets a socket when its last descriptor closes, which saves a system call.
        if is_last && self.poller.forgets_closed() {
            self.free_slot(token);
        } else {
            self.remove(token);
        }
    }

    /// Unregisters a connection's socket and frees its slot. Needed where something else may hold the socket open: a
    /// forked child, an upgrade, another thread.
    pub(crate) fn remove(&mut self, token: Token) {
        self.unregister(token);
        self.free_slot(token);
    }

    pub(super) fn free_slot(&mut self, token: Token) {
        if self.slab.remove(token) {
            self.note_open();
            self.acceptor.end_pause_at(self.now);
        }
    }

    /// Writes the remaining log entries of a connection that ends, and why it ends.
    pub(super) fn log_end(&self, connection: &mut Connection) {
        connection.log_written(&self.service);
        if let Some(reason) = connection.close_reason() {
            self.service.with_handler(|handler, log| handler.connection_dropped(reason, connection.client(), log));
        }
    }

    /// Whether a connection has been closed, or only waits for its client to close.
    pub(crate) fn has_closed(&mut self, token: Token) -> bool {
        let Some(slot) = self.slab.slot(token) else { return true };
        slot.connection.as_ref().is_some_and(|connection| connection.awaits_close())
    }
}
