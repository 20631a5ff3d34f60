//! What a loop knows about its own end.

use crate::server::connection::Connection;
use crate::server::handover::Successor;

/// How long a server that stops waits for the first request of a connection that has just come, in milliseconds: longer
/// than a request travels around the world.
const FIRST_REQUEST_GRACE: u64 = 500;

#[derive(Default)]
pub(super) struct Stopping {
    /// When running requests are cut, in the service's milliseconds. `None` while the loop does not stop.
    deadline: Option<u64>,
    /// When idle connections are closed that can't be handed over.
    idle_close_at: u64,
    /// Takes the connections that are handed over.
    successor: Option<Successor>,
}

impl Stopping {
    pub(super) fn begin(&mut self, deadline: u64, idle_close_at: u64) {
        self.deadline = Some(deadline);
        self.idle_close_at = idle_close_at;
    }

    pub(super) fn set_successor(&mut self, successor: Option<Successor>) {
        self.successor = successor;
    }

    pub(super) fn successor(&self) -> Option<Successor> {
        self.successor.clone()
    }

    pub(super) fn hands_over(&self) -> bool {
        self.successor.is_some()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    pub(super) fn is_past(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Until when the loop still waits for a request on a connection while that is idle. `None` when it closes at once.
    ///
    /// Its client may have sent a request already, which is answered as the last one: where other connections are handed
    /// over and this one can't be, or when the client has just come.
    pub(super) fn last_request_until(&self, connection: &Connection, now: u64) -> Option<u64> {
        self.deadline?;
        if self.hands_over() {
            return (!connection.is_plain()).then_some(self.idle_close_at);
        }
        let until = connection.state_entered_at() + FIRST_REQUEST_GRACE;
        (connection.answered() == 0 && until > now).then_some(until)
    }
}
