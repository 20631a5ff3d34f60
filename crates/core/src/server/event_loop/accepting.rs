//! New connections, accepted by this loop or sent by another one, and the limits on their number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::acceptor::{Accepted, ACCEPTS_IN_A_ROW};
use super::slab::Token;
use super::EventLoop;
use crate::server::connection::{Connection, Step};
use crate::server::io::socket::Socket;
use crate::server::log::CloseReason;
use crate::server::sys;

/// How long accepting pauses when the connection limit or the limit of open files has been reached, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;
/// How long a connection has to be idle before it may be closed in favour of a new one, in milliseconds. On a
/// connection that has just been opened or answered, a request may be in transit; clients in the system's backlog lose
/// nothing by waiting.
const IDLE_BEFORE_CLOSE: u64 = 1000;
/// The number of further `accept` calls that are preceded by a check whether a connection is pending. An `accept` that
/// finds none takes six times as long as the check, because the system creates a socket first.
const ASKED_BEFORE: usize = 6;

impl EventLoop {
    /// Accepts from a listener that is ready.
    pub(super) fn accept(&mut self, index: usize) {
        if !self.service.settings.runtime.multiprocess {
            return self.accept_some(index, ACCEPTS_IN_A_ROW);
        }
        let open = self.slab.open();
        self.accept_some(index, self.acceptor.share(self.available_slots()));
        if self.slab.open() > open {
            self.acceptor.start_yielding(&mut self.poller, self.now);
        }
    }

    /// Leaves new connections to other processes while all threads of this process are busy.
    pub(super) fn check_saturation(&mut self) {
        if self.service.settings.runtime.multiprocess {
            let available_slots = self.available_slots();
            if self.acceptor.check_saturation(&mut self.poller, available_slots, self.now) {
                self.end_accept_pause();
            }
        }
    }

    /// Resumes accepting, because the pause has passed or a thread is free again.
    pub(super) fn end_accept_pause(&mut self) {
        let available_slots = self.available_slots();
        for index in self.acceptor.end_pause(&mut self.poller, available_slots, self.now) {
            self.accept_some(index, 1);
        }
    }

    /// Accepts up to `maximum` connections from a listener.
    pub(super) fn accept_some(&mut self, index: usize, maximum: usize) {
        for accepted in 0..maximum {
            if (1..=ASKED_BEFORE).contains(&accepted) && !self.acceptor.has_pending(index) {
                return;
            }
            if self.is_full() {
                self.check_close_queue(u64::MAX);
                // This loop is not told when a connection of another loop closes, so it tries again after a pause.
                let until = if self.group.is_shared() { self.now + ACCEPT_PAUSE } else { u64::MAX };
                return self.acceptor.pause(&mut self.poller, until);
            }
            match self.acceptor.accept(index, &self.service, self.now) {
                Accepted::Connection(socket, connection) => self.place(socket, connection),
                Accepted::Retry => {}
                Accepted::Empty => return,
                Accepted::Failed(error) => {
                    self.check_close_queue(u64::MAX);
                    self.close_longest_idle(IDLE_BEFORE_CLOSE);
                    self.service.settings.log.error(&format!(
                        "can't accept connections for now: {error}; check the limit of open files (ulimit -n)"
                    ));
                    return self.acceptor.pause(&mut self.poller, self.now + ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Whether the server has as many connections as it may have.
    fn is_full(&self) -> bool {
        let open = if self.group.is_shared() { self.group.open() } else { self.slab.open() };
        open >= self.service.settings.limits.connections
    }

    /// Keeps a new connection, or sends it to a loop with fewer connections.
    fn place(&mut self, socket: Arc<Socket>, connection: Box<Connection>) {
        let other = match self.stopping.has_begun() {
            true => None,
            false => self.group.less_loaded(self.index, self.slab.open()),
        };
        let sent = match other {
            Some(other) => self.group.send(other, socket, connection),
            None => Err((socket, connection)),
        };
        if let Err((socket, connection)) = sent {
            self.insert(socket, connection);
            self.group.request_loop(self.slab.open());
        }
    }

    /// Inserts the connections that other loops have sent, and updates `excess`.
    pub(crate) fn receive_connections(&mut self) {
        for (socket, connection) in self.group.receive(self.index) {
            self.insert(socket, connection);
        }
        self.note_open();
        self.excess = self.group.excess(self.index);
        if self.excess == 0 {
            self.group.request_loop(self.slab.open());
        }
    }

    pub(super) fn note_open(&self) {
        self.group.note_open(self.index, self.slab.open());
    }

    /// Sends an idle connection to a loop with fewer connections. Returns the connection if there is no such loop.
    #[cold]
    pub(super) fn send_to_other_loop(
        &mut self,
        token: Token,
        connection: Box<Connection>,
    ) -> Result<(), Box<Connection>> {
        self.excess = self.group.excess(self.index);
        let other = self.group.less_loaded(self.index, self.slab.open());
        let (Some(other), Some(socket)) = (other, self.slab.socket(token)) else { return Err(connection) };
        self.unregister(token);
        match self.group.send(other, socket, connection) {
            Ok(()) => {
                self.free_slot(token);
                Ok(())
            }
            Err((_, connection)) => Err(connection),
        }
    }

    /// Closes the connection that has been idle longest, if it has been idle for at least `idle_for` milliseconds and
    /// its client has sent nothing since. All others stay open, and new connections wait in the system's backlog.
    pub(crate) fn close_longest_idle(&mut self, idle_for: u64) {
        let is_idle =
            |connection: &Connection| connection.is_idle() && connection.state_entered_at() + idle_for <= self.now;
        let mut idle: BinaryHeap<Reverse<(u64, Token)>> = self
            .slab
            .iter()
            .filter(|(_, slot)| slot.connection.as_deref().is_some_and(is_idle))
            .map(|(token, slot)| Reverse((slot.deadline, token)))
            .collect();
        let mut has_sent_nothing = |token| {
            let socket = self.slab.socket(token);
            socket.is_some_and(|socket| {
                matches!(sys::wait_for(socket.handle(), sys::Interest::Read, Duration::ZERO), Ok(false))
            })
        };
        let by_age = std::iter::from_fn(|| idle.pop());
        let oldest = by_age.map(|Reverse((_, token))| token).find(|&token| has_sent_nothing(token));
        let Some(token) = oldest else { return };
        if let Some(mut connection) = self.slab.take(token) {
            connection.close_idle(CloseReason::DescriptorLimit);
            self.return_connection(token, connection, Step::Close);
        }
    }
}
