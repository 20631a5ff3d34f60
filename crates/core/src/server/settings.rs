//! The settings of a server: limits, timeouts and hooks, each with its default, unit and reason.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::handler::{BodyMode, DefaultHandler, RequestHandler};
use super::io::poller::PollerKind;
use super::io::transport::TransportLayer;
use super::log::{Log, TextLog};
use super::proxies::ProxySettings;
use crate::http::{ChunkedLimits, HeadLimits, Leniency};

/// The settings of a server. Start from [`Settings::default`] and change what you need:
///
/// ```
/// use amboss_core::Settings;
/// let mut settings = Settings::default();
/// settings.runtime.threads = 8;
/// settings.limits.body = Some(1 << 20);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// How much the server accepts and stores.
    pub limits: Limits,
    /// How long the server waits.
    pub timeouts: Timeouts,
    /// How requests run: threads and processes.
    pub runtime: Runtime,
    /// Deviations from a strict reading of RFC 9112; none by default.
    pub leniency: Leniency,
    /// Whether request bodies are complete before the application is called ([`BodyMode::Collect`], the default) or are read
    /// as they arrive ([`BodyMode::Stream`]). [`RequestHandler::body_mode`](super::RequestHandler::body_mode) can override
    /// this for each request.
    pub body_mode: BodyMode,
    /// The directory of the temporary files that hold collected bodies longer than [`Limits::body_memory`]. By default
    /// `TMPDIR`, else `/var/tmp` if it exists (`/tmp` is often in memory), else [`std::env::temp_dir`].
    pub body_directory: Option<PathBuf>,
    /// The length of the system's queue of connections that have not been accepted (`listen(2)`); 1024. When the queue is
    /// full, the system delays further connections by a second or refuses them.
    pub backlog: i32,
    /// The permission bits of a Unix socket's file, such as `0o660`. `None` leaves them to the umask.
    pub unix_mode: Option<u32>,
    /// Whether an error or panic of the application ends the server and is passed on by `serve_forever`, instead of
    /// causing a 500 response; off. For tests and debuggers.
    pub passthrough_errors: bool,
    /// Which proxies the server trusts, and how they tell the server about their clients. By default, a proxy on this
    /// machine may set `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub proxies: ProxySettings,
    /// Whether each request gets an ID, for the application (`HTTP_X_REQUEST_ID`) and the log; off. A trusted proxy may send
    /// one (`X-Request-ID`), with at most 128 letters, digits and `-._~+/=:@`; other requests get 32 hexadecimal digits.
    pub request_ids: bool,
    /// The layer between the sockets and HTTP, such as TLS; none by default.
    pub transport: Option<Arc<dyn TransportLayer>>,
    /// The hooks that the server calls for each request.
    pub handler: Arc<dyn RequestHandler>,
    /// The destination of access records and errors. By default standard error, in colour on a terminal.
    pub log: Arc<dyn Log>,
}

/// How requests run: threads, processes, and hooks for language runtimes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Runtime {
    /// The maximum number of requests that a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) runs at once; 64. Each
    /// running request has a thread, and a waiting one has none, so this bounds what the application uses at the same time,
    /// not the number of clients. A [`Guest`](super::Guest) runs at most this number of requests at once.
    pub threads: usize,
    /// The maximum number of event loops that a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) runs. Each can keep one
    /// core busy with short requests. 0, the default, stands for one loop per core, but at most a quarter of `threads`.
    /// Loops are started as connections arrive; a server with few connections has one.
    pub loops: usize,
    /// The stack size of the threads that a [`ThreadedWsgiServer`](super::ThreadedWsgiServer) starts, in bytes. `None` is
    /// std's default: 2 MiB or `RUST_MIN_STACK`. The system reserves the size as address space and uses memory only for the
    /// part that is touched. If it can't reserve the size for every thread, fewer threads run. A server that runs one
    /// request at a time uses the thread that calls `serve_forever`, whose stack the caller provides.
    pub thread_stack_size: Option<usize>,
    /// The maximum number of child processes that a [`ForkingWsgiServer`](super::ForkingWsgiServer) has at once; 40, as in
    /// Werkzeug.
    pub processes: usize,
    /// Whether other processes serve the same application on the same sockets; off. `wsgi.multiprocess` is then true,
    /// as it always is in a [`ForkingWsgiServer`](super::ForkingWsgiServer). So that the processes share the
    /// connections, the server accepts one at a time. It accepts the next one when it has answered a request of the
    /// first, or when 1 ms has passed.
    pub multiprocess: bool,
    /// How long complete responses wait for the rest of their batch, to be written together; 200 µs. That is less than a
    /// client on the same machine notices, and more than a batch of fast responses takes.
    pub batch_delay: Duration,
    /// The system call that waits for sockets; [`PollerKind::Auto`]. `Poll` is for sandboxes that forbid epoll, and for tests.
    pub poller: PollerKind,
    /// Whether a process that the application forks without `exec` gives up the descriptors of this process's servers; off.
    /// In such a process they are redirected to /dev/null, so that a child that lives long can't hold connections or the
    /// port. The first server with this setting installs a handler in the process (`pthread_atfork(3)`). Unix only.
    pub guard_forks: bool,
    /// Called by the monitor thread before it takes the event loop away from a slow application call, with a lower bound on
    /// how long the call has been running. For runtimes with a global lock, where a second thread would only wait for the
    /// first. May block. The loop is taken only after two consecutive `true`s at most 1 ms apart; `None` always allows it.
    pub may_hand_over: Option<Arc<MayHandOver>>,
    /// The function with which a [`ForkingWsgiServer`](super::ForkingWsgiServer) forks, for runtimes with their own fork
    /// hooks. Returns the child's process id in the parent and 0 in the child. `fork(2)` by default.
    pub fork: Option<Arc<Fork>>,
}

impl Default for Runtime {
    fn default() -> Runtime {
        Runtime {
            threads: 64,
            loops: 0,
            thread_stack_size: None,
            processes: 40,
            multiprocess: false,
            batch_delay: Duration::from_micros(200),
            poller: PollerKind::Auto,
            guard_forks: false,
            may_hand_over: None,
            fork: None,
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("threads", &self.threads)
            .field("loops", &self.loops)
            .field("thread_stack_size", &self.thread_stack_size)
            .field("processes", &self.processes)
            .field("multiprocess", &self.multiprocess)
            .field("batch_delay", &self.batch_delay)
            .field("poller", &self.poller)
            .field("guard_forks", &self.guard_forks)
            .finish_non_exhaustive()
    }
}

/// The type of [`Runtime::may_hand_over`].
pub type MayHandOver = dyn Fn(Duration) -> bool + Send + Sync;

/// The type of [`Runtime::fork`].
pub type Fork = dyn Fn() -> std::io::Result<i32> + Send + Sync;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            runtime: Runtime::default(),
            leniency: Leniency::default(),
            body_mode: BodyMode::default(),
            body_directory: None,
            backlog: 1024,
            unix_mode: None,
            passthrough_errors: false,
            proxies: ProxySettings::default(),
            request_ids: false,
            transport: None,
            handler: Arc::new(DefaultHandler),
            log: Arc::new(TextLog::stderr()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .field("runtime", &self.runtime)
            .field("leniency", &self.leniency)
            .field("body_mode", &self.body_mode)
            .field("body_directory", &self.body_directory)
            .field("backlog", &self.backlog)
            .field("unix_mode", &self.unix_mode)
            .field("passthrough_errors", &self.passthrough_errors)
            .field("proxies", &self.proxies)
            .field("request_ids", &self.request_ids)
            .finish_non_exhaustive()
    }
}

/// How much a server accepts and stores, in bytes or as a number of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum size of a request head: 8 KiB of request line (else 414), 64 KiB of header section and 100 fields (else
    /// 431).
    pub head: HeadLimits,
    /// The maximum size of the framing of a chunked body: 4 KiB of chunk extensions and 8 KiB of trailers (else 400).
    pub chunked: ChunkedLimits,
    /// The maximum length of a request body in bytes (else 413). `None`, the default, means no limit: an application that
    /// streams bodies knows best how much it can process.
    pub body: Option<u64>,
    /// The maximum length of a collected request body in bytes (else 413), in addition to [`body`](Limits::body); 1 GiB.
    /// Longer uploads should be streamed ([`BodyMode::Stream`]). The server refuses a longer body and does not stream it
    /// instead.
    pub collected_body: u64,
    /// The maximum length in bytes of a collected body that is stored in memory; a longer one goes to a temporary file.
    /// 16 MiB: up to this length, memory is three times as fast as a file. Freed memory is kept for some seconds for the next
    /// body.
    pub body_memory: usize,
    /// How many bytes all collected bodies of the server together may take in memory before further ones go to files;
    /// 64 MiB.
    pub bodies_memory: u64,
    /// The maximum number of bytes that all collected bodies of the server together take in temporary files (else 503);
    /// 8 GiB.
    pub body_files: u64,
    /// The maximum number of threads, in addition to [`Runtime::threads`], that wait for the client of a streamed body or
    /// for a client that reads slowly from `write`; 1,000, which take about 50 MB of memory. Beyond it, waiting threads count
    /// towards [`Runtime::threads`], so that slow clients can't occupy an unlimited number of threads.
    pub client_waits: usize,
    /// The maximum number of bytes of an unread body that the server reads and discards to keep the connection alive;
    /// 256 KiB. Beyond that, a new connection is cheaper for both sides.
    pub drain: u64,
    /// The maximum number of open connections; 10,000. Further ones wait in the system's queue. The file table of a process
    /// is often smaller (`ulimit -n`). Then that is the limit, and the server closes idle connections to accept new ones.
    pub connections: usize,
    /// The maximum length of a PROXY header of version 2 in bytes; 2 KiB. Addresses take 232 at most, the rest is extensions
    /// (TLVs) such as the name in a TLS certificate, which are skipped. Version 1 has at most 107.
    pub proxy_header: usize,
    /// How many bytes of complete responses may wait for a slow client of one connection before the server stops reading
    /// further pipelined requests; 64 KiB.
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
            proxy_header: 2048,
            unsent: 64 * 1024,
        }
    }
}

/// How long a server waits. Deadlines are accurate to 50 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long a TLS handshake or a PROXY header may take from its first byte; 10 s, as long as the head that follows.
    pub handshake: Duration,
    /// How long a whole request head may take from its first byte; 10 s, then 408. A client that sends its head byte by byte
    /// occupies only a buffer, and only for this time.
    pub head: Duration,
    /// How long a connection may wait for its first or next request; 15 s, then it is closed.
    pub idle: Duration,
    /// How long a complete request may wait for a thread or process; 30 s, as long as most clients and proxies wait. Then the
    /// response is 503 with `Retry-After`. [`Duration::MAX`] means no limit.
    pub queued: Duration,
    /// How long reading a body or writing a response may make no progress; 30 s.
    pub stalled: Duration,
    /// How long a body or a response may take before [`minimum_rate`](Timeouts::minimum_rate) applies to it; 10 s, so that a
    /// short interruption has no consequences.
    pub grace: Duration,
    /// The minimum average rate in bytes per second at which a client has to send a body or read a response; 240. That is
    /// less than any modem achieves, and more than an attacker wants to spend on each of thousands of connections. 0 means
    /// no minimum.
    pub minimum_rate: u64,
    /// How long the server reads what a client still sends after the last response, so that the client receives the response
    /// and not a reset (RFC 9112 §9.6); 2 s. Also how long an idle connection that can't be handed over to another process
    /// may wait for its last request ([`ShutdownHandle::hand_over`](super::ShutdownHandle::hand_over)).
    pub linger: Duration,
    /// How long running requests may take to finish when the server stops; 10 s.
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
            shutdown: seconds(10),
        }
    }
}

impl Timeouts {
    /// Returns when a transfer times out that began at `started`, made its last progress at `progress` and has transferred
    /// `bytes` so far. All times are in milliseconds.
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

/// Converts a duration to milliseconds. The result is small enough for a sum of several to fit into a `u64`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}
