//! Stopping a server from anywhere.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

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
    wakes: Mutex<Vec<Arc<Wake>>>,
}

impl ShutdownHandle {
    pub(super) fn new() -> ShutdownHandle {
        let control = Control { requested: AtomicBool::new(false), wakes: Mutex::new(Vec::new()) };
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
