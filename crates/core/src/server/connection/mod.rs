//! One connection, from its first byte to its last: a state machine that blocks only while the application runs.
//!
//! ```text
//!       ProxyHeader (PROXY protocol)
//!            │
//!        Handshake (TLS)
//!            │
//!            ┌─────────────────────────────────────────────────────────┐
//!            ▼                                                         │
//!   ──►   Head ──► Collect ──► application ──► Respond ──► Drain ──────┤ keep-alive
//!            │        │             │             │          │         │
//!            ▼        ▼             ▼             ▼          ▼         │
//!         Closing ◄───┴─────────────┴─────────────┴──────────┘         │
//!            │                                                         │
//!            ▼                                                         │
//!         Linger ──► Closed        Upgrade ──► (leaves the server)
//! ```
//!
//! [`Connection::advance`] does as much as it can without blocking and returns a [`Step`]: what the connection waits
//! for. It asks a [`Scheduler`](super::scheduler::Scheduler) before it runs the application.
//!
//! This file holds the struct and every transition between its states; no other file assigns a state. The work done in
//! each state is in the files beside it:
//!
//! | file | what it does |
//! |---|---|
//! | `drive` | advances a connection: handshake, head, lingering, and the choice of the file that handles the current state |
//! | `proxy_header` | reads the PROXY header, and decides whether the peer is trusted |
//! | `dispatch` | checks a complete head, asks the scheduler, and calls the application |
//! | `response`, `send` | begin and end a response; send one that does not fit into the write buffer |
//! | `body_source` | opens what the application returned: bytes, blocks, a file |
//! | `status` | answers the event loop's questions about a connection |
//! | `abort` | handles failures of the application, and closes its bodies |
//! | `refusal` | writes responses of the server's own, such as 400 and 503 |
//! | `detached` | writes the response of an application that answers after its call has returned |
//! | `collect`, `drain` | read a body before the application runs, and the rest of a body that it has not read |
//! | `flush` | sends the write buffer, and decides what the connection does next |
//! | `deadlines` | computes the deadline of the current state, and times the connection out |
//! | `handover` | transfers a connection to another process, or takes one over |
//! | `access_log` | logs a response when its last byte has been sent |
//! | `hijack`, `upgrade` | handle an application that has taken over the socket: by hijacking it, or after response 101 |
//! | `blocking_io` | reads and writes while the application waits |
//! | `response_writer`, `body_reader` | implement `start_response` and `wsgi.input` |
//! | `request_body` | tracks how much of a body has been read |
//! | `read_buffer`, `write_buffer` | hold received bytes until they are parsed, and response bytes until they are sent |

mod abort;
mod access_log;
mod blocking_io;
mod body_reader;
mod body_source;
mod collect;
mod deadlines;
pub(crate) mod detached;
mod dispatch;
mod drain;
mod drive;
mod flush;
mod handover;
mod hijack;
mod proxy_header;
pub(crate) mod read_buffer;
mod refusal;
mod request_body;
mod response;
mod response_writer;
mod send;
mod state;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod upgrade;
mod write_buffer;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::body_store::BodyStore;
use super::io::fork_guard::ForkGuard;
use super::io::socket::Socket;
use super::io::transport::{HandshakeInfo, Transport, TransportWaker};
use super::listener::Endpoint;
use super::log::CloseReason;
use super::panics::{self, AppOwned};
use super::proxies::{Provenance, ProxyOrigin};
use super::service::Service;
use super::sys;
use super::upgrade::OnUpgrade;
use crate::wsgi::{Extensions, Peer, Presence};
use body_source::BodySource;
use read_buffer::ReadBuffer;
use request_body::RequestBody;
use state::{
    CloseMode, CollectedRequest, Detached, Exchange, PendingLog, PendingProxyHeader, RequestClock, Response, State,
    Transfer,
};
use write_buffer::WriteBuffer;

pub(crate) use state::{Remains, Step};

pub(crate) struct Connection {
    /// Declared before the transport, so that it is dropped before the descriptor closes.
    fork_guard: Option<ForkGuard>,
    transport: Box<dyn Transport>,
    endpoint: Arc<Endpoint>,
    provenance: Provenance,
    presence: Weak<dyn Presence>,
    /// Values that the application keeps from one request of this connection to the next.
    extensions: AppOwned<Extensions>,
    /// What the transport reported after its handshake; `None` if there was no handshake.
    session: Option<Box<HandshakeInfo>>,
    /// Attached while the connection is advanced or has unread bytes; an idle connection has none.
    read_buffer: Option<Box<ReadBuffer>>,
    write_buffer: WriteBuffer,
    state: State,
    /// When the state's deadline began to run, in the service's milliseconds.
    state_entered_at: u64,
    /// Whether the deadline of a head is running. False only while the beginning of a head is buffered and the head's
    /// time has not started yet.
    head_timer_running: bool,
    /// The complete body of the request in the buffer, if the body is not in the buffer itself.
    body: Option<BodyStore>,
    /// When the request in the buffer was complete, and how long it has been queued.
    clock: RequestClock,
    /// When the request in the buffer began to wait for a thread.
    queued_at: Option<Instant>,
    /// Whether the application has said that the request in the buffer is not immediate. It is not asked again, since
    /// the question may take as long as a look at a slow disk.
    needs_slot: bool,
    /// The progress of writing, once the socket's send buffer has been full. `None` while the client keeps up.
    writing: Option<Transfer>,
    /// The progress of draining a body.
    draining: Transfer,
    /// Log entries of the responses in the write buffer. An entry is written when its response has been sent.
    pending_log: Vec<PendingLog>,
    /// The body source of a response that was given up; dropping it may run application code.
    abandoned_source: Option<BodySource>,
    close_reason: Option<CloseReason>,
    /// Whether the task that answers a detached request has to be resumed.
    wakes_task: bool,
    /// The number of requests answered so far.
    answered: u64,
}

impl Connection {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        presence: Weak<dyn Presence>,
        endpoint: Arc<Endpoint>,
        peer: Peer,
        now: u64,
    ) -> Connection {
        Connection {
            fork_guard: None,
            transport,
            endpoint,
            provenance: Provenance::new(peer),
            presence,
            extensions: AppOwned::new(Extensions::default()),
            session: None,
            read_buffer: None,
            write_buffer: WriteBuffer::default(),
            state: State::Head,
            state_entered_at: now,
            head_timer_running: true,
            body: None,
            clock: RequestClock::default(),
            queued_at: None,
            needs_slot: false,
            writing: None,
            draining: Transfer::default(),
            pending_log: Vec::new(),
            abandoned_source: None,
            close_reason: None,
            wakes_task: false,
            answered: 0,
        }
    }

    /// Makes the connection of a socket that was just accepted, which begins with the handshake of the transport layer if
    /// there is one. `None` if the layer has panicked.
    pub(crate) fn accepted(
        service: &Service,
        socket: &Arc<Socket>,
        endpoint: Arc<Endpoint>,
        peer: Peer,
        now: u64,
    ) -> Option<Connection> {
        let Some(layer) = &service.settings.transport else {
            return Some(Connection::new(Box::new(socket.clone()), socket.presence(), endpoint, peer, now));
        };
        match panics::catch(|| layer.wrap(socket.clone())) {
            Ok(transport) => {
                let mut connection = Connection::new(transport, socket.presence(), endpoint, peer, now);
                connection.state = State::Handshake { begun: false };
                Some(connection)
            }
            Err(panic) => {
                service.settings.log.error(&format!("panic in the transport layer: {}", panic.report));
                None
            }
        }
    }

    // Transitions

    /// Makes the connection begin with a PROXY header, before the handshake if there is one.
    fn await_proxy_header(&mut self, socket: Arc<Socket>) {
        let handshake = matches!(self.state, State::Handshake { .. });
        self.state = State::ProxyHeader(Box::new(PendingProxyHeader::new(socket, handshake)));
    }

    /// Ends the wait for the PROXY header: the handshake follows, or the first request.
    fn end_proxy_header(&mut self, service: &Service, origin: ProxyOrigin, now: u64) {
        let handshake = self.expects_handshake();
        self.provenance.set_origin(origin, &service.settings.proxies.trusted);
        self.state_entered_at = now;
        self.state = if handshake { State::Handshake { begun: false } } else { State::Head };
    }

    /// Closes a connection at once, because its peer is not one of the proxies that may connect.
    fn refuse_untrusted(&mut self) {
        self.set_close_reason(CloseReason::UntrustedProxy);
        self.state = State::Closed;
    }

    /// Notes that the client has begun the handshake. Its deadline runs from the first such call.
    fn handshake_begun(&mut self, now: u64) {
        if !matches!(self.state, State::Handshake { begun: true }) {
            self.state = State::Handshake { begun: true };
            self.state_entered_at = now;
        }
    }

    fn handshake_done(&mut self, session: HandshakeInfo, now: u64) {
        self.session = Some(Box::new(session));
        self.state_entered_at = now;
        self.state = State::Head;
    }

    fn begin_collecting(&mut self, request: CollectedRequest) {
        self.state = State::Collect(Box::new(request));
    }

    /// Ends the collection of a body: restores the head to the read buffer, in front of the bytes that follow the body.
    /// Returns the body as far as it was collected.
    fn end_collecting(&mut self) -> Option<BodyStore> {
        let State::Collect(_) = &self.state else { return None };
        let State::Collect(request) = std::mem::replace(&mut self.state, State::Head) else { return None };
        let CollectedRequest { head, store, .. } = *request;
        match &mut self.read_buffer {
            Some(buffer) => buffer.restore_head(head),
            none => *none = Some(Box::new(head)),
        }
        Some(store)
    }

    /// Begins or continues to send a response.
    fn continue_response(&mut self, response: Box<Response>) {
        self.state = State::Respond(response);
    }

    /// Takes the response out of the state, for one step of sending. The state is `Closed` until a transition follows,
    /// so a panic during the step leaves the connection closed.
    fn take_response(&mut self) -> Option<Box<Response>> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Respond(response) => Some(response),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Begins or continues to answer a request after its application's call has returned.
    fn continue_detached(&mut self, detached: Box<Detached>) {
        self.state = State::Detached(detached);
    }

    /// Takes a detached request out of the state, for one step of its response, as
    /// [`take_response`](Connection::take_response) does.
    fn take_detached(&mut self) -> Option<Box<Detached>> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Detached(detached) => Some(detached),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Ends an exchange whose response is complete in the write buffer. The next state reads the next request, drains
    /// the rest of this request's body, or closes the connection.
    #[inline]
    fn end_exchange(&mut self, exchange: &mut Exchange, keep_alive: bool) {
        let has_more = self.read_buffer.as_ref().is_some_and(|buffer| buffer.len() > exchange.consumed);
        let body = &exchange.body;
        // `body` can rule out a keep-alive that the response head has announced: the head was sent before it was known
        // that the application would not read the body.
        if !keep_alive || body.failed.is_some() || body.continue_pending {
            if body.continue_pending {
                self.set_close_reason(CloseReason::NotContinued);
            } else if !body.is_done() {
                self.set_close_reason(CloseReason::Undrained);
            }
            let announced = exchange.client_closes && body.is_done() && !has_more;
            return self.begin_closing(CloseMode::Linger { announced });
        }
        if let Some(buffer) = &mut self.read_buffer {
            buffer.next_request(exchange.consumed);
            // If the next head has begun to arrive, its deadline runs from the moment at which it turns out to be
            // incomplete.
            self.head_timer_running = !has_more;
        }
        if !exchange.body.is_done() {
            self.draining = Transfer::default();
            self.state = State::Drain(std::mem::replace(&mut exchange.body, RequestBody::finished()));
        } else if !matches!(self.state, State::Head) {
            // Checked, because an assignment drops the old state, which takes longer.
            self.state = State::Head;
        }
    }

    /// Ends draining: the unread body has been discarded, and the next request follows.
    fn end_draining(&mut self, now: u64) {
        if let Some(buffer) = &mut self.read_buffer {
            buffer.next_request(0);
        }
        self.state_entered_at = now;
        self.draining = Transfer::default();
        self.state = State::Head;
    }

    /// Closes once the write buffer has been sent.
    fn begin_closing(&mut self, mode: CloseMode) {
        self.state = State::Closing(mode);
    }

    fn begin_linger(&mut self, announced: bool, now: u64) {
        self.state_entered_at = now;
        self.state = State::Linger { announced };
    }

    fn begin_upgrade(&mut self, on_upgrade: OnUpgrade) {
        self.state = State::Upgrade(on_upgrade);
    }

    /// Takes apart a connection that leaves the server after response 101: returns the application's function, the
    /// transport, and the bytes that were read ahead.
    pub(crate) fn into_upgrade(mut self) -> Option<(OnUpgrade, Box<dyn Transport>, Vec<u8>)> {
        let State::Upgrade(on_upgrade) = std::mem::replace(&mut self.state, State::Closed) else { return None };
        let read_ahead = self.read_buffer.take().map_or_else(Vec::new, |buffer| buffer.unread().to_vec());
        Some((on_upgrade, self.transport, read_ahead))
    }

    /// Ends the connection. The body source of a response that was being sent is kept in `abandoned_source`, to be dropped
    /// outside of the event loop.
    fn close(&mut self) -> Step {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Respond(response) => self.abandoned_source = Some(response.source),
            State::Detached(_) => self.wakes_task = true,
            _ => {}
        }
        self.clear_buffer();
        Step::Close
    }

    /// Ends the connection because the client has left, or can't be reached.
    pub(crate) fn peer_gone(&mut self) -> Step {
        self.set_close_reason(CloseReason::ClientLeft);
        self.close()
    }

    /// Closes the transport of an idle connection in an orderly way, so that the client sees no truncation.
    pub(crate) fn close_idle(&mut self, reason: CloseReason) {
        self.set_close_reason(reason);
        self.transport.close();
    }

    /// Sets why the connection ends, unless a reason has been set before.
    fn set_close_reason(&mut self, reason: CloseReason) {
        self.close_reason.get_or_insert(reason);
    }

    // What the event loop provides

    /// Attaches a read buffer if the connection has none.
    #[inline]
    pub(crate) fn attach_buffer(&mut self, buffer: impl FnOnce() -> Box<ReadBuffer>) {
        if self.read_buffer.is_none() {
            self.read_buffer = Some(buffer());
        }
    }

    /// Releases the read buffer, if it is empty.
    #[inline]
    pub(crate) fn release_buffer(&mut self) -> Option<Box<ReadBuffer>> {
        self.read_buffer.take_if(|buffer| buffer.is_empty())
    }

    fn clear_buffer(&mut self) {
        if let Some(buffer) = &mut self.read_buffer {
            buffer.clear();
        }
    }

    /// Gives the transport a handle that wakes the loop for this connection.
    pub(crate) fn set_waker(&mut self, waker: TransportWaker) {
        self.transport.set_waker(waker);
    }

    /// Keeps processes that the application forks from holding this connection's descriptor open.
    pub(crate) fn guard_from_forks(&mut self, socket: &Socket) {
        self.fork_guard.get_or_insert_with(|| ForkGuard::new(sys::raw(socket.handle())));
    }

    /// Ends the wait for a thread. Returns how long the request has waited.
    #[inline]
    fn end_queueing(&mut self) -> Duration {
        let Some(since) = self.queued_at.take() else { return Duration::ZERO };
        let queued_for = since.elapsed();
        self.clock.queued_for += queued_for;
        queued_for
    }

    /// Moves the beginning of the wait for a thread back by the time that the request has waited in the socket's
    /// receive buffer.
    pub(crate) fn backdate_queueing(&mut self, by: Option<Duration>) {
        if let (Some(since), Some(by)) = (self.queued_at, by) {
            self.queued_at = since.checked_sub(by).or(self.queued_at);
        }
    }

    /// Runs a function on this connection. A panic in it, whether in an embedder's transport or in the server itself,
    /// ends only this connection.
    #[inline]
    pub(crate) fn catch_panic(&mut self, service: &Service, run: impl FnOnce(&mut Connection) -> Step) -> Step {
        panics::catch(|| run(self)).unwrap_or_else(|panic| {
            let client = self.provenance.peers.client;
            service.settings.log.error(&format!("panic in the connection with {client}: {}", panic.report));
            self.set_close_reason(CloseReason::ResponseAborted);
            // The panic may have left the buffer inconsistent, so no other connection may get it.
            self.read_buffer = None;
            self.close()
        })
    }

    /// Takes the application's values out of a connection that ends. Dropping them may take a while.
    pub(crate) fn take_remains(&mut self) -> Option<Remains> {
        let extensions = std::mem::replace(&mut self.extensions, AppOwned::new(Extensions::default()));
        let extensions = extensions.get().is_some_and(|kept| !kept.is_empty()).then_some(extensions);
        let source = self.abandoned_source.take().filter(BodySource::has_close);
        let on_upgrade = match std::mem::replace(&mut self.state, State::Closed) {
            State::Upgrade(on_upgrade) => Some(on_upgrade),
            state => {
                self.state = state;
                None
            }
        };
        let body = self.body.take().filter(BodyStore::has_file);
        let is_empty = extensions.is_none() && source.is_none() && on_upgrade.is_none() && body.is_none();
        (!is_empty).then_some(Remains {
            _extensions: extensions,
            _source: source,
            _on_upgrade: on_upgrade,
            _body: body,
        })
    }
}
