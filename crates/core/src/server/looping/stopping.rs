//! The end of a loop: what waits is closed or handed over, what runs has until the deadline.

use std::sync::Arc;

use super::super::connection::Connection;
use super::super::handover::{Heir, Waiting};
use super::super::poller::Interest;
use super::super::settings::millis;
use super::super::shutdown::ShutdownHandle;
use super::super::sys;
use super::{token_of, Loop, Token, ACCEPTS};

impl Loop {
    /// Gives a connection to the heir; back when it has to stay.
    #[cold]
    pub(super) fn bequeath(
        &mut self,
        token: Token,
        connection: Box<Connection>,
        heir: &Heir,
    ) -> Result<(), Box<Connection>> {
        let Some(socket) = self.socket(token) else { return Err(connection) };
        let mut connection = connection;
        if !connection.can_be_handed_over() || !connection.prepare_to_leave(&self.service) {
            return Err(connection);
        }
        let (ahead, body, left) = connection.into_waiting();
        self.discarded.extend(left);
        self.vacate(token);
        // Another thread may hold the socket for a moment longer: the loop that has sent the connection here, or an
        // application that asks whether its client has left. The successor gets a second descriptor then.
        match Arc::try_unwrap(socket).or_else(|shared| shared.try_clone()) {
            Ok(socket) => heir(Waiting { socket, ahead, body }),
            Err(error) => {
                self.service.settings.log.error(&format!("a connection can't be handed over: {error}; it is closed"));
            }
        }
        Ok(())
    }

    /// Stops accepting, closes what is idle, and gives the rest until the deadline.
    pub(in crate::server) fn begin_stop(&mut self, shutdown: &ShutdownHandle) {
        if self.stop_at.is_some() {
            return;
        }
        // Where the application runs in this thread, the time for which that kept it from hearing of the stop has run.
        let late = shutdown.requested_since().min(self.gathering_since.elapsed());
        let heir = shutdown.heir();
        self.service.begin_stop(heir.is_some());
        self.heir = heir;
        self.fleet.stop_listening();
        for (socket, connection) in self.fleet.cast_off(self.berth) {
            self.insert(socket, connection);
        }
        self.surplus = 0;
        // Whoever has connected already is let in, unless somebody else does that.
        if std::mem::take(&mut self.gives_way) | std::mem::take(&mut self.is_busy) {
            self.resting = None;
        }
        for index in 0..if self.heir.is_none() { self.listeners.len() } else { 0 } {
            for _ in 0..=self.service.settings.backlog.max(0) as usize / ACCEPTS {
                if self.resting.is_none() {
                    self.accept_some(index, ACCEPTS);
                }
            }
        }
        for listener in std::mem::take(&mut self.listeners) {
            if self.resting.is_none() {
                let _ = self.poller.remove(sys::raw(listener.handle()));
            }
        }
        self.resting = None;
        self.now = self.service.now();
        self.part_at = self.now + millis(self.service.settings.timeouts.linger);
        self.stop_at = Some(self.now + millis(self.service.settings.timeouts.shutdown.saturating_sub(late)));
        if let Some(heir) = self.heir.clone() {
            self.bequeath_waiting(&heir);
        }
        // Idle connections are read from once more: a request that has arrived meanwhile is answered. Those that
        // still wait afterwards are closed, like all that come to wait from now on. An heir gets them, and those that
        // have sent a part of a request.
        self.look_at_parting(u64::MAX);
        let hands_over = self.heir.is_some();
        for (index, slot) in self.slots.iter().enumerate() {
            let waits = |connection: &Connection| {
                connection.is_idle() || connection.is_parting() || hands_over && connection.is_reading()
            };
            if slot.connection.as_deref().is_some_and(waits) && slot.registered == Some(Interest::Read) {
                self.batch.push_back((token_of(index, slot), true));
            }
        }
    }

    /// Gives the requests that wait to the heir. What has to stay goes on waiting.
    fn bequeath_waiting(&mut self, heir: &Heir) {
        for _ in 0..self.waiting.len() {
            let Some(token) = self.pop_waiting() else { return };
            let Some(connection) = self.take(token) else { continue };
            if let Err(kept) = self.bequeath(token, connection, heir) {
                self.queue(token, kept);
            }
        }
    }

    pub(in crate::server) fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    pub(in crate::server) fn is_past_stop(&self) -> bool {
        self.stop_at.is_some_and(|at| self.service.now() >= at)
    }

    /// Ends every connection, those that other threads hold included.
    pub(in crate::server) fn cut_all(&mut self) {
        self.refuse_unanswered();
        let mut cut = 0;
        for socket in self.slots.iter().filter_map(|slot| slot.socket.as_ref()) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
            cut += 1;
        }
        if cut > 0 {
            let connections = if cut == 1 { "1 connection".to_owned() } else { format!("{cut} connections") };
            let patience = self.service.settings.timeouts.shutdown;
            self.service.settings.log.error(&format!(
                "cut {connections} whose requests were not done {patience:?} after the server was told to stop"
            ));
        }
    }
}
