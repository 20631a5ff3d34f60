//! Stopping a server from any thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::handover::{IdleConnection, Successor};
use super::io::waker::Waker;
use super::sync::lock;

/// A handle that stops a server: the server accepts no more connections, closes idle ones, lets running requests finish
/// until [`Timeouts::shutdown`](super::Timeouts::shutdown) has passed, and returns from `serve_forever`.
///
/// Clones control the same server. Any thread may use the handle, and so may the application
/// ([`Environ::shutdown_server`](crate::Environ::shutdown_server)). A signal handler must not use it, because it takes locks; a
/// thread that waits for signals can.
#[derive(Clone)]
pub struct ShutdownHandle {
    control: Arc<Control>,
}

pub(super) struct Control {
    requested: AtomicBool,
    requested_at: OnceLock<Instant>,
    /// Takes the idle connections, if they go to another process.
    successor: Mutex<Option<Successor>>,
    wakers: Mutex<Vec<Arc<Waker>>>,
    /// Whether the loops refuse the requests that wait for a thread.
    refusing: AtomicBool,
    /// The number of loops that have refused their waiting requests.
    refused: AtomicUsize,
    /// Returns the number of the server's open connections.
    open_connections: OnceLock<CountConnections>,
}

type CountConnections = Box<dyn Fn() -> usize + Send + Sync>;

impl ShutdownHandle {
    pub(super) fn new() -> ShutdownHandle {
        let control = Control {
            requested: AtomicBool::new(false),
            requested_at: OnceLock::new(),
            successor: Mutex::new(None),
            wakers: Mutex::new(Vec::new()),
            refusing: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            open_connections: OnceLock::new(),
        };
        ShutdownHandle { control: Arc::new(control) }
    }

    /// Sets the function that counts the open connections.
    pub(super) fn set_counter(&self, count: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.control.open_connections.set(Box::new(count));
    }

    /// Returns the number of the server's open connections, including idle ones. Connections that have been upgraded
    /// ([`on_upgrade`](crate::on_upgrade)) do not count.
    pub fn open_connections(&self) -> usize {
        self.control.open_connections.get().map_or(0, |count| count())
    }

    /// Adds the waker of a loop.
    pub(super) fn register(&self, waker: Arc<Waker>) {
        self.wakers().push(waker);
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Arc<Waker>>> {
        lock(&self.control.wakers)
    }

    /// Makes the server stop, and returns at once. Further calls have no effect.
    pub fn shutdown(&self) {
        self.control.requested_at.get_or_init(Instant::now);
        self.control.requested.store(true, Ordering::SeqCst);
        for waker in self.wakers().iter() {
            waker.wake();
        }
    }

    /// Stops the server as [`shutdown`](ShutdownHandle::shutdown) does, but passes connections that wait for a request to
    /// `successor` instead of closing them. `successor` sends them to another process, which adopts them
    /// ([`Receiver`](super::Receiver)). Connections that have not been accepted yet stay in the queue of the listening
    /// sockets, which the other process has as well.
    ///
    /// The thread that runs the event loop calls `successor`, which should not block for long. Connections through a
    /// [`TransportLayer`](super::TransportLayer) can't be handed over. They close after the response to their next request,
    /// or, if they are idle, after [`Timeouts::linger`](super::Timeouts::linger).
    pub fn hand_over(&self, successor: impl Fn(IdleConnection) + Send + Sync + 'static) {
        *lock(&self.control.successor) = Some(Arc::new(successor));
        self.shutdown();
    }

    /// Refuses requests that wait for a thread or have arrived in part, now and from now on: the response is 503 with
    /// `Connection: close`. For a process that is about to end although requests are still running. Returns when the
    /// responses have been written, or after `timeout`.
    pub fn refuse_waiting(&self, timeout: Duration) {
        /// How often to check. The process is about to end, so the cost does not matter.
        const POLL_INTERVAL: Duration = Duration::from_millis(2);
        self.control.refusing.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + timeout.min(Duration::from_secs(3600));
        loop {
            let wakers = self.wakers();
            wakers.iter().for_each(|waker| waker.wake());
            let loops = wakers.len();
            drop(wakers);
            if self.control.refused.load(Ordering::SeqCst) >= loops || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether requests that wait for a thread are refused.
    pub(super) fn is_refusing(&self) -> bool {
        self.control.refusing.load(Ordering::Relaxed)
    }

    /// Counts a loop that has refused its waiting requests.
    pub(super) fn note_refused(&self) {
        self.control.refused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn successor(&self) -> Option<Successor> {
        lock(&self.control.successor).clone()
    }

    /// Returns how long ago the server was asked to stop; zero if it was not.
    pub(super) fn requested_since(&self) -> Duration {
        self.control.requested_at.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Whether the server has been asked to stop.
    pub fn is_requested(&self) -> bool {
        self.control.requested.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("requested", &self.is_requested()).finish()
    }
}
