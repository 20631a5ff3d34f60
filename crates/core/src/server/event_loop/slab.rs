//! The connections of a loop, each in a slot with what the loop has to know about it.

use std::sync::Arc;

use crate::server::connection::Connection;
use crate::server::io::poller::PollInterest;
use crate::server::io::socket::Socket;

/// Names a connection for as long as it lives: the index of its slot, and in the upper half how many connections have had
/// that slot before.
pub(crate) type Token = u64;

/// The generation's bits; the two above them mark events that are no connection's.
const GENERATION: u32 = 0x3fff_ffff;

pub(super) struct Slot {
    generation: u32,
    /// `None` while vacant. The loop holds it to end connections that another thread advances.
    pub(super) socket: Option<Arc<Socket>>,
    /// `None` while vacant, and while a thread advances the connection.
    pub(super) connection: Option<Box<Connection>>,
    /// What the poller watches the descriptor for.
    pub(super) registered: Option<PollInterest>,
    /// When the connection has to have moved on, in the service's milliseconds.
    pub(super) deadline: u64,
    /// Whether the deadline has passed, but the connection is read once more before it is timed out: input may be pending.
    pub(super) timeout_deferred: bool,
    /// Whether a complete request waits in the queue of the loop.
    pub(super) queued: bool,
}

#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    open: usize,
}

impl Slab {
    /// The number of connections.
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

    /// The slot of a connection that is still there.
    #[inline]
    pub(super) fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        (slot.generation == (token >> 32) as u32 && slot.socket.is_some()).then_some(slot)
    }

    /// Takes a connection out, for a thread that advances it. Its slot stays.
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

    /// Frees the slot of a connection. False when there was none.
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

    /// The number of slots, the vacant ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slot at an index, and the token of its connection.
    pub(super) fn at(&self, index: usize) -> (Token, &Slot) {
        (token_of(index, &self.slots[index]), &self.slots[index])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Slot)> {
        self.slots.iter().enumerate().map(|(index, slot)| (token_of(index, slot), slot))
    }

    /// Forgets all connections.
    pub(super) fn clear(&mut self) {
        *self = Slab::default();
    }
}

fn token_of(index: usize, slot: &Slot) -> Token {
    index as u64 | u64::from(slot.generation) << 32
}
