//! The states of a connection, and what belongs to each of them: data only. The transitions are methods of
//! [`Connection`](super::Connection).

use std::borrow::Cow;
use std::fs::File;
use std::time::{Duration, Instant};

use super::read_buffer::ReadBuffer;
use super::request_body::RequestBody;
use crate::http::{BodyWriter, ResponseContext, ResponseHead, ResponsePlan};
use crate::server::body_store::BodyStore;
use crate::server::panics::AppOwned;
use crate::server::settings::millis;
use crate::server::upgrade::OnUpgrade;
use crate::wsgi::{Blocks, Extensions, OnClose};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// A flush: responses stand in the write buffer. The loop calls [`Connection::flush`](super::Connection::flush) at the
    /// end of its batch.
    Flush,
    /// The client's end of the connection, which is expected at once.
    AwaitClose,
    /// Its next turn: there is more to do, but other connections go first.
    Yield,
    /// An application that may run: a complete request waits in the queue.
    Queued,
    /// A process of its own, for a complete request.
    Fork,
    /// Another thread, because the application is expected to block.
    Dispatch,
    /// Nothing more of HTTP: response 101 is out, and the connection leaves the server
    /// ([`Connection::into_upgrade`](super::Connection::into_upgrade)).
    Upgrade,
    /// Nothing: the connection is over.
    Close,
}

/// Where a connection is in its life; see the diagram in [`connection`](super).
pub(super) enum State {
    /// The transport's handshake. `begun`: the client has sent a part of it.
    Handshake { begun: bool },
    /// A head is read, or the connection is idle.
    Head,
    /// The body of a request is read before its application is called.
    Collect(Box<CollectedRequest>),
    /// A response is sent.
    Respond(Box<Response>),
    /// The rest of a body that the application has not read is read and discarded.
    Drain(RequestBody),
    /// Everything in the write buffer is sent, and then the connection closes.
    Closing(CloseMode),
    /// Nothing more is sent, and what arrives is discarded until the client closes as well. To close while received bytes
    /// are unread resets the connection, and a response on its way may be lost (RFC 9112 §9.6). `announced`: the client has
    /// said that it will close.
    Linger { announced: bool },
    /// Response 101 is sent, and then the connection leaves the server.
    Upgrade(OnUpgrade),
    /// The connection is over.
    Closed,
}

/// How a connection closes when everything has been sent.
#[derive(Clone, Copy)]
pub(super) enum CloseMode {
    /// At once: nothing could be lost.
    Immediate,
    /// After the client has closed. `announced`: the client has said that it will, and owes nothing.
    Linger { announced: bool },
}

impl CloseMode {
    pub(super) const LINGER: CloseMode = CloseMode::Linger { announced: false };
}

/// The progress of bytes to or from a client that may be slow, in the service's milliseconds and in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Transfer {
    pub(super) started: u64,
    pub(super) last_progress: u64,
    pub(super) transferred: u64,
}

impl Transfer {
    /// A transfer that begins now. It is never at 0, which stands for none.
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

    /// Excludes a time during which the server did not wait for the client.
    pub(super) fn exclude(&mut self, time: Duration) {
        self.started += millis(time);
        self.last_progress += millis(time);
    }
}

/// A request whose body is being collected.
pub(super) struct CollectedRequest {
    /// The head, in a buffer of exactly its size, so that a slow client does not hold a read buffer.
    pub(super) head: ReadBuffer,
    pub(super) body: RequestBody,
    pub(super) store: BodyStore,
    pub(super) transfer: Transfer,
}

/// A request from the call of its application to the end of its response.
pub(super) struct Exchange {
    /// The length of the head in the read buffer, which still holds it.
    pub(super) head_length: usize,
    /// The number of bytes in the read buffer that belong to this request, as far as its body has been read.
    pub(super) consumed: usize,
    pub(super) context: ResponseContext,
    /// Whether the client has said that this is its last request, and it has no body. Some clients send a line end behind
    /// a body that belongs to nothing; if the server had closed by then, that line end would cause a reset, and the response
    /// could be lost.
    pub(super) client_closes: bool,
    pub(super) upgrade_offered: bool,
    pub(super) body: RequestBody,
    pub(super) clock: RequestClock,
    pub(super) progress: ResponseProgress,
}

/// How far a response has come.
#[derive(Clone, Copy)]
pub(super) enum ResponseProgress {
    /// There is none.
    NotStarted,
    /// Its head stands in the write buffer from `head_start` on, without framing, and can still be replaced.
    HeadSet { head: ResponseHead, head_start: usize },
    /// Its head is complete, and its body is being written.
    Streaming { head: ResponseHead, plan: ResponsePlan, writer: BodyWriter },
}

impl ResponseProgress {
    /// Returns where in the write buffer a head stands that can still be replaced.
    pub(super) fn head_start(&self) -> Option<usize> {
        match self {
            ResponseProgress::HeadSet { head_start, .. } => Some(*head_start),
            _ => None,
        }
    }
}

/// A response that did not fit into the write buffer, or is not complete yet. Its head has been set.
pub(super) struct Response {
    pub(super) exchange: Exchange,
    pub(super) source: BodySource,
    /// Whether the first block has left: with the responses of its batch, or at once.
    pub(super) streaming: bool,
}

/// Where the body of a response comes from.
pub(super) enum BodySource {
    Bytes { data: Cow<'static, [u8]>, sent: usize },
    Blocks(AppOwned<Blocks>),
    File { file: File, offset: u64, left: u64, close: Option<AppOwned<OnClose>> },
}

impl BodySource {
    /// Whether dropping it runs the application's code, which may take a while.
    pub(super) fn has_close(&self) -> bool {
        !matches!(self, BodySource::Bytes { .. } | BodySource::File { close: None, .. })
    }
}

/// When a request was complete, and how long it then waited for a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestClock {
    /// `None` when no log will ask.
    pub(super) completed_at: Option<Instant>,
    pub(super) queued_for: Duration,
}

/// A response whose bytes are not all written yet, to be logged when they are.
pub(super) struct PendingLog {
    /// The head of the request, in a buffer that is not read into meanwhile.
    pub(super) head: Box<ReadBuffer>,
    /// 0 when there was no well-formed head; the buffer then has what came in its place.
    pub(super) head_length: usize,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) clock: RequestClock,
}

/// What a closed connection leaves of the application's. It is dropped where a slow drop delays no other connection.
pub(crate) struct Remains {
    pub(super) _extensions: Option<AppOwned<Extensions>>,
    pub(super) _source: Option<BodySource>,
    pub(super) _on_upgrade: Option<OnUpgrade>,
    pub(super) _body: Option<BodyStore>,
}
