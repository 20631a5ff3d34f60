//! Complete requests that wait until an application may run for them, in the order in which they came.

use std::time::Instant;

use super::super::connection::Connection;
use super::super::poller::Interest;
use super::{token_of, Loop, Token};

impl Loop {
    /// A request waits from now on. Its client is listened to only for its departure.
    pub(super) fn queue(&mut self, token: Token, mut connection: Box<Connection>) {
        if let Some(heir) = self.heir.clone() {
            match self.bequeath(token, connection, &heir) {
                Ok(()) => return,
                Err(kept) => connection = kept,
            }
        }
        let since = connection.queued_since();
        let deadline = connection.queue_deadline(&self.service);
        self.next_sweep = self.next_sweep.min(deadline);
        self.keep(token, connection, deadline);
        if !self.register(token, Interest::HangUp) {
            return self.vacate(token);
        }
        if let Some(slot) = self.slot(token) {
            slot.queued = true;
        }
        if self.refusing {
            return self.expire_queued(token);
        }
        // One that was told to run, and could not after all, keeps its place.
        match self.oldest_waiting() {
            Some(oldest) if since.is_some_and(|since| since < oldest) => self.waiting.push_front(token),
            _ => self.waiting.push_back(token),
        }
        self.note_waiting();
        self.woken |= self.fleet.is_shared() && self.fleet.room(self.berth) > 0;
    }

    /// Since when the first request waits.
    fn oldest_waiting(&mut self) -> Option<Instant> {
        while let Some(&token) = self.waiting.front() {
            match self.slot(token) {
                Some(slot) if slot.queued => {
                    return slot.connection.as_ref().and_then(|connection| connection.queued_since());
                }
                // It has left.
                _ => self.waiting.pop_front(),
            };
        }
        None
    }

    fn note_waiting(&mut self) {
        let oldest = self.oldest_waiting();
        self.fleet.note_waiting(self.berth, oldest);
    }

    /// The next request that waits, if there is one.
    pub(in crate::server) fn pop_waiting(&mut self) -> Option<Token> {
        while let Some(token) = self.waiting.pop_front() {
            // Some have left since, and their place may be another connection's.
            if let Some(slot) = self.slot(token) {
                if std::mem::take(&mut slot.queued) {
                    return Some(token);
                }
            }
        }
        None
    }

    pub(in crate::server) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands requests that wait back to the batch, as many as `room` says; how many.
    pub(in crate::server) fn resume_waiting(&mut self, room: usize) -> usize {
        let mut resumed = 0;
        while resumed < room {
            let Some(token) = self.pop_waiting() else { break };
            self.batch.push_back((token, false));
            resumed += 1;
        }
        self.fleet.note_resumed(self.berth, resumed);
        self.note_waiting();
        resumed
    }

    fn take_queued(&mut self, token: Token) -> Option<Box<Connection>> {
        self.slot(token)?.queued = false;
        self.take(token)
    }

    /// The client of a request that waits has gone.
    pub(super) fn drop_queued(&mut self, token: Token) {
        if let Some(mut connection) = self.take_queued(token) {
            connection.client_gone();
            self.note_end(&mut connection);
            self.close(token, connection);
        }
    }

    /// A request has waited for too long, or has not been complete when the server had to end: 503.
    pub(super) fn expire_queued(&mut self, token: Token) {
        if let Some(mut connection) = self.take_queued(token) {
            connection.lend(|| self.buffer());
            let step = connection.guarded(&self.service, |it| {
                it.refuse_unavailable(&self.service);
                it.settle(&self.service, self.now)
            });
            self.put_back(token, connection, step);
        }
    }

    /// Lets no request wait from now on; true when that is new.
    pub(in crate::server) fn begin_refusing(&mut self) -> bool {
        if std::mem::replace(&mut self.refusing, true) {
            return false;
        }
        self.refuse_unanswered();
        true
    }

    /// Answers all requests that wait or have arrived in part with 503, as far as their clients take it at once.
    pub(super) fn refuse_unanswered(&mut self) {
        while let Some(token) = self.pop_waiting() {
            if let Some(slot) = self.slot(token) {
                slot.queued = true;
            }
            self.expire_queued(token);
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.connection.as_ref().is_some_and(|connection| connection.has_part_of_request()) {
                self.expire_queued(token_of(index, slot));
            }
        }
    }
}
