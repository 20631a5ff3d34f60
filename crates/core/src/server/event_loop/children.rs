//! The functions of a loop that only the forking server uses.

use std::io;
use std::sync::Arc;

use super::slab::Token;
use super::{EventLoop, CHILD};
use crate::server::io::poller::{PollInterest, Poller};
use crate::server::io::socket::Socket;
use crate::server::sys;

/// The state in which a request process leaves its connection to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionOutcome {
    Nothing,
    /// The connection waits for the next request.
    Idle,
    /// The connection waits for the client to close. `announced`: whether the client has said that it will.
    Lingering {
        announced: bool,
    },
}

impl EventLoop {
    /// In a forked process: closes every descriptor except one connection's. The poller is shared with the parent, so
    /// it is closed without unregistering anything.
    pub(crate) fn close_all_except(&mut self, token: Token) -> Option<Arc<Socket>> {
        let socket = self.slab.socket(token);
        self.poller = Poller::Poll(Default::default());
        self.acceptor.forget();
        self.group.stop_listening();
        self.slab.clear();
        socket
    }

    /// In a forked process: returns the state of its only connection, for the parent.
    pub(crate) fn connection_outcome(&self) -> ConnectionOutcome {
        let Some(connection) = self.slab.iter().find_map(|(_, slot)| slot.connection.as_ref()) else {
            return ConnectionOutcome::Nothing;
        };
        match connection.lingering() {
            _ if connection.is_idle() => ConnectionOutcome::Idle,
            Some(announced) => ConnectionOutcome::Lingering { announced },
            None => ConnectionOutcome::Nothing,
        }
    }

    /// Watches the parent's socket to a request process. When the process writes its report or exits, `number` is added
    /// to `ended_children`.
    pub(crate) fn watch_child(&mut self, fd: sys::Raw, number: u64) -> io::Result<()> {
        self.poller.add(fd, CHILD | number, PollInterest::Read)
    }

    pub(crate) fn unwatch_child(&mut self, fd: sys::Raw) {
        let _ = self.poller.remove(fd);
    }
}
