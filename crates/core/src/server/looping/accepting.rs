//! New connections: accepted here or sent by another loop, up to what there is room for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::super::connection::Connection;
use super::super::log::CloseReason;
use super::super::panics;
use super::super::poller::Interest;
use super::super::sys;
use super::super::transport::Socket;
use super::{token_of, Loop, Slot, Step, Token, ACCEPTS, BUSY_LOOK, BUSY_LOOKS, GIVE_WAY, LISTENER, REST};

/// How long a connection has to be idle before it makes room for a new one, in milliseconds: on one that has just come,
/// or has just been answered, a request may be on its way, while clients in the system's queue lose nothing.
const IDLE_BEFORE_SHED: u64 = 1000;

/// Before a few more connections are accepted, the system is asked whether there are any: to be refused one takes it six
/// times as long, since it makes a socket first.
const ASKED_BEFORE: usize = 6;

impl Loop {
    /// A listener has connections.
    ///
    /// Where other processes accept from the same socket, one that takes all there are keeps them for as long as they
    /// live, and the others stay idle. So each takes one, and the next when it has answered that one's request; or a few
    /// after a moment, when the one has nothing to say yet, but no more than it can run at once.
    pub(super) fn accept(&mut self, index: usize) {
        if !self.service.settings.multiprocess {
            return self.accept_some(index, ACCEPTS);
        }
        let open = self.open;
        let room = self.fleet.room(self.berth).clamp(1, ACCEPTS / 8);
        self.accept_some(index, if self.gives_way { room } else { 1 });
        if self.open > open && self.resting.is_none() {
            self.gives_way = true;
            self.rest(self.now + GIVE_WAY);
        }
    }

    /// Before it waits, a process whose threads are all busy leaves connections to the others, which may have some free. Of a
    /// new connection the system tells one of those that wait for it, so this one must not be among them.
    pub(super) fn look_at_room(&mut self) {
        if !self.service.settings.multiprocess || self.listeners.is_empty() {
            return;
        }
        let has_room = self.fleet.room(self.berth) > 0;
        if self.is_busy && has_room {
            self.end_rest();
        } else if self.resting.is_none() && !has_room {
            self.is_busy = true;
            self.left_to_others = 0;
            self.rest(self.now + BUSY_LOOK);
        }
    }

    /// The time for which accepting rests is over; not while the threads here are all busy, unless nobody takes what waits.
    pub(super) fn end_rest(&mut self) {
        self.is_busy &= self.fleet.room(self.berth) == 0;
        if !self.is_busy {
            return self.accept_again();
        }
        let waits: Vec<usize> = (0..self.listeners.len()).filter(|&index| self.has_more(index)).collect();
        self.left_to_others = if waits.is_empty() { 0 } else { self.left_to_others + 1 };
        self.resting = Some(self.now + BUSY_LOOK);
        if self.left_to_others >= BUSY_LOOKS {
            self.left_to_others = 0;
            waits.into_iter().for_each(|index| self.accept_some(index, 1));
        }
    }

    /// A request was answered: there is time for another connection.
    #[inline]
    pub(super) fn end_giving_way(&mut self) {
        if self.gives_way {
            self.gives_way = false;
            self.resting = self.resting.map(|_| self.now);
        }
    }

    pub(super) fn accept_some(&mut self, index: usize, most: usize) {
        for accepted in 0..most {
            if (1..=ASKED_BEFORE).contains(&accepted) && !self.has_more(index) {
                return;
            }
            let limit = self.service.settings.limits.connections;
            let is_shared = self.fleet.is_shared();
            let open = if is_shared { self.fleet.open() } else { self.open };
            if open >= limit {
                self.look_at_parting(u64::MAX);
                // Where one closes elsewhere, nobody tells.
                return self.rest(if is_shared { self.now + REST } else { u64::MAX });
            }
            let Some(listener) = self.listeners.get(index) else { return };
            match listener.accept() {
                Ok((socket, peer)) => {
                    let endpoint = listener.endpoint.clone();
                    let socket = Arc::new(socket);
                    let connection = match &self.service.settings.transport {
                        None => Connection::new(Box::new(socket.clone()), socket.presence(), endpoint, peer, self.now),
                        Some(layer) => match panics::catch(|| layer.wrap(socket.clone())) {
                            Ok(transport) => {
                                Connection::new(transport, socket.presence(), endpoint, peer, self.now).with_handshake()
                            }
                            Err(panic) => {
                                let message = format!("panic in the transport layer: {}", panic.report);
                                self.service.settings.log.error(&message);
                                continue;
                            }
                        },
                    };
                    self.place(socket, Box::new(connection));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    // The client gave up before it was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
                    // Linux looks for a free descriptor before it looks for a client: in a full file table, this error
                    // also stands for an empty queue, and then nobody needs the room that an idle connection takes.
                    _ if matches!(sys::wait_for(listener.handle(), false, Duration::ZERO), Ok(false)) => return,
                    _ => {
                        self.look_at_parting(u64::MAX);
                        self.shed(IDLE_BEFORE_SHED);
                        self.service.settings.log.error(&format!(
                            "can't accept connections for now: {error}; is the limit of open files (ulimit -n) too low?"
                        ));
                        return self.rest(self.now + REST);
                    }
                },
            }
        }
    }

    /// May there be another connection for this listener?
    fn has_more(&self, index: usize) -> bool {
        let Some(listener) = self.listeners.get(index) else { return false };
        sys::wait_for(listener.handle(), false, Duration::ZERO).unwrap_or(true)
    }

    /// Keeps a new connection, or gives it to a loop that has fewer.
    pub(super) fn place(&mut self, socket: Arc<Socket>, connection: Box<Connection>) {
        let roomier = self.stop_at.is_none().then(|| self.fleet.roomier(self.berth, self.open)).flatten();
        let sent = match roomier {
            Some(other) => self.fleet.send(other, socket, connection),
            None => Err((socket, connection)),
        };
        if let Err((socket, connection)) = sent {
            self.insert(socket, connection);
            self.fleet.ask_for_another(self.open);
        }
    }

    /// Takes in what other loops have sent, and sees whether there is now something to send to them.
    pub(in crate::server) fn take_mail(&mut self) {
        for (socket, connection) in self.fleet.collect(self.berth) {
            self.insert(socket, connection);
        }
        self.note_open();
        self.surplus = self.fleet.surplus(self.berth);
        if self.surplus == 0 {
            self.fleet.ask_for_another(self.open);
        }
    }

    pub(super) fn note_open(&self) {
        self.fleet.note_open(self.berth, self.open);
    }

    /// Gives an idle connection away; false when nobody takes it.
    #[cold]
    pub(super) fn give_away(&mut self, token: Token, connection: Box<Connection>) -> Result<(), Box<Connection>> {
        self.surplus = self.fleet.surplus(self.berth);
        let other = self.fleet.roomier(self.berth, self.open);
        let (Some(other), Some(socket)) = (other, self.socket(token)) else { return Err(connection) };
        self.unregister(token);
        match self.fleet.send(other, socket, connection) {
            Ok(()) => {
                self.forget(token);
                Ok(())
            }
            Err((_, connection)) => Err(connection),
        }
    }

    pub(in crate::server) fn insert(&mut self, socket: Arc<Socket>, mut connection: Box<Connection>) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                socket: None,
                connection: None,
                registered: None,
                deadline: u64::MAX,
                spared: false,
                queued: false,
            });
            self.slots.len() - 1
        });
        connection.note(&socket);
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1) & 0x3fff_ffff;
        slot.socket = Some(socket);
        slot.registered = None;
        let token = index as u64 | u64::from(slot.generation) << 32;
        // The request has often arrived with the connection: looked for before it is waited for.
        slot.connection = Some(connection);
        self.open += 1;
        self.note_open();
        self.batch.push_back((token, true));
    }

    /// Stops accepting until a time, or until a connection closes.
    pub(super) fn rest(&mut self, until: u64) {
        if self.resting.is_none() {
            for listener in &self.listeners {
                let _ = self.poller.remove(sys::raw(listener.handle()));
            }
        }
        self.resting = Some(until);
    }

    pub(super) fn accept_again(&mut self) {
        self.resting = None;
        for (index, listener) in self.listeners.iter().enumerate() {
            let _ = self.poller.add(sys::raw(listener.handle()), LISTENER | index as u64, Interest::Accept);
        }
    }

    /// Closes the connection that has been idle longest: one that has nothing half-done, and whose client has sent
    /// nothing since, for at least so many milliseconds. The others keep their place, and new ones wait in the system's
    /// queue.
    pub(in crate::server) fn shed(&mut self, idle_for: u64) {
        let mut idle: Vec<usize> = (0..self.slots.len())
            .filter(|&index| {
                let connection = self.slots[index].connection.as_ref();
                connection.is_some_and(|connection| connection.is_idle() && connection.since() + idle_for <= self.now)
            })
            .collect();
        idle.sort_by_key(|&index| self.slots[index].deadline);
        let oldest = idle.into_iter().find(|&index| {
            let socket = self.slots[index].socket.as_ref();
            socket.is_some_and(|socket| matches!(sys::wait_for(socket.handle(), false, Duration::ZERO), Ok(false)))
        });
        let Some(token) = oldest.map(|index| token_of(index, &self.slots[index])) else { return };
        if let Some(mut connection) = self.take(token) {
            connection.part(CloseReason::Shed);
            self.put_back(token, connection, Step::Close);
        }
    }
}
