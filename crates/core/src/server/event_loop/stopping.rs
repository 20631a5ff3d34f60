//! The state of a loop that is stopping.

use crate::server::connection::Connection;
use crate::server::handover::Successor;

/// How long a server that stops waits for the first request of a new connection, in milliseconds: longer than a request
/// takes around the world.
const FIRST_REQUEST_GRACE: u64 = 500;

#[derive(Default)]
pub(super) struct Stopping {
    /// When running requests are cut, in the service's milliseconds. `None` while the loop is not stopping.
    deadline: Option<u64>,
    /// When idle connections that can't be handed over are closed, in the service's milliseconds.
    idle_close_at: u64,
    /// The function that sends connections to the successor; `None` if there is no successor.
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

    /// Returns the time until which an idle connection stays open for a last request. `None` if it is closed at once.
    ///
    /// The client may have sent a request that is still in transit, and it is answered as the connection's last one.
    /// This applies to a new connection, and to one that can't be handed over when others are handed over.
    pub(super) fn last_request_until(&self, connection: &Connection, now: u64) -> Option<u64> {
        self.deadline?;
        if self.hands_over() {
            return (!connection.is_plain()).then_some(self.idle_close_at);
        }
        let until = connection.state_entered_at() + FIRST_REQUEST_GRACE;
        (connection.answered() == 0 && until > now).then_some(until)
    }
}
