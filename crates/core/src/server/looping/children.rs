//! What a forking server asks of its loop.

use std::io;
use std::sync::Arc;

use super::super::poller::{Interest, Poller};
use super::super::sys;
use super::super::transport::Socket;
use super::{Loop, Token, CHILD};

/// What a forked child leaves of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Left {
    Nothing,
    /// It waits for the next request.
    Idle,
    /// It waits for the client's end, which the client may have announced.
    Lingering {
        announced: bool,
    },
}

impl Loop {
    /// In a forked child: closes every descriptor but one connection's. The poller is shared with the parent, and only
    /// closed, never changed.
    pub(in crate::server) fn abandon_but(&mut self, token: Token) -> Option<Arc<Socket>> {
        let socket = self.socket(token);
        self.poller = Poller::Poll(Default::default());
        self.listeners.clear();
        self.fleet.stop_listening();
        self.slots.clear();
        self.vacant.clear();
        socket
    }

    /// What the parent can see to from now on, of a forked child's one connection.
    pub(in crate::server) fn left(&self) -> Left {
        let Some(connection) = self.slots.iter().find_map(|slot| slot.connection.as_ref()) else {
            return Left::Nothing;
        };
        match connection.lingers() {
            _ if connection.is_idle() => Left::Idle,
            Some(announced) => Left::Lingering { announced },
            None => Left::Nothing,
        }
    }

    pub(in crate::server) fn watch_child(&mut self, fd: sys::Raw, number: u64) -> io::Result<()> {
        self.poller.add(fd, CHILD | number, Interest::Read)
    }

    pub(in crate::server) fn forget_child(&mut self, fd: sys::Raw) {
        let _ = self.poller.remove(fd);
    }
}
