//! One connection, from its first byte to its last: a state machine that never blocks outside the application.
//!
//! ```text
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
//!         Linger ──► Closed        Upgrade ──► (not ours any more)
//! ```
//!
//! [`Connection::advance`] goes on for as long as there is something to do and then says, with a [`Step`], what it
//! waits for. It runs the application through a [`Turn`], by which the thread that leads the loop lets go of it.

mod access;
mod answer;
mod collect;
mod failing;
mod hijacked;
mod serve;
mod settle;

use std::io::{self};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::body_store::BodyStore;
use super::buffer::Buffer;
use super::descriptors::Noted;
use super::handover::WaitingBody;
use super::listener::Endpoint;
use super::log::CloseReason;
use super::panics::{self, Theirs};
use super::service::Service;
use super::settings::millis;
use super::streamed_body::BodyState;
use super::sys;
use super::transport::{Handshake, Session, Socket, Transport};
use super::upgrade::OnUpgrade;
use super::wire::Out;
use crate::wsgi::{Extensions, InputError, Peer, Presence};

use access::{RequestClock, Unlogged};
use answer::{Respond, Source};
use collect::Collect;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Answers stand in the buffer: call [`Connection::settle`] when the batch is done.
    Flush,
    /// The client's end of the connection, which is expected at once.
    Part,
    /// There is more to do; others first.
    Again,
    /// A complete head waits until an application may run.
    Turn,
    /// A complete head waits for a process of its own.
    Fork,
    /// Another thread goes on with the connection: its application is expected to take long.
    Dispatch,
    /// The answer 101 is out: the connection leaves the server ([`Connection::into_upgrade`]).
    Upgrade,
    /// Nothing: it is over.
    Close,
}

/// May an application run now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Run,
    Wait,
    Fork,
    /// In another thread.
    Dispatch,
}

/// The position of the thread that advances a connection. By itself that of the one thread of a loop.
pub(crate) trait Turn {
    /// Asked for each request before its application runs.
    fn permission(&mut self) -> Permission {
        Permission::Run
    }
    /// The application is about to run, for nobody knows how long.
    fn leave(&mut self) {}
    /// It came back. True when that may have taken long enough for the clock to matter.
    fn back(&mut self) -> bool {
        true
    }
    /// A request body is about to be written to a file, which may take a while; false when that has to wait.
    fn begin_write(&mut self) -> bool {
        true
    }
    /// It is written; `back` follows.
    fn end_write(&mut self) {}
    /// Inside the application, between `leave` and `back`: this thread now waits for the client. False when it has to be
    /// asked again soon, because others can't go on meanwhile.
    fn begin_wait(&mut self) -> bool {
        true
    }
    /// It no longer does.
    fn end_wait(&mut self) {}
    /// Do other connections wait for this thread?
    fn leads(&self) -> bool {
        true
    }
}

/// The one thread of a loop: it waits for the application, and everybody waits for it.
#[doc(hidden)]
pub(crate) struct Alone;

impl Turn for Alone {}

/// What came of a complete head.
enum Served {
    /// The state says how to go on.
    Moved,
    Waits(Step),
}

/// Pipelined requests or blocks of one connection that are served in a row while others wait.
const IN_A_ROW: usize = 32;

enum State {
    Handshake {
        begun: bool,
    },
    Head,
    /// The body of a request arrives, whose application is called when it is complete.
    Collect(Box<Collect>),
    Respond(Box<Respond>),
    Drain(BodyState),
    Closing(After),
    /// Nothing more is sent. What the client sends is discarded until it closes as well, because closing while something
    /// of it is unread resets the connection, and an answer on its way may be lost (RFC 9112 §9.6).
    Linger {
        announced: bool,
    },
    Upgrade(OnUpgrade),
    Closed,
}

/// How a connection ends when everything has been written.
#[derive(Clone, Copy)]
enum After {
    /// At once: there is nothing that could be lost.
    Close,
    /// When the client has closed. `announced`: it has said that it will, and owes nothing.
    Linger { announced: bool },
}

impl After {
    const LINGER: After = After::Linger { announced: false };
}

/// Progress of bytes to or from a slow peer, in milliseconds and bytes.
#[derive(Clone, Copy, Default)]
struct Transfer {
    started: u64,
    progress: u64,
    moved: u64,
}

impl Transfer {
    /// For so long the peer was not waited for.
    fn delay(&mut self, by: Duration) {
        self.started += millis(by);
        self.progress += millis(by);
    }
}

/// What is left of a connection when it has been closed, and dropped outside of the event loop.
pub(crate) struct AppOwned {
    _extensions: Option<Theirs<Extensions>>,
    _source: Option<Source>,
    _on_upgrade: Option<OnUpgrade>,
    _body: Option<BodyStore>,
}

pub(crate) struct Connection {
    /// In front of what closes it.
    noted: Option<Noted>,
    transport: Box<dyn Transport>,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    presence: Weak<dyn Presence>,
    /// What the application keeps from one request to the next.
    kept: Theirs<Extensions>,
    /// What the transport told after its handshake; nothing without one.
    session: Option<Box<Session>>,
    /// There while bytes are; an idle connection has none.
    buffer: Option<Box<Buffer>>,
    out: Out,
    state: State,
    /// When the state's deadline began to run.
    since: u64,
    /// False while a head stands in the buffer whose time has not begun to run.
    counting: bool,
    /// The complete body of the request in the buffer, if it is not in the buffer, too.
    body: Option<BodyStore>,
    /// When the request in the buffer was complete.
    clock: RequestClock,
    /// When it began to wait for a thread.
    queued_at: Option<Instant>,
    /// The answer being written, once it has met a full socket.
    writing: Option<Transfer>,
    /// The rest of a body being read that the application has left.
    reading: Transfer,
    /// Answers that stand in the write buffer and are logged when they have been written.
    unlogged: Vec<Unlogged>,
    /// What is the application's and left over at the end.
    discarded: Option<Source>,
    reason: Option<CloseReason>,
    /// Requests answered so far.
    pub(super) answered: u64,
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
            noted: None,
            transport,
            endpoint,
            peer,
            presence,
            kept: Theirs::new(Extensions::default()),
            session: None,
            buffer: None,
            out: Out::default(),
            state: State::Head,
            since: now,
            counting: true,
            body: None,
            clock: RequestClock::default(),
            queued_at: None,
            writing: None,
            reading: Transfer::default(),
            unlogged: Vec::new(),
            discarded: None,
            reason: None,
            answered: 0,
        }
    }

    /// HTTP does not begin before the transport says so.
    pub(super) fn with_handshake(mut self) -> Connection {
        self.state = State::Handshake { begun: false };
        self
    }

    /// With a request, or the beginning of one, that another process has read.
    pub(super) fn with_request(mut self, service: &Service, bytes: &[u8], body: Option<WaitingBody>) -> Connection {
        self.body = body.map(|body| BodyStore::adopt(service.body_budget.clone(), body));
        if !bytes.is_empty() {
            let mut buffer = Buffer::new((service.settings.limits.head, service.settings.leniency).into());
            buffer.free(bytes.len())[..bytes.len()].copy_from_slice(bytes);
            buffer.end += bytes.len();
            self.buffer = Some(buffer);
        }
        self
    }

    /// Can another process go on with the connection: nothing of its next request has been answered?
    pub(super) fn can_be_handed_over(&self) -> bool {
        self.is_plain() && matches!(self.state, State::Head) && self.out.unsent() == 0
    }

    /// Makes ready to leave for another process; false when the body of its request can't go with it.
    pub(super) fn prepare_to_leave(&mut self, service: &Service) -> bool {
        let settings = &service.settings;
        let Some(body) = &mut self.body else { return true };
        match body.write_out(settings.body_directory.as_deref(), &settings.limits) {
            Ok(()) => true,
            Err(error) => {
                settings.log.error(&format!("a request has to be answered by this process: {error}"));
                false
            }
        }
    }

    /// Leaves for another process: what was read of the next request, the body that it may have besides, and what is to
    /// be dropped outside of the event loop.
    pub(super) fn into_waiting(mut self: Box<Connection>) -> (Vec<u8>, Option<WaitingBody>, Option<AppOwned>) {
        let body = self.body.take().and_then(BodyStore::into_file);
        let read = self.buffer.as_ref().map_or_else(Vec::new, |buffer| buffer.bytes[buffer.start..buffer.end].to_vec());
        (read, body, self.take_app_owned())
    }

    /// Can another process take the connection over at any point between two requests?
    pub(super) fn is_plain(&self) -> bool {
        // What a transport makes of it is seen after its handshake.
        self.session.is_none() && !matches!(self.state, State::Handshake { .. })
    }

    /// Lends a buffer, if there is none.
    #[inline]
    pub(crate) fn lend(&mut self, buffer: impl FnOnce() -> Box<Buffer>) {
        if self.buffer.is_none() {
            self.buffer = Some(buffer());
        }
    }

    /// The buffer, when nothing stands in it.
    #[inline]
    pub(crate) fn give_back(&mut self) -> Option<Box<Buffer>> {
        self.buffer.take_if(|buffer| buffer.is_empty())
    }

    /// Waits for a request and has nothing half-done.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head | State::Handshake { begun: false })
            && self.out.unsent() == 0
            && self.buffer.as_ref().is_none_or(|buffer| buffer.is_empty())
    }

    /// Waits for the rest of a request.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Has received a part of a request, of its head or of the body that its application is to have.
    pub(super) fn has_part_of_request(&self) -> bool {
        match self.state {
            State::Collect(_) => true,
            State::Head => self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty()),
            _ => false,
        }
    }

    /// Has an answer half-sent.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state, State::Respond(_))
    }

    /// Takes the connection out of the server, with the bytes that were read ahead.
    pub(crate) fn into_upgrade(mut self) -> Option<(OnUpgrade, Box<dyn Transport>, Vec<u8>)> {
        let State::Upgrade(on_upgrade) = std::mem::replace(&mut self.state, State::Closed) else { return None };
        let ahead = self.buffer.take().map_or_else(Vec::new, |buffer| buffer.bytes[buffer.start..buffer.end].to_vec());
        Some((on_upgrade, self.transport, ahead))
    }

    /// It is served from now on, by this process alone.
    pub(super) fn note(&mut self, socket: &Socket) {
        self.noted.get_or_insert_with(|| Noted::new(sys::raw(socket.handle())));
    }

    /// Another process answers the request that stands in the buffer.
    pub(super) fn forget_request(&mut self) {
        self.buffer = None;
        self.body = None;
        self.out = Out::default();
        self.clock = RequestClock::default();
    }

    /// It waits for a request from now on.
    pub(super) fn begin_idle(&mut self, now: u64) {
        self.since = now;
    }

    /// Nothing more is sent.
    pub(super) fn begin_linger(&mut self, announced: bool, now: u64) {
        self.since = now;
        self.state = State::Linger { announced };
    }

    /// The process that has answered the last request has said all that its transport had to say: what still comes is
    /// discarded as it is.
    pub(super) fn linger_after_another(&mut self, socket: Arc<Socket>, announced: bool, now: u64) {
        self.transport = Box::new(socket);
        self.begin_linger(announced, now);
    }

    /// Whether only the client's end of the connection is waited for; then whether the client has said that it closes.
    pub(super) fn lingers(&self) -> Option<bool> {
        match self.state {
            State::Linger { announced } => Some(announced),
            _ => None,
        }
    }

    /// Nothing more is sent, and the client has said that it closes.
    pub(super) fn is_parting(&self) -> bool {
        self.lingers() == Some(true)
    }

    /// 503: this request can't be answered now.
    pub(super) fn refuse_unavailable(&mut self, service: &Service) {
        /// Seconds after which a client may try again: longer than a burst, shorter than a user's patience.
        const RETRY_AFTER: &[u8] = b"5";
        self.end_collect();
        self.body = None;
        self.end_queue();
        let field = Some(("Retry-After", RETRY_AFTER));
        self.answer_by_itself(service, 503, "the server can't take more requests now; try again later", field);
    }

    /// It waits for a thread no longer; for how long it did.
    fn end_queue(&mut self) -> Duration {
        let waited = self.queued_at.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.clock.waited += waited;
        waited
    }

    /// Since when the request in the buffer waits for a thread, if it does.
    pub(super) fn queued_since(&self) -> Option<Instant> {
        self.queued_at
    }

    /// The request in the buffer has waited for so long before it was read.
    pub(super) fn queued_earlier(&mut self, by: Option<Duration>) {
        if let (Some(since), Some(by)) = (self.queued_at, by) {
            self.queued_at = since.checked_sub(by).or(self.queued_at);
        }
    }

    /// When a request that waits for a thread has waited too long, in the service's milliseconds.
    pub(super) fn queue_deadline(&self, service: &Service) -> u64 {
        self.queued_at.map_or(u64::MAX, |since| {
            service.now().saturating_add(millis(service.settings.timeouts.queued.saturating_sub(since.elapsed())))
        })
    }

    /// The client has gone while its request waited for a thread.
    pub(super) fn client_gone(&mut self) {
        self.set_reason(CloseReason::ClientLeft);
        self.end();
    }

    /// When it last moved on, in the service's milliseconds.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// What is the application's and has to be dropped with the connection: that may take a while.
    pub(super) fn take_app_owned(&mut self) -> Option<AppOwned> {
        let extensions = std::mem::replace(&mut self.kept, Theirs::new(Extensions::default()));
        let extensions = extensions.get().is_some_and(|kept| !kept.is_empty()).then_some(extensions);
        let source = self.discarded.take().filter(Source::has_close);
        let on_upgrade = match std::mem::replace(&mut self.state, State::Closed) {
            State::Upgrade(on_upgrade) => Some(on_upgrade),
            state => {
                self.state = state;
                None
            }
        };
        let body = self.body.take().filter(BodyStore::has_file);
        let is_empty = extensions.is_none() && source.is_none() && on_upgrade.is_none() && body.is_none();
        (!is_empty).then_some(AppOwned {
            _extensions: extensions,
            _source: source,
            _on_upgrade: on_upgrade,
            _body: body,
        })
    }

    fn clear_buffer(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.clear();
        }
    }

    pub(super) fn reason(&self) -> Option<CloseReason> {
        self.reason
    }

    pub(super) fn set_reason(&mut self, reason: CloseReason) {
        self.reason.get_or_insert(reason);
    }

    /// The server ends the connection while it is idle, and lets the client know that nothing is missing.
    pub(super) fn part(&mut self, reason: CloseReason) {
        self.set_reason(reason);
        self.transport.close();
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// When this connection has to have moved on, in the service's milliseconds.
    pub(super) fn deadline(&self, service: &Service) -> u64 {
        let timeouts = &service.settings.timeouts;
        if let Some(writing) = &self.writing {
            return timeouts.transfer_deadline(writing.started, writing.progress, writing.moved);
        }
        match &self.state {
            State::Handshake { begun: true } => self.since + millis(timeouts.handshake),
            _ if self.is_idle() => self.since + millis(timeouts.idle),
            State::Head if self.buffer.as_ref().is_none_or(|buffer| buffer.is_empty()) => {
                self.since + millis(timeouts.idle)
            }
            State::Drain(_) => {
                timeouts.transfer_deadline(self.reading.started, self.reading.progress, self.reading.moved)
            }
            State::Collect(collect) => {
                let Transfer { started, progress, moved } = collect.transfer;
                timeouts.transfer_deadline(started, progress, moved)
            }
            State::Head => self.since + millis(timeouts.head),
            State::Linger { .. } => self.since + millis(timeouts.linger),
            _ => u64::MAX,
        }
    }

    /// The deadline has passed.
    pub(crate) fn time_out(&mut self, service: &Service, now: u64) -> Step {
        if self.writing.is_some() {
            self.set_reason(CloseReason::WriteTimeout);
            return self.end();
        }
        match &self.state {
            State::Handshake { begun: true } => self.set_reason(CloseReason::HandshakeTimeout),
            _ if self.is_idle() => self.part(CloseReason::Idle),
            State::Head => {
                self.set_reason(CloseReason::HeadTimeout);
                self.answer_error(service, 408, "the head of the request did not arrive in time");
                return self.settle(service, now);
            }
            State::Collect(_) => {
                self.fail_collect(service, InputError::TooSlow);
                return self.settle(service, now);
            }
            State::Drain(_) => self.set_reason(CloseReason::BodyTimeout),
            _ => {}
        }
        self.end()
    }

    /// Runs one of this connection's own functions. A panic in there, of a transport that somebody else has written or
    /// of the server itself, ends this connection and nothing else.
    #[inline]
    pub(super) fn guarded(&mut self, service: &Service, run: impl FnOnce(&mut Connection) -> Step) -> Step {
        panics::catch(|| run(self)).unwrap_or_else(|panic| {
            service.settings.log.error(&format!("panic in the connection with {}: {}", self.peer, panic.report));
            self.set_reason(CloseReason::CutShort);
            // Nobody else's business, whatever state it is in.
            self.buffer = None;
            self.end()
        })
    }

    fn end(&mut self) -> Step {
        if let State::Respond(respond) = std::mem::replace(&mut self.state, State::Closed) {
            self.discarded = Some(respond.source);
        }
        self.clear_buffer();
        Step::Close
    }

    fn lost(&mut self, _: io::Error) -> Step {
        self.set_reason(CloseReason::ClientLeft);
        self.end()
    }

    /// Goes on as far as possible. `readable` says whether trying to read makes sense.
    #[inline]
    pub(crate) fn advance(&mut self, service: &Service, turn: &mut dyn Turn, mut readable: bool, now: u64) -> Step {
        let mut in_a_row = 0;
        loop {
            match &mut self.state {
                State::Handshake { begun } => match self.transport.handshake() {
                    Ok(Handshake::Done(session)) => {
                        self.session = Some(Box::new(session));
                        self.since = now;
                        self.state = State::Head;
                    }
                    Ok(Handshake::Silent) => return Step::Read,
                    Ok(step) => {
                        if !*begun {
                            (*begun, self.since) = (true, now);
                        }
                        return if matches!(step, Handshake::Write) { Step::Write } else { Step::Read };
                    }
                    Err(error) => {
                        self.set_reason(CloseReason::HandshakeFailed);
                        if !is_departure(&error) {
                            service.settings.log.error(&format!("TLS handshake with {}: {error}", self.peer));
                        }
                        self.state = State::Closing(After::LINGER);
                    }
                },
                State::Head => {
                    if self.out.unsent() > service.settings.limits.unsent {
                        return self.settle(service, now);
                    }
                    let Some(buffer) = &mut self.buffer else {
                        return if self.out.unsent() > 0 { Step::Flush } else { Step::Read };
                    };
                    if !buffer.is_empty() {
                        match buffer.parser.parse(&buffer.bytes[buffer.start..], buffer.len()) {
                            Ok(Some(length)) => {
                                in_a_row += 1;
                                if in_a_row > IN_A_ROW && turn.leads() {
                                    return Step::Again;
                                }
                                match self.serve(service, turn, length) {
                                    Served::Moved => continue,
                                    Served::Waits(step) => return step,
                                }
                            }
                            Ok(None) if !self.counting => {
                                self.counting = true;
                                self.since = service.now();
                            }
                            Ok(None) => {}
                            Err(error) => {
                                self.refuse(service, error);
                                continue;
                            }
                        }
                    }
                    if !readable && !self.transport.has_buffered() {
                        return if self.out.unsent() > 0 { Step::Flush } else { Step::Read };
                    }
                    let Some(buffer) = &mut self.buffer else { return Step::Read };
                    let was_empty = buffer.is_empty();
                    let room = buffer.free(1);
                    let free = room.len();
                    match self.transport.read(room) {
                        Ok(0) => {
                            self.state = State::Closing(After::Close);
                            return Step::Flush;
                        }
                        Ok(count) => {
                            readable = count == free;
                            buffer.end += count;
                            if was_empty {
                                self.since = now;
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable = false,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return self.lost(error),
                    }
                }
                State::Collect(_) => {
                    if let Some(step) = self.collect(service, turn, &mut readable, now) {
                        return step;
                    }
                }
                State::Respond(_) => {
                    if let Some(step) = self.respond(service, turn) {
                        return step;
                    }
                }
                State::Drain(_) => match self.drain(service, &mut readable, now) {
                    Some(step) => return step,
                    None => continue,
                },
                State::Linger { .. } => {
                    if now >= self.since + millis(service.settings.timeouts.linger) {
                        return self.end();
                    }
                    let mut scrap = [0; 4096];
                    match self.transport.read(&mut scrap) {
                        Ok(0) => return self.end(),
                        Ok(_) if turn.leads() => return Step::Again,
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return self.end(),
                    }
                }
                State::Upgrade(_) if self.out.unsent() == 0 => return Step::Upgrade,
                State::Closing(_) | State::Upgrade(_) => return Step::Flush,
                State::Closed => return Step::Close,
            }
        }
    }
}

/// Did the client just go, as browsers do with connections they opened in advance?
fn is_departure(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
