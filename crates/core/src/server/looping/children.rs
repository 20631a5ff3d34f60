//! What a forking server asks of its loop.

use std::io;
use std::sync::Arc;

use super::super::poller::{Interest, Poller};
use super::super::sys;
use super::super::transport::Socket;
use super::{Loop, Token, CHILD};

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

    /// Nothing is under way on any connection.
    pub(in crate::server) fn is_quiet(&self) -> bool {
        self.slots.iter().all(|slot| {
            slot.socket.is_none() || slot.connection.as_ref().is_some_and(|connection| connection.is_idle())
        })
    }

    pub(in crate::server) fn watch_child(&mut self, fd: sys::Raw, number: u64) -> io::Result<()> {
        self.poller.add(fd, CHILD | number, Interest::Read)
    }

    pub(in crate::server) fn forget_child(&mut self, fd: sys::Raw) {
        let _ = self.poller.remove(fd);
    }
}
