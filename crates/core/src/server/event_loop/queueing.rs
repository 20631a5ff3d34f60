//! Complete requests that wait until the application may run.

use super::slab::Token;
use super::EventLoop;
use crate::server::connection::Connection;
use crate::server::io::poller::PollInterest;

impl EventLoop {
    /// Queues a request. While the request waits, its connection's socket is watched only for a hang-up of the client.
    pub(super) fn queue(&mut self, token: Token, mut connection: Box<Connection>) {
        if let Some(successor) = self.stopping.successor() {
            match self.hand_over(token, connection, &successor) {
                Ok(()) => return,
                Err(kept) => connection = kept,
            }
        }
        let since = connection.queued_since();
        let deadline = connection.queue_deadline(&self.service);
        self.next_deadline_check = self.next_deadline_check.min(deadline);
        self.slab.park(token, connection, deadline);
        if !self.register(token, PollInterest::HangUp) {
            return self.remove(token);
        }
        if let Some(slot) = self.slab.slot(token) {
            slot.queued = true;
        }
        if self.wait_queue.is_refusing() {
            return self.expire_queued(token);
        }
        self.wait_queue.push(&mut self.slab, token, since);
        self.note_queued();
        self.notified |= self.group.is_shared() && self.available_slots() > 0;
    }

    fn note_queued(&mut self) {
        let oldest = self.wait_queue.oldest(&mut self.slab);
        self.group.note_queued(self.index, oldest);
    }

    /// Takes the first request out of the queue.
    pub(crate) fn pop_queued(&mut self) -> Option<Token> {
        self.wait_queue.pop(&mut self.slab)
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.wait_queue.is_empty()
    }

    /// Moves up to `count` requests from the queue to the batch. Returns their number.
    pub(crate) fn resume_queued(&mut self, count: usize) -> usize {
        let mut resumed = 0;
        while resumed < count {
            let Some(token) = self.pop_queued() else { break };
            self.ready.push(token, false);
            resumed += 1;
        }
        self.group.note_resumed(self.index, resumed);
        self.note_queued();
        resumed
    }

    fn take_queued(&mut self, token: Token) -> Option<Box<Connection>> {
        self.slab.slot(token)?.queued = false;
        self.slab.take(token)
    }

    /// Ends a connection whose client has left while its request was queued.
    pub(super) fn drop_queued(&mut self, token: Token) {
        if let Some(mut connection) = self.take_queued(token) {
            connection.peer_gone();
            self.log_end(&mut connection);
            self.close(token, connection);
        }
    }

    /// Responds with 503 to a request that has waited too long, or that can't become complete before the server ends.
    pub(super) fn expire_queued(&mut self, token: Token) {
        if let Some(mut connection) = self.take_queued(token) {
            connection.attach_buffer(|| self.read_buffer());
            let step = connection.catch_panic(&self.service, |it| {
                it.refuse_unavailable(&self.service);
                it.flush(&self.service, self.now)
            });
            self.return_connection(token, connection, step);
        }
    }

    /// Refuses all queued requests, and each request that would be queued from now on. Returns false if that had begun
    /// already.
    pub(crate) fn begin_refusing(&mut self) -> bool {
        let is_new = self.wait_queue.begin_refusing();
        if is_new {
            self.refuse_unanswered();
        }
        is_new
    }

    /// Responds with 503 to all requests that are queued or have arrived in part, as far as the response can be sent
    /// without waiting.
    pub(super) fn refuse_unanswered(&mut self) {
        while let Some(token) = self.pop_queued() {
            self.expire_queued(token);
        }
        for index in 0..self.slab.slots() {
            let (token, slot) = self.slab.at(index);
            if slot.connection.as_ref().is_some_and(|connection| connection.has_partial_request()) {
                self.expire_queued(token);
            }
        }
    }
}
