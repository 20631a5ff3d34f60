//! What the event loop and the drivers ask about a connection. Nothing here changes it.

use std::time::Instant;

use super::state::State;
use super::Connection;
use crate::server::log::CloseReason;
use crate::wsgi::Peer;

impl Connection {
    /// Whether the connection waits for a request of which nothing has arrived.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        let has_not_begun = match &self.state {
            State::Head | State::Handshake { begun: false } => true,
            State::ProxyHeader(pending) => pending.bytes.is_empty(),
            _ => false,
        };
        has_not_begun
            && self.write_buffer.unsent() == 0
            && self.read_buffer.as_ref().is_none_or(|buffer| buffer.is_empty())
    }

    /// Whether what is left to write waits for the transport, and not for the socket.
    pub(crate) fn awaits_transport(&self) -> bool {
        self.transport.awaits_waker()
    }

    /// Whether the connection waits for a request, or for the rest of a head or PROXY header.
    pub(crate) fn is_reading_head(&self) -> bool {
        matches!(self.state, State::Head | State::ProxyHeader(_))
    }

    /// Whether a request has arrived in part: bytes of its head, or of the body that is collected before the
    /// application runs.
    pub(crate) fn has_partial_request(&self) -> bool {
        match self.state {
            State::Collect(_) => true,
            State::Head => self.read_buffer.as_ref().is_some_and(|buffer| !buffer.is_empty()),
            _ => false,
        }
    }

    /// Whether a response is being sent.
    pub(crate) fn is_responding(&self) -> bool {
        matches!(self.state, State::Respond(_))
    }

    /// Returns `Some` while the connection lingers, that is, only waits for the client to close. The value says whether
    /// the client has announced that it will.
    pub(crate) fn lingering(&self) -> Option<bool> {
        match self.state {
            State::Linger { announced } => Some(announced),
            _ => None,
        }
    }

    /// Whether the connection only waits for a client that has announced that it will close.
    pub(crate) fn awaits_close(&self) -> bool {
        self.lingering() == Some(true)
    }

    /// Whether HTTP runs directly on the socket, so that another process can continue the connection between two
    /// requests. False with a transport layer, whether its handshake is to come or done (`session`).
    pub(crate) fn is_plain(&self) -> bool {
        self.session.is_none() && !self.expects_handshake()
    }

    /// Whether the transport's handshake is not complete.
    pub(super) fn expects_handshake(&self) -> bool {
        match &self.state {
            State::Handshake { .. } => true,
            State::ProxyHeader(pending) => pending.handshake,
            _ => false,
        }
    }

    /// When the state's deadline began to run, in the service's milliseconds.
    pub(crate) fn state_entered_at(&self) -> u64 {
        self.state_entered_at
    }

    /// The number of requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// The client: the other end of the socket, or the address in the PROXY header.
    pub(crate) fn client(&self) -> Peer {
        self.provenance.peers.client
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// When the request in the buffer began to wait for a thread; `None` if it does not wait.
    pub(crate) fn queued_since(&self) -> Option<Instant> {
        self.queued_at
    }
}
