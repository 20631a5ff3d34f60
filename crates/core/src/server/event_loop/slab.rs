//! The table of a loop's connections. Each is in a slot, together with the loop's state for it.

use std::sync::Arc;

use crate::server::connection::Connection;
use crate::server::io::poller::PollInterest;
use crate::server::io::socket::Socket;

/// The key of a connection, unique while it lives. The lower half is the index of its slot; the upper half is the
/// slot's generation, which changes with each connection.
pub(crate) type Token = u64;

/// The bits of the generation. The two bits above these mark the poller's keys that are not tokens.
const GENERATION: u32 = 0x3fff_ffff;

pub(super) struct Slot {
    generation: u32,
    /// `None` while the slot is vacant. The loop holds the socket so that it can shut down connections that another
    /// thread advances.
    pub(super) socket: Option<Arc<Socket>>,
    /// `None` while the slot is vacant, and while a thread advances the connection.
    pub(super) connection: Option<Box<Connection>>,
    /// The interest with which the socket is registered; `None` if it is not registered.
    pub(super) registered: Option<PollInterest>,
    /// The deadline of the connection's current state, in the service's milliseconds.
    pub(super) deadline: u64,
    /// Whether the deadline has passed, but the connection is read once more before it is timed out, because input may
    /// be pending.
    pub(super) timeout_deferred: bool,
    /// Whether the connection is in the wait queue with a complete request.
    pub(super) queued: bool,
}

#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    open: usize,
}

impl Slab {
    /// Returns the number of connections.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn insert(&mut self, socket: Arc<Socket>, connection: Box<Connection>) -> Token {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                socket: None,
                connection: None,
                registered: None,
                deadline: u64::MAX,
                timeout_deferred: false,
                queued: false,
            });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1) & GENERATION;
        slot.socket = Some(socket);
        slot.connection = Some(connection);
        slot.registered = None;
        self.open += 1;
        token_of(index, slot)
    }

    /// Returns the slot of a connection; `None` if the connection has been removed.
    #[inline]
    pub(super) fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        (slot.generation == (token >> 32) as u32 && slot.socket.is_some()).then_some(slot)
    }

    /// Takes a connection out, for a thread that advances it. The slot stays occupied.
    #[inline]
    pub(super) fn take(&mut self, token: Token) -> Option<Box<Connection>> {
        self.slot(token)?.connection.take()
    }

    /// Puts a connection back into its slot.
    #[inline]
    pub(super) fn park(&mut self, token: Token, connection: Box<Connection>, deadline: u64) {
        if let Some(slot) = self.slot(token) {
            slot.deadline = deadline;
            slot.connection = Some(connection);
        }
    }

    /// Frees the slot of a connection. Returns false if it has been freed already.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        let Some(slot) = self.slot(token) else { return false };
        slot.socket = None;
        slot.connection = None;
        slot.registered = None;
        slot.deadline = u64::MAX;
        slot.queued = false;
        self.vacant.push(token as u32 as usize);
        self.open -= 1;
        true
    }

    pub(super) fn socket(&mut self, token: Token) -> Option<Arc<Socket>> {
        self.slot(token)?.socket.clone()
    }

    /// Returns the number of slots, including the vacant ones.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Returns the slot at an index, and the token of its connection.
    pub(super) fn at(&self, index: usize) -> (Token, &Slot) {
        (token_of(index, &self.slots[index]), &self.slots[index])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Slot)> {
        self.slots.iter().enumerate().map(|(index, slot)| (token_of(index, slot), slot))
    }

    /// Drops all connections.
    pub(super) fn clear(&mut self) {
        *self = Slab::default();
    }
}

fn token_of(index: usize, slot: &Slot) -> Token {
    index as u64 | u64::from(slot.generation) << 32
}
