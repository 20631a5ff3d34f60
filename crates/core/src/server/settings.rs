//! Every limit and deadline of a server, with its default, unit and reason.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::handler::{BodyMode, DefaultHandler, RequestHandler};
use super::io::poller::PollerKind;
use super::io::transport::TransportLayer;
use super::log::{Log, TextLog};
use crate::http::{ChunkedLimits, HeadLimits, Leniency};

/// What a server can be told. Start from [`Settings::default`] and change what you need:
///
/// ```
/// use amboss_core::Settings;
/// let mut settings = Settings::default();
/// settings.threads = 8;
/// settings.limits.body = Some(1 << 20);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// How much is accepted.
    pub limits: Limits,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// Departures from the strict reading of RFC 9112; none by default.
    pub leniency: Leniency,
    /// What [`RequestHandler::body_mode`](super::RequestHandler::body_mode) says unless it is overridden: request bodies
    /// are complete before the application is called ([`BodyMode::Collect`], the default), or read as they arrive.
    pub body_mode: BodyMode,
    /// The directory of the temporary files that hold collected bodies beyond [`Limits::body_memory`]. Without one:
    /// `TMPDIR`, else `/var/tmp` where there is one, since `/tmp` is often memory, else the system's.
    pub body_directory: Option<PathBuf>,
    /// How many requests a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) runs at once; 64. A thread exists for
    /// each request that is running and none for one that waits, so this bounds what the application takes at the
    /// same time, not how many clients there may be.
    pub threads: usize,
    /// How many loops a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) runs at most, each with a core's worth of
    /// short requests; 0, the default, is one for each core, but no more than a quarter of `threads`. Loops begin as
    /// connections come; a server with a few connections has one.
    pub loops: usize,
    /// The stack size of the threads that a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) starts, in bytes; by default
    /// std's, 2 MiB or `RUST_MIN_STACK`. The system reserves it as address space and takes memory for what is used of it.
    /// With a size that the system can't reserve for each thread, fewer threads run. A server that runs one request at a
    /// time runs it in the thread that calls `serve_forever`, whose stack is the caller's affair.
    pub thread_stack_size: Option<usize>,
    /// Asked before the lead is taken from a slow call of the application, with the time that it has been running at
    /// least, by the thread that is to lead: for runtimes with a lock of their own, where a second thread would only wait
    /// for the first. It may take its time, and has to say yes twice in a row, a millisecond at most between them. Without
    /// it the lead is taken.
    pub may_hand_over: Option<Arc<MayHandOver>>,
    /// How many children a [`ForkingWsgiServer`](super::ForkingWsgiServer) has at once; 40, as Werkzeug's.
    pub processes: usize,
    /// How a [`ForkingWsgiServer`](super::ForkingWsgiServer) forks, for runtimes with hooks of their own around it: the
    /// child's number in the parent, 0 in the child. The system's `fork` by default.
    pub fork: Option<Arc<Fork>>,
    /// Other processes serve the same application beside this one, and `wsgi.multiprocess` is to say so; off. Where each
    /// request has a process of its own it does anyway. The server then takes one connection at a time and answers its
    /// request, or waits a millisecond for one, before it takes the next, so that they share what comes to one socket.
    pub multiprocess: bool,
    /// Connections that the system keeps waiting while the server is busy; 1024, since a burst beyond the queue is
    /// delayed by a second or refused.
    pub backlog: i32,
    /// The permissions of a Unix socket's file; by default what the umask leaves.
    pub unix_mode: Option<u32>,
    /// An error or panic of the application ends the server and comes out of `serve_forever`, instead of being
    /// answered with a 500; off. For tests and debuggers.
    pub passthrough_errors: bool,
    /// What stands between the sockets and HTTP; nothing by default.
    pub transport: Option<Arc<dyn TransportLayer>>,
    /// What stands between server and application for each request.
    pub handler: Arc<dyn RequestHandler>,
    /// Where the access log and errors go; standard error, coloured on a terminal.
    pub log: Arc<dyn Log>,
    #[doc(hidden)]
    pub poller: PollerKind,
}

/// [`Settings::may_hand_over`].
pub type MayHandOver = dyn Fn(Duration) -> bool + Send + Sync;

/// [`Settings::fork`].
pub type Fork = dyn Fn() -> std::io::Result<i32> + Send + Sync;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            leniency: Leniency::default(),
            body_mode: BodyMode::default(),
            body_directory: None,
            threads: 64,
            loops: 0,
            thread_stack_size: None,
            may_hand_over: None,
            processes: 40,
            fork: None,
            multiprocess: false,
            backlog: 1024,
            unix_mode: None,
            passthrough_errors: false,
            transport: None,
            handler: Arc::new(DefaultHandler),
            log: Arc::new(TextLog::stderr()),
            poller: PollerKind::Auto,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .field("leniency", &self.leniency)
            .field("body_mode", &self.body_mode)
            .field("body_directory", &self.body_directory)
            .field("threads", &self.threads)
            .field("loops", &self.loops)
            .field("thread_stack_size", &self.thread_stack_size)
            .field("processes", &self.processes)
            .field("multiprocess", &self.multiprocess)
            .field("backlog", &self.backlog)
            .field("unix_mode", &self.unix_mode)
            .field("passthrough_errors", &self.passthrough_errors)
            .finish_non_exhaustive()
    }
}

/// How much is accepted, in bytes and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The head of a request: 8 KiB of request line (414), 64 KiB of header section and 100 fields (431).
    pub head: HeadLimits,
    /// What surrounds the data of a chunked body: 4 KiB of extensions, 8 KiB of trailers (400).
    pub chunked: ChunkedLimits,
    /// Bytes of a request body (413); `None`, no limit, because applications stream bodies and only they know what
    /// they can take.
    pub body: Option<u64>,
    /// Bytes of a collected request body (413), in addition to [`body`](Limits::body); 1 GiB, beyond which an upload
    /// should be streamed ([`BodyMode::Stream`]). A longer body is refused, never streamed instead.
    pub collected_body: u64,
    /// Bytes of one collected body that are kept in memory, a longer one goes to a temporary file; 16 MiB, up to which
    /// memory is three times as fast as a file. Freed memory is kept for the next body for some seconds.
    pub body_memory: usize,
    /// Bytes that all collected bodies of the server together take in memory before further ones go to files; 64 MiB.
    pub bodies_memory: u64,
    /// Bytes that all collected bodies of the server together take in temporary files (503 beyond that); 8 GiB.
    pub body_files: u64,
    /// Threads that may wait for clients of streamed bodies or for slow readers of `write`, beside [`Settings::threads`];
    /// 1,000, about 50 MB of memory. Further ones count among those, so that slow clients can't have threads without end.
    pub client_waits: usize,
    /// Bytes of an unread body that are read and thrown away to keep the connection usable; 256 KiB. Beyond that
    /// closing is cheaper for both.
    pub drain: u64,
    /// Connections open at once; 10,000. More wait in the system's queue. The file table of a process is often
    /// smaller (`ulimit -n`); then that is the limit, and idle connections make room.
    pub connections: usize,
    /// Bytes of finished answers on one connection that may wait for a slow reader before no further pipelined
    /// request is taken up; 64 KiB.
    pub unsent: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: HeadLimits::default(),
            chunked: ChunkedLimits::default(),
            body: None,
            collected_body: 1 << 30,
            body_memory: 16 << 20,
            bodies_memory: 64 << 20,
            body_files: 8 << 30,
            client_waits: 1_000,
            drain: 256 * 1024,
            connections: 10_000,
            unsent: 64 * 1024,
        }
    }
}

/// How long is waited. Deadlines are kept to within 50 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a handshake (TLS), from its first byte; 10 s, as for the head that follows.
    pub handshake: Duration,
    /// For a whole head, from its first byte; 10 s. Then 408: a head sent drop by drop holds nothing but its buffer,
    /// and not for long.
    pub head: Duration,
    /// For the next request on a kept-alive connection, and for the first one on a new connection; 15 s.
    pub idle: Duration,
    /// For a complete request until an application may run for it; 30 s, as long as most clients and proxies wait. Then
    /// 503 with `Retry-After`. [`Duration::MAX`] switches it off.
    pub queued: Duration,
    /// Without any progress of a body being read or an answer being written; 30 s.
    pub stalled: Duration,
    /// How long a body or an answer may take before [`minimum_rate`](Timeouts::minimum_rate) is asked of it; 10 s,
    /// so that a short hiccup costs nothing.
    pub grace: Duration,
    /// Bytes per second that a client has to send or take on average; 240, less than any modem's, more than an
    /// attacker wants to spend on each of thousands of connections.
    pub minimum_rate: u64,
    /// For reading what a client still sends after the last answer, so that it sees the answer and no reset; 2 s. And for
    /// the last request of an idle connection that can't go on in another process
    /// ([`ShutdownHandle::hand_over`](super::ShutdownHandle::hand_over)).
    pub linger: Duration,
    /// How long finished answers wait for the rest of their batch, to be written together; 200 µs: less than a client on
    /// the same machine notices, more than a batch of fast answers takes.
    pub batch: Duration,
    /// For running requests when the server stops; 10 s.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts {
            handshake: seconds(10),
            head: seconds(10),
            idle: seconds(15),
            queued: seconds(30),
            stalled: seconds(30),
            grace: seconds(10),
            minimum_rate: 240,
            linger: seconds(2),
            batch: Duration::from_micros(200),
            shutdown: seconds(10),
        }
    }
}

impl Timeouts {
    /// When a transfer that began at `started`, made its last progress at `progress` and has moved `bytes` so far has
    /// to have moved on. All in milliseconds.
    pub(crate) fn transfer_deadline(&self, started: u64, progress: u64, bytes: u64) -> u64 {
        let stalled = progress + millis(self.stalled);
        let allowed = bytes.saturating_mul(1000) / self.minimum_rate.max(1);
        let slow = started.saturating_add(millis(self.grace)).saturating_add(allowed);
        if self.minimum_rate == 0 {
            stalled
        } else {
            stalled.min(slow)
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}
