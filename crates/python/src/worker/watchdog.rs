//! `--timeout` and `--max-requests`: asks the supervisor to replace this worker when a request runs too long, or when
//! the worker has served its maximum number of requests.
//!
//! For `--timeout`, a thread sleeps until the oldest request is due. When a request is overdue, the thread logs the
//! stack of the request and asks for a successor. Once the successor serves, the thread waits for the other requests
//! and ends the process.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use amboss::cli::AppConfig;
use amboss::{Log, ShutdownHandle, Worker};
use pyo3::prelude::*;

use crate::runtime::ffi::attach;
use crate::runtime::sync::lock;
use crate::worker::in_flight;

/// How long to wait for requests that are blocked on the GIL: many times the interpreter's switch interval (5 ms).
const GIL_GRACE: Duration = Duration::from_secs(2);

/// How long the event loop may take to answer the requests that still wait for a thread with 503.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the state of the server is checked while this worker is being replaced.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The number of consecutive checks that must find no other request before the process ends, so that responses that are
/// complete have been sent.
const QUIET_POLLS: u32 = 3;

/// Times and counts the requests of a worker.
pub(crate) struct Watchdog {
    /// How long a request may run; `None` if there is no limit.
    timeout: Option<Duration>,
    /// How long the other requests may go on after a successor has replaced a worker with an overdue request: the
    /// shutdown deadline.
    graceful_timeout: Duration,
    /// The maximum number of requests before this worker is replaced; 0 means no limit.
    max_requests: u64,
    served: AtomicU64,
    running: Mutex<Running>,
    request_began: Condvar,
    worker: Mutex<Option<Worker>>,
    /// The key of the hub of greenlets, which is timed in place of the requests; `NO_HUB` if there is none.
    hub: AtomicU64,
}

/// The value of [`Watchdog::hub`] without a hub.
const NO_HUB: u64 = u64::MAX;

#[derive(Default)]
struct Running {
    next_id: u64,
    requests: HashMap<u64, Request>,
    /// Whether the watching thread waits on `request_began`.
    is_idle: bool,
}

struct Request {
    /// When the request began, plus the time it has spent waiting for its client.
    since: Instant,
    /// When the current wait for the client began, in `wsgi.input` or in `write`.
    waiting_since: Option<Instant>,
    /// Whether the application has the connection's socket, on which waiting for the client can't be told from other
    /// work.
    has_socket: bool,
    /// The thread's `threading.get_ident()`.
    thread: u64,
}

impl Request {
    /// Returns when the request becomes overdue; `None` while its client is waited for.
    fn due(&self, timeout: Duration) -> Option<Instant> {
        (self.waiting_since.is_none() && !self.has_socket).then_some(self.since + timeout)
    }
}

/// A request that is being timed until it is dropped.
pub(crate) struct RequestGuard<'a> {
    watchdog: &'a Arc<Watchdog>,
    /// `None` if requests are not timed.
    id: Option<u64>,
}

impl RequestGuard<'_> {
    /// Returns the handle with which the request reports waits for its client; `None` if requests are not timed.
    pub(crate) fn client_wait_timer(&self) -> Option<ClientWaitTimer> {
        self.id.map(|id| ClientWaitTimer { watchdog: self.watchdog.clone(), id })
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.watchdog.running().requests.remove(&id);
        }
    }
}

/// Excludes the time spent waiting for a client from the time of its request.
pub(crate) struct ClientWaitTimer {
    watchdog: Arc<Watchdog>,
    id: u64,
}

impl ClientWaitTimer {
    /// Starts a wait for the client, which ends when the result is dropped.
    pub(crate) fn start_wait(&self) -> ClientWait<'_> {
        self.update(|request| request.waiting_since = Some(Instant::now()));
        ClientWait(self)
    }

    /// Stops timing the request: the application has the connection's socket.
    pub(crate) fn stop_timing(&self) {
        self.update(|request| request.has_socket = true);
    }

    fn update(&self, update: impl FnOnce(&mut Request)) {
        if let Some(request) = self.watchdog.running().requests.get_mut(&self.id) {
            update(request);
        }
    }
}

/// A wait for the client that ends when it is dropped.
pub(crate) struct ClientWait<'a>(&'a ClientWaitTimer);

impl Drop for ClientWait<'_> {
    fn drop(&mut self) {
        self.0.update(|request| {
            if let Some(since) = request.waiting_since.take() {
                request.since += since.elapsed();
            }
        });
    }
}

impl Watchdog {
    /// Makes a watchdog from the command line's settings; `None` if they limit nothing.
    pub(crate) fn new(settings: &AppConfig) -> Option<Watchdog> {
        let max_jitter = settings.max_requests_jitter;
        let jitter = if max_jitter == 0 { 0 } else { random() % (max_jitter + 1) };
        let max_requests = settings.max_requests.map_or(0, |requests| requests + jitter);
        (max_requests > 0 || settings.timeout.is_some()).then(|| Watchdog {
            timeout: settings.timeout,
            graceful_timeout: settings.options.settings.timeouts.shutdown,
            max_requests,
            served: AtomicU64::new(0),
            running: Mutex::default(),
            request_began: Condvar::new(),
            worker: Mutex::new(None),
            hub: AtomicU64::new(NO_HUB),
        })
    }

    /// Starts the watching thread, if there is a timeout.
    pub(crate) fn start(
        self: &Arc<Watchdog>,
        worker: Worker,
        log: Arc<dyn Log>,
        shutdown: Arc<OnceLock<ShutdownHandle>>,
    ) {
        *lock(&self.worker) = Some(worker);
        if let Some(timeout) = self.timeout {
            let watchdog = self.clone();
            let started = thread::Builder::new()
                .name("amboss-timeout".into())
                .spawn(move || watchdog.watch(timeout, &log, &shutdown));
            if let Err(error) = started {
                let _ = writeln!(
                    std::io::stderr(),
                    "amboss: --timeout has no effect, because a thread could not be started: {error}"
                );
            }
        }
    }

    /// Counts and times a request that begins in this thread.
    pub(crate) fn begin_request<'a>(self: &'a Arc<Watchdog>, py: Python<'_>) -> RequestGuard<'a> {
        self.count_request();
        self.resume_request(py)
    }

    /// Counts a request that begins.
    pub(crate) fn count_request(&self) {
        if self.max_requests > 0 && self.served.fetch_add(1, Ordering::Relaxed) + 1 == self.max_requests {
            self.request_replacement();
        }
    }

    /// Times a request that continues in this thread, to produce its next block.
    pub(crate) fn resume_request<'a>(self: &'a Arc<Watchdog>, py: Python<'_>) -> RequestGuard<'a> {
        if self.timeout.is_none() {
            return RequestGuard { watchdog: self, id: None };
        }
        RequestGuard { watchdog: self, id: Some(self.insert(thread_ident(py))) }
    }

    /// Begins to time a request that runs in a thread. Returns its key.
    fn insert(&self, thread: u64) -> u64 {
        let mut running = self.running();
        let id = running.next_id;
        running.next_id += 1;
        running.requests.insert(id, Request { since: Instant::now(), waiting_since: None, has_socket: false, thread });
        if running.is_idle {
            running.is_idle = false;
            self.request_began.notify_one();
        }
        id
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }

    fn request_replacement(&self) {
        if let Some(worker) = &*lock(&self.worker) {
            worker.request_replacement();
        }
    }

    /// Times the hub of greenlets: from now on it has to call [`beat`](Watchdog::beat) more often than the timeout. `thread`
    /// is its key in `sys._current_frames()`. Returns the interval, and `None` if there is no timeout.
    pub(crate) fn watch_hub(self: &Arc<Watchdog>, thread: u64) -> Option<Duration> {
        /// How many times the hub is to report within the timeout.
        const BEATS: u32 = 4;
        let timeout = self.timeout?;
        self.hub.store(self.insert(thread), Ordering::Relaxed);
        Some(timeout / BEATS)
    }

    /// Notes that the hub runs.
    pub(crate) fn beat(&self) {
        if let Some(hub) = self.running().requests.get_mut(&self.hub.load(Ordering::Relaxed)) {
            hub.since = Instant::now();
        }
    }

    fn has_hub(&self) -> bool {
        self.hub.load(Ordering::Relaxed) != NO_HUB
    }

    /// Waits for an overdue request, then has this worker replaced and ends the process.
    fn watch(&self, timeout: Duration, log: &Arc<dyn Log>, shutdown: &OnceLock<ShutdownHandle>) {
        let thread = self.wait_for_overdue(timeout);
        let seconds = timeout.as_secs_f64();
        let what = match self.has_hub() {
            true => "a greenlet has not given way to others",
            false => "a request has been running",
        };
        log.error(&format!("{what} for {seconds} seconds (--timeout); this worker is replaced"));
        self.request_replacement();
        // Log the stack in a separate thread, which blocks forever if the request's code never releases the GIL.
        let log = log.clone();
        let _ = thread::Builder::new().name("amboss-stack".into()).spawn(move || {
            attach(|py| {
                if let Ok(stack) = format_stack(py, thread) {
                    log.error(&format!("stack of the request:\n{stack}"));
                }
            });
        });
        self.exit_when_replaced(timeout, shutdown);
    }

    /// Waits until a request is overdue, and returns its thread. Sleeps without a timer while no request runs.
    fn wait_for_overdue(&self, timeout: Duration) -> u64 {
        let mut running = self.running();
        loop {
            let due = |request: &Request| request.due(timeout).map(|due| (due, request.thread));
            match running.requests.values().filter_map(due).min() {
                Some((due, thread)) if due <= Instant::now() => return thread,
                Some((due, _)) => {
                    // Sleep until the oldest request is due; younger requests must not wake this thread.
                    drop(running);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    running = self.running();
                }
                // All running requests wait for their clients, or use their connection's socket and may wait for them
                // there.
                None if !running.requests.is_empty() => {
                    drop(running);
                    thread::sleep(timeout / 4);
                    running = self.running();
                }
                None => {
                    running.is_idle = true;
                    running = self.request_began.wait(running).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Ends the process once a successor serves and only overdue requests still run here.
    fn exit_when_replaced(&self, timeout: Duration, shutdown: &OnceLock<ShutdownHandle>) {
        // This worker continues to serve until there is a successor.
        while !shutdown.get().is_some_and(ShutdownHandle::is_requested) {
            thread::sleep(POLL_INTERVAL);
        }
        let (deadline, gil_deadline) = (Instant::now() + self.graceful_timeout, Instant::now() + GIL_GRACE);
        let mut quiet_polls = 0;
        while Instant::now() < deadline && quiet_polls < QUIET_POLLS {
            thread::sleep(POLL_INTERVAL);
            let now = Instant::now();
            let (overdue, others) = {
                let running = self.running();
                let overdue = running
                    .requests
                    .values()
                    .filter(|request| request.due(timeout).is_some_and(|due| due <= now))
                    .count();
                (overdue, running.requests.len() - overdue)
            };
            // A connection without a running request has a request that is arriving, or a response that is being sent.
            let open = shutdown.get().map_or(0, ShutdownHandle::open_connections);
            let others = others.max(open.saturating_sub(overdue));
            // Requests that wait for the GIL are in flight, but not yet timed. The GIL may never be released.
            let waiting_for_gil = in_flight::count() > overdue + others && now < gil_deadline;
            quiet_polls = if others == 0 && !waiting_for_gil { quiet_polls + 1 } else { 0 };
        }
        // Refuse the requests that could not move to another process (those over TLS), and those that got no thread.
        if let Some(shutdown) = shutdown.get() {
            shutdown.refuse_waiting(REFUSE_TIMEOUT);
        }
        std::process::exit(0);
    }
}

fn thread_ident(py: Python<'_>) -> u64 {
    let ident = py.import("threading").and_then(|threading| threading.call_method0("get_ident")?.extract());
    ident.unwrap_or(0)
}

/// Formats the stack of a thread as Python's tracebacks do.
fn format_stack(py: Python<'_>, thread: u64) -> PyResult<String> {
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    let frame = frames.get_item(thread)?;
    let lines: Vec<String> = py.import("traceback")?.call_method1("format_stack", (frame,))?.extract()?;
    Ok(lines.concat())
}

/// Returns a random number that is good enough to keep workers from being replaced at the same time.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
