//! Stopping a server from anywhere.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::handover::{IdleConnection, Successor};
use super::io::waker::Waker;
use super::sync::lock;

/// Stops a server: no more connections are accepted, idle ones are closed, running requests finish until
/// [`Timeouts::shutdown`](super::Timeouts::shutdown) has passed, and `serve_forever` returns.
///
/// Clone it, send it to other threads, call it from a signal handler's thread or from the application itself
/// ([`Environ::shutdown_server`](crate::Environ::shutdown_server)).
#[derive(Clone)]
pub struct ShutdownHandle {
    control: Arc<Control>,
}

pub(super) struct Control {
    requested: AtomicBool,
    requested_at: OnceLock<Instant>,
    successor: Mutex<Option<Successor>>,
    wakers: Mutex<Vec<Arc<Waker>>>,
    /// Requests that wait for a thread are to be refused.
    refusing: AtomicBool,
    /// How many loops have done so.
    refused: AtomicUsize,
    /// Counts the server's connections.
    open: OnceLock<Count>,
}

type Count = Box<dyn Fn() -> usize + Send + Sync>;

impl ShutdownHandle {
    pub(super) fn new() -> ShutdownHandle {
        let control = Control {
            requested: AtomicBool::new(false),
            requested_at: OnceLock::new(),
            successor: Mutex::new(None),
            wakers: Mutex::new(Vec::new()),
            refusing: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            open: OnceLock::new(),
        };
        ShutdownHandle { control: Arc::new(control) }
    }

    pub(super) fn count_by(&self, open: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.control.open.set(Box::new(open));
    }

    /// How many connections the server holds at the moment, idle ones included; not those that have been taken over by
    /// [`on_upgrade`](crate::Body).
    pub fn open_connections(&self) -> usize {
        self.control.open.get().map_or(0, |open| open())
    }

    pub(super) fn register(&self, waker: Arc<Waker>) {
        self.wakers().push(waker);
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Arc<Waker>>> {
        lock(&self.control.wakers)
    }

    /// Asks the server to stop, and returns at once. Asking twice is asking once.
    pub fn shutdown(&self) {
        self.control.requested_at.get_or_init(Instant::now);
        self.control.requested.store(true, Ordering::SeqCst);
        for waker in self.wakers().iter() {
            waker.wake();
        }
    }

    /// Stops the server as [`shutdown`](ShutdownHandle::shutdown) does, but closes no connection that waits for a
    /// request: those go to `successor`, which lets them go on in another process ([`Receiver`](super::Receiver)).
    /// Connections that have not been accepted yet stay with the listening sockets, which another process holds as well.
    ///
    /// `successor` is called by the thread that runs the event loop, and should not block for long. Connections through a
    /// [`TransportLayer`](super::TransportLayer) can't be handed over; they end with the answer to their next request
    /// or, idle, after [`Timeouts::linger`](super::Timeouts::linger).
    pub fn hand_over(&self, successor: impl Fn(IdleConnection) + Send + Sync + 'static) {
        *lock(&self.control.successor) = Some(Arc::new(successor));
        self.shutdown();
    }

    /// Answers the requests that wait for a thread, or have arrived in part, with 503 and `Connection: close`, now and
    /// from now on: for a process that is about to end though requests still run. Returns when the answers are written,
    /// or after `timeout`.
    pub fn refuse_waiting(&self, timeout: Duration) {
        /// A look now and then, by a process that is about to end.
        const LOOK: Duration = Duration::from_millis(2);
        self.control.refusing.store(true, Ordering::SeqCst);
        let until = Instant::now() + timeout.min(Duration::from_secs(3600));
        loop {
            let wakers = self.wakers();
            wakers.iter().for_each(|waker| waker.wake());
            let loops = wakers.len();
            drop(wakers);
            if self.control.refused.load(Ordering::SeqCst) >= loops || Instant::now() >= until {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.control.refusing.load(Ordering::Relaxed)
    }

    pub(super) fn note_refused(&self) {
        self.control.refused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn successor(&self) -> Option<Successor> {
        lock(&self.control.successor).clone()
    }

    /// How long ago somebody has asked.
    pub(super) fn requested_since(&self) -> Duration {
        self.control.requested_at.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Has somebody asked?
    pub fn is_requested(&self) -> bool {
        self.control.requested.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("requested", &self.is_requested()).finish()
    }
}
