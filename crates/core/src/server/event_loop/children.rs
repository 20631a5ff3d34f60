//! What a forking server asks of its loop.

use std::io;
use std::sync::Arc;

use super::slab::Token;
use super::{EventLoop, CHILD};
use crate::server::io::poller::{PollInterest, Poller};
use crate::server::io::socket::Socket;
use crate::server::sys;

/// What a request's process leaves of its connection, for its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// The connection waits for the next request.
    Idle,
    /// The connection waits for the client's end of it. `announced`: the client has said that it closes.
    Lingering {
        announced: bool,
    },
}

impl EventLoop {
    /// In a forked process: closes every descriptor but one connection's. The poller is shared with the parent, so it is
    /// closed and not changed.
    pub(crate) fn close_all_except(&mut self, token: Token) -> Option<Arc<Socket>> {
        let socket = self.slab.socket(token);
        self.poller = Poller::Poll(Default::default());
        self.acceptor.forget();
        self.group.stop_listening();
        self.slab.clear();
        socket
    }

    /// In a forked process: what the parent can do from now on for the only connection.
    pub(crate) fn left(&self) -> Left {
        let Some(connection) = self.slab.iter().find_map(|(_, slot)| slot.connection.as_ref()) else {
            return Left::Nothing;
        };
        match connection.lingering() {
            _ if connection.is_idle() => Left::Idle,
            Some(announced) => Left::Lingering { announced },
            None => Left::Nothing,
        }
    }

    /// Reports in `ended_children` when the other end of a request process's socket closes or sends.
    pub(crate) fn watch_child(&mut self, fd: sys::Raw, number: u64) -> io::Result<()> {
        self.poller.add(fd, CHILD | number, PollInterest::Read)
    }

    pub(crate) fn unwatch_child(&mut self, fd: sys::Raw) {
        let _ = self.poller.remove(fd);
    }
}
