//! Stopping a server from anywhere.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::handover::{Heir, Waiting};
use super::wake::Wake;

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
    heir: Mutex<Option<Heir>>,
    wakes: Mutex<Vec<Arc<Wake>>>,
}

impl ShutdownHandle {
    pub(super) fn new() -> ShutdownHandle {
        let control =
            Control { requested: AtomicBool::new(false), heir: Mutex::new(None), wakes: Mutex::new(Vec::new()) };
        ShutdownHandle { control: Arc::new(control) }
    }

    pub(super) fn register(&self, wake: Arc<Wake>) {
        self.wakes().push(wake);
    }

    fn wakes(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Wake>>> {
        self.control.wakes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks the server to stop, and returns at once. Asking twice is asking once.
    pub fn shutdown(&self) {
        self.control.requested.store(true, Ordering::SeqCst);
        for wake in self.wakes().iter() {
            wake.wake();
        }
    }

    /// Stops the server as [`shutdown`](ShutdownHandle::shutdown) does, but closes no connection that waits for a
    /// request: those go to `heir`, which lets them go on in another process ([`Arrivals`](super::Arrivals)). Nothing
    /// that has not been accepted yet is: another process holds the same listening sockets.
    ///
    /// `heir` is called by the thread that leads, and should not block for long. Connections through a
    /// [`TransportLayer`](super::TransportLayer) can't be handed over; they end with the answer to their next request
    /// or, idle, after [`Timeouts::linger`](super::Timeouts::linger).
    pub fn hand_over(&self, heir: impl Fn(Waiting) + Send + Sync + 'static) {
        *self.control.heir.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(heir));
        self.shutdown();
    }

    pub(super) fn heir(&self) -> Option<Heir> {
        self.control.heir.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
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
