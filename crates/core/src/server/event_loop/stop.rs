//! Stopping a loop: idle connections are closed or handed over, and running requests have until the deadline.

use std::net::Shutdown;
use std::sync::Arc;

use super::acceptor::ACCEPTS_IN_A_ROW;
use super::slab::Token;
use super::EventLoop;
use crate::server::connection::Connection;
use crate::server::handover::{IdleConnection, Successor};
use crate::server::io::poller::PollInterest;
use crate::server::settings::millis;
use crate::server::shutdown::ShutdownHandle;

impl EventLoop {
    /// Begins to stop: stops accepting, closes or hands over idle connections, and sets the deadline of running
    /// requests.
    pub(crate) fn begin_stop(&mut self, shutdown: &ShutdownHandle) {
        if self.stopping.has_begun() {
            return;
        }
        // An application call in this thread may have delayed the moment at which the loop learns about the stop. That
        // time counts towards the deadline of running requests.
        let elapsed = shutdown.requested_since().min(self.ready.batch_age());
        let successor = shutdown.successor();
        self.service.begin_stop(successor.is_some());
        self.stopping.set_successor(successor);
        self.group.stop_listening();
        for (socket, connection) in self.group.deregister(self.index) {
            self.insert(socket, connection);
        }
        self.excess = 0;
        self.stop_accepting();
        self.now = self.service.now();
        let timeouts = &self.service.settings.timeouts;
        let deadline = self.now + millis(timeouts.shutdown.saturating_sub(elapsed));
        self.stopping.begin(deadline, self.now + millis(timeouts.linger));
        if let Some(successor) = self.stopping.successor() {
            self.hand_over_queued(&successor);
        }
        self.read_idle_once_more();
    }

    /// Accepts the connections that are pending at the listeners, unless a successor accepts them, and closes the
    /// listeners.
    fn stop_accepting(&mut self) {
        self.acceptor.prepare_stop();
        if !self.stopping.hands_over() {
            let rounds = self.service.settings.backlog.max(0) as usize / ACCEPTS_IN_A_ROW;
            for index in 0..self.acceptor.listeners() {
                for _ in 0..=rounds {
                    if !self.acceptor.is_paused() {
                        self.accept_some(index, ACCEPTS_IN_A_ROW);
                    }
                }
            }
        }
        self.acceptor.stop(&mut self.poller);
    }

    /// Reads from idle connections once more, so that a request which has already arrived is answered. Connections that
    /// are idle after that are closed, like every connection that becomes idle from now on. With a successor, they are
    /// handed over instead, together with those on which a request has arrived in part.
    fn read_idle_once_more(&mut self) {
        self.check_close_queue(u64::MAX);
        let hands_over = self.stopping.hands_over();
        let waits = |connection: &Connection| {
            connection.is_idle() || connection.awaits_close() || hands_over && connection.is_reading_head()
        };
        for (token, slot) in self.slab.iter() {
            if slot.registered == Some(PollInterest::Read) && slot.connection.as_deref().is_some_and(waits) {
                self.ready.push(token, true);
            }
        }
    }

    /// Hands a connection over to the successor. Returns it if it has to stay in this process.
    #[cold]
    pub(super) fn hand_over(
        &mut self,
        token: Token,
        mut connection: Box<Connection>,
        successor: &Successor,
    ) -> Result<(), Box<Connection>> {
        let Some(socket) = self.slab.socket(token) else { return Err(connection) };
        if !connection.can_be_handed_over() || !connection.prepare_handover(&self.service) {
            return Err(connection);
        }
        let origin = connection.origin();
        let (read_ahead, body, remains) = connection.into_idle();
        self.remains.extend(remains);
        self.remove(token);
        // Another thread may still hold the socket for a moment: the loop that has sent the connection here, or an
        // application that checks whether its client has left. In that case the successor gets a duplicate descriptor.
        match Arc::try_unwrap(socket).or_else(|shared| shared.try_clone()) {
            Ok(socket) => successor(IdleConnection { socket, origin, read_ahead, body }),
            Err(error) => {
                self.service.settings.log.error(&format!("a connection can't be handed over and is closed: {error}"));
            }
        }
        Ok(())
    }

    /// Hands the queued requests over to the successor. Those that have to stay in this process remain queued.
    fn hand_over_queued(&mut self, successor: &Successor) {
        for _ in 0..self.wait_queue.len() {
            let Some(token) = self.pop_queued() else { return };
            let Some(connection) = self.slab.take(token) else { continue };
            if let Err(kept) = self.hand_over(token, connection, successor) {
                self.queue(token, kept);
            }
        }
    }

    /// Whether the deadline of a stop has passed.
    pub(crate) fn is_past_stop(&self) -> bool {
        self.stopping.has_begun() && self.stopping.is_past(self.service.now())
    }

    /// Carries out the requests made through a [`ShutdownHandle`]: begins to stop, refuses queued requests, and ends
    /// every connection when the deadline has passed. Returns true if nothing is left to do. `detached` is the number
    /// of threads that still answer requests of this loop.
    pub(crate) fn stop_if_requested(&mut self, shutdown: &ShutdownHandle, detached: usize) -> bool {
        if self.service.has_failed() {
            shutdown.shutdown();
        }
        if shutdown.is_requested() && !self.stopping.has_begun() {
            self.begin_stop(shutdown);
        }
        if shutdown.is_refusing() && self.begin_refusing() {
            shutdown.note_refused();
        }
        if !self.stopping.has_begun() {
            return false;
        }
        if self.slab.open() == 0 && detached == 0 {
            return true;
        }
        let is_past = self.is_past_stop();
        if is_past {
            self.close_all();
        }
        is_past
    }

    /// Ends every connection, including those that other threads advance.
    fn close_all(&mut self) {
        self.refuse_unanswered();
        let mut closed = 0;
        for socket in self.slab.iter().filter_map(|(_, slot)| slot.socket.as_ref()) {
            let _ = socket.shutdown(Shutdown::Both);
            closed += 1;
        }
        if closed > 0 {
            let connections = if closed == 1 { "1 connection".to_owned() } else { format!("{closed} connections") };
            let timeout = self.service.settings.timeouts.shutdown;
            self.service.settings.log.error(&format!(
                "cut {connections} whose requests had not finished {timeout:?} after the server was told to stop"
            ));
        }
    }
}
