//! New connections: accepted here or sent by another loop, up to what there is room for.

use std::sync::Arc;
use std::time::Duration;

use super::acceptor::{Accepted, ACCEPTS_IN_A_ROW};
use super::slab::Token;
use super::EventLoop;
use crate::server::connection::{Connection, Step};
use crate::server::io::socket::Socket;
use crate::server::log::CloseReason;
use crate::server::sys;

/// How long accepting pauses after the file table was full, in milliseconds.
const ACCEPT_PAUSE: u64 = 100;
/// How long a connection has to be idle before it makes room for a new one, in milliseconds. On one that has just come, or
/// has just been answered, a request may be on its way, while clients in the system's queue lose nothing.
const IDLE_BEFORE_CLOSE: u64 = 1000;
/// Before this many further connections are accepted, the poller is asked for each whether there is one: an `accept` that
/// finds nothing takes six times as long, since the system makes a socket first.
const ASKED_BEFORE: usize = 6;

impl EventLoop {
    /// Accepts from a listener that has connections.
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

    /// Leaves connections to other processes while all threads of this one are busy.
    pub(super) fn check_saturation(&mut self) {
        if self.service.settings.runtime.multiprocess {
            let available_slots = self.available_slots();
            if self.acceptor.check_saturation(&mut self.poller, available_slots, self.now) {
                self.end_accept_pause();
            }
        }
    }

    /// Resumes accepting.
    pub(super) fn end_accept_pause(&mut self) {
        let available_slots = self.available_slots();
        for index in self.acceptor.end_pause(&mut self.poller, available_slots, self.now) {
            self.accept_some(index, 1);
        }
    }

    /// Accepts up to `maximum` connections.
    pub(super) fn accept_some(&mut self, index: usize, maximum: usize) {
        for accepted in 0..maximum {
            if (1..=ASKED_BEFORE).contains(&accepted) && !self.acceptor.has_pending(index) {
                return;
            }
            if self.is_full() {
                self.check_closing(u64::MAX);
                // A connection that closes in another loop is not reported here.
                let until = if self.group.is_shared() { self.now + ACCEPT_PAUSE } else { u64::MAX };
                return self.acceptor.pause(&mut self.poller, until);
            }
            match self.acceptor.accept(index, &self.service, self.now) {
                Accepted::Connection(socket, connection) => self.place(socket, connection),
                Accepted::Retry => {}
                Accepted::Empty => return,
                Accepted::Failed(error) => {
                    self.check_closing(u64::MAX);
                    self.close_longest_idle(IDLE_BEFORE_CLOSE);
                    self.service.settings.log.error(&format!(
                        "can't accept connections for now: {error}; is the limit of open files (ulimit -n) too low?"
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

    /// Keeps a new connection, or sends it to a loop that has fewer.
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

    /// Takes in the connections that other loops have sent, and finds out whether this loop has too many.
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

    /// Sends an idle connection to a loop that has fewer. Gives it back when there is none.
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

    /// Closes the connection that has been idle longest, and for at least `idle_for` milliseconds: one on which nothing is
    /// half done, and whose client has sent nothing since. The others stay, and new ones wait in the system's queue.
    pub(crate) fn close_longest_idle(&mut self, idle_for: u64) {
        let is_idle =
            |connection: &Connection| connection.is_idle() && connection.state_entered_at() + idle_for <= self.now;
        let mut idle: Vec<(u64, Token)> = self
            .slab
            .iter()
            .filter(|(_, slot)| slot.connection.as_deref().is_some_and(is_idle))
            .map(|(token, slot)| (slot.deadline, token))
            .collect();
        idle.sort_by_key(|&(deadline, _)| deadline);
        let oldest = idle.into_iter().map(|(_, token)| token).find(|&token| {
            let socket = self.slab.socket(token);
            socket.is_some_and(|socket| {
                matches!(sys::wait_for(socket.handle(), sys::Interest::Read, Duration::ZERO), Ok(false))
            })
        });
        let Some(token) = oldest else { return };
        if let Some(mut connection) = self.slab.take(token) {
            connection.close_idle(CloseReason::DescriptorLimit);
            self.return_connection(token, connection, Step::Close);
        }
    }
}
