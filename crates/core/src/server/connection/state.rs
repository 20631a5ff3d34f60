//! The states of a connection and the data of each. The transitions are methods of [`Connection`](super::Connection).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body_source::BodySource;
use super::read_buffer::ReadBuffer;
use super::request_body::RequestBody;
use crate::http::{BodyWriter, ResponseContext, ResponseHead, ResponsePlan};
use crate::server::body_store::BodyStore;
use crate::server::io::socket::Socket;
use crate::server::panics::AppOwned;
use crate::server::request_id::IdNumber;
use crate::server::settings::{millis, Timeouts};
use crate::server::upgrade::OnUpgrade;
use crate::wsgi::{Extensions, InputErrorKind, ResponseFilter};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// A flush: there are responses in the write buffer. The loop calls [`Connection::flush`](super::Connection::flush)
    /// at the end of its batch.
    Flush,
    /// The client's close, which is expected at once.
    AwaitClose,
    /// Its next turn in the loop: there is more to do, but other connections go first.
    Yield,
    /// A slot: a complete request waits in the queue until the application may run.
    Queued,
    /// A separate process for a complete request.
    Fork,
    /// The task that answers a detached request, or what the task itself waits for.
    Detached,
    /// Another thread for a complete request, because the application is expected to block.
    Dispatch,
    /// Nothing more in HTTP: response 101 has been sent, and the connection leaves the server
    /// ([`Connection::into_upgrade`](super::Connection::into_upgrade)).
    Upgrade,
    /// Nothing: the connection is over.
    Close,
}

/// The state of a connection; see the diagram in [`connection`](super).
pub(super) enum State {
    /// The PROXY header in front of everything else is read.
    ProxyHeader(Box<PendingProxyHeader>),
    /// The transport's handshake. `begun`: whether the client has sent a part of it.
    Handshake { begun: bool },
    /// The connection reads a head, or is idle.
    Head,
    /// The body of a request is read before the application is called.
    Collect(Box<CollectedRequest>),
    /// A response is being sent.
    Respond(Box<Response>),
    /// The application answers the request after its call has returned.
    Detached(Box<Detached>),
    /// The part of a body that the application has not read is read and discarded.
    Drain(RequestBody),
    /// The write buffer is sent, and then the connection closes.
    Closing(CloseMode),
    /// The sending side is closed, and everything received is discarded until the client closes, too. Closing with
    /// unread input would reset the connection, and a response in transit could be lost (RFC 9112 §9.6). `announced`:
    /// whether the client has said that it will close.
    Linger { announced: bool },
    /// Response 101 is being sent, and then the connection leaves the server.
    Upgrade(OnUpgrade),
    /// The connection is over.
    Closed,
}

/// How a connection closes when everything has been sent.
#[derive(Clone, Copy)]
pub(super) enum CloseMode {
    /// At once: nothing can be lost.
    Immediate,
    /// After the client has closed. `announced`: whether the client has said that it will close, and has sent its whole
    /// request.
    Linger { announced: bool },
}

impl CloseMode {
    pub(super) const LINGER: CloseMode = CloseMode::Linger { announced: false };
}

/// The progress of a transfer to or from a client that may be slow. Times are in the service's milliseconds, amounts in
/// bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Transfer {
    pub(super) started: u64,
    pub(super) last_progress: u64,
    pub(super) transferred: u64,
}

impl Transfer {
    /// Begins a transfer. `started` is never 0: 0 means that none has begun.
    pub(super) fn begin(now: u64) -> Transfer {
        Transfer { started: now.max(1), last_progress: now, transferred: 0 }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.started > 0
    }

    pub(super) fn add(&mut self, count: usize, now: u64) {
        self.last_progress = now;
        self.transferred += count as u64;
    }

    /// Excludes a period during which the server did not wait for the client.
    pub(super) fn exclude(&mut self, time: Duration) {
        self.started += millis(time);
        self.last_progress += millis(time);
    }
}

/// A PROXY header of which more is to come.
pub(super) struct PendingProxyHeader {
    /// The socket below the transport.
    pub(super) socket: Arc<Socket>,
    /// The part of the header that has arrived.
    pub(super) bytes: Vec<u8>,
    /// Whether the transport's handshake follows.
    pub(super) handshake: bool,
}

/// A request whose body is being collected.
pub(super) struct CollectedRequest {
    /// The head, in a buffer of exactly its size, so that a slow client does not occupy a full read buffer.
    pub(super) head: ReadBuffer,
    pub(super) body: RequestBody,
    pub(super) store: BodyStore,
    pub(super) transfer: Transfer,
}

/// A request from the call of its application to the end of its response.
pub(super) struct Exchange {
    /// The length of the head, which is still in the read buffer.
    pub(super) head_length: usize,
    /// The number of bytes in the read buffer that belong to this request, as far as its body has been read.
    pub(super) consumed: usize,
    pub(super) context: ResponseContext,
    /// Whether the client has said that this is its last request, and the request has no body. Requests with a body are
    /// excluded because some clients send an extra line end after the body (RFC 9112 §2.2); if it arrived after the
    /// server had closed, it would cause a reset, and the response could be lost.
    pub(super) client_closes: bool,
    pub(super) upgrade_offered: bool,
    /// Whether the application responds without a slot ([`Application::is_immediate`](crate::Application::is_immediate)).
    pub(super) is_immediate: bool,
    pub(super) body: RequestBody,
    pub(super) clock: RequestClock,
    pub(super) progress: ResponseProgress,
}

/// How far a response has come.
#[derive(Clone, Copy)]
pub(super) enum ResponseProgress {
    /// There is no response yet.
    NotStarted,
    /// The head is in the write buffer from `head_start` on, without framing fields, and can still be replaced.
    HeadSet { head: ResponseHead, head_start: usize },
    /// The head is complete, and the body is being written.
    Streaming { head: ResponseHead, plan: ResponsePlan, writer: BodyWriter },
}

impl ResponseProgress {
    /// Returns the position in the write buffer of a head that can still be replaced.
    pub(super) fn head_start(&self) -> Option<usize> {
        match self {
            ResponseProgress::HeadSet { head_start, .. } => Some(*head_start),
            _ => None,
        }
    }
}

/// A response that does not fit into the write buffer or is not complete yet. Its head has been set.
pub(super) struct Response {
    pub(super) exchange: Exchange,
    pub(super) source: BodySource,
    /// Whether sending has begun: the first block has been left to the flush of the batch, or has been sent at once.
    pub(super) streaming: bool,
}

/// When a request was complete, how long it then waited for a thread, and its ID: what is logged of it later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestClock {
    /// `None` if requests are not logged.
    pub(super) completed_at: Option<Instant>,
    pub(super) queued_for: Duration,
    pub(super) request_id: IdNumber,
}

/// The log entry of a response that has not been sent completely.
pub(super) struct PendingLog {
    /// The head of the request, in a buffer that receives nothing further until the entry is logged.
    pub(super) head: Box<ReadBuffer>,
    /// 0 if there was no well-formed head; the buffer then holds what the client sent instead.
    pub(super) head_length: usize,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) clock: RequestClock,
}

/// The application's values that a closed connection leaves. They are dropped where a slow drop does not delay other
/// connections.
pub(crate) struct Remains {
    pub(super) _extensions: Option<AppOwned<Extensions>>,
    pub(super) _source: Option<BodySource>,
    pub(super) _on_upgrade: Option<OnUpgrade>,
    pub(super) _body: Option<BodyStore>,
}

/// A request that its application has not answered yet.
pub(super) struct Detached {
    pub(super) exchange: Exchange,
    /// The head of the request, in a buffer of exactly its size.
    pub(super) head: ReadBuffer,
    pub(super) input: DetachedInput,
    pub(super) filters: Vec<Box<dyn ResponseFilter>>,
    /// The file that is being sent.
    pub(super) file: Option<PendingFile>,
    /// Whether a task waits for more of the request body, and whether one waits for the client to take what was written.
    pub(super) waits_for_input: bool,
    pub(super) waits_for_room: bool,
    /// When the task began to wait for input, in the service's milliseconds.
    pub(super) waiting_since: u64,
    /// Why the client can't be reached any more.
    pub(super) lost: Option<io::ErrorKind>,
    /// The status of the response that the application has written to the socket itself; 0 if it is unknown.
    pub(super) hijacked: Option<u16>,
}

/// The body of a detached request.
pub(super) enum DetachedInput {
    /// Complete, and read up to `position`.
    Collected { store: Option<BodyStore>, bytes: Vec<u8>, position: u64 },
    /// Read as it arrives.
    Streamed,
}

/// A part of a file that has not been sent.
pub(super) struct PendingFile {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) left: u64,
}

impl Detached {
    /// Returns the deadline of the wait for input, in the service's milliseconds; `u64::MAX` for none.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> u64 {
        if !self.waits_for_input {
            return u64::MAX;
        }
        let body = &self.exchange.body;
        // Only the time that the server has waited counts for the minimum rate.
        timeouts.transfer_deadline(self.waiting_since.saturating_sub(body.waited), self.waiting_since, body.received)
    }

    /// Ends the wait for input, whose time counts for the minimum rate.
    pub(super) fn end_input_wait(&mut self, now: u64) {
        self.exchange.body.waited += now.saturating_sub(self.waiting_since);
        self.waits_for_input = false;
    }

    pub(super) fn fail_input(&mut self, kind: InputErrorKind) {
        self.exchange.body.failed = Some(kind.into());
    }
}
