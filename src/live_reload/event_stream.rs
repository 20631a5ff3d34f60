//! The server-sent events that tell open pages which code is running.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amboss_core::{Body, Concurrency, ShutdownHandle};

/// How often a stream checks whether the server stops, so that an open page does not delay the stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often a stream sends a comment, by which the server notices a client that has gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a page that got no stream waits before it asks again, in milliseconds: short enough that the page has
/// reloaded before the user looks at the browser.
const RETRY: u32 = 1000;
/// A stream occupies a thread, so there is at most one for this many threads.
const THREADS_PER_STREAM: usize = 4;

/// The streams of one server.
pub(super) struct EventStreams {
    /// How many more streams may be open.
    free: Arc<AtomicUsize>,
    shutdown: ShutdownSlot,
}

/// A slot for the handle of a server that is made later.
#[derive(Clone, Default)]
pub(crate) struct ShutdownSlot(Arc<OnceLock<ShutdownHandle>>);

impl ShutdownSlot {
    pub(crate) fn set(&self, handle: ShutdownHandle) {
        let _ = self.0.set(handle);
    }

    fn is_requested(&self) -> bool {
        self.0.get().is_some_and(ShutdownHandle::is_requested)
    }
}

impl EventStreams {
    /// Makes the streams for a server with this number of threads.
    pub(super) fn new(concurrency: Concurrency, threads: usize) -> EventStreams {
        let free = match concurrency {
            Concurrency::Threads => threads / THREADS_PER_STREAM,
            // A stream would occupy the only thread, or a whole process.
            _ => 0,
        };
        EventStreams { free: Arc::new(AtomicUsize::new(free)), shutdown: ShutdownSlot::default() }
    }

    pub(super) fn shutdown_slot(&self) -> ShutdownSlot {
        self.shutdown.clone()
    }

    /// Returns a response body that names the running code and stays open until the page is closed or the server stops.
    /// If too many streams are open, the body ends at once, and the page asks again.
    pub(super) fn open(&self, build_id: &str) -> Body {
        let Some(permit) = StreamPermit::acquire(&self.free) else {
            return Body::from(format!("retry: {RETRY}\ndata: {build_id}\n\n"));
        };
        let mut first = Some(format!("retry: 200\ndata: {build_id}\n\n").into_bytes());
        let shutdown = self.shutdown.clone();
        Body::iter(std::iter::from_fn(move || {
            let _permit = &permit;
            if let Some(first) = first.take() {
                return Some(first);
            }
            for _ in 0..HEARTBEAT.as_millis() / POLL_INTERVAL.as_millis() {
                if shutdown.is_requested() {
                    return None;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
            Some(b": still here\n\n".to_vec())
        }))
    }
}

/// The permission of one stream to occupy a thread; released when dropped.
struct StreamPermit(Arc<AtomicUsize>);

impl StreamPermit {
    fn acquire(free: &Arc<AtomicUsize>) -> Option<StreamPermit> {
        let taken = free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        taken.is_ok().then(|| StreamPermit(free.clone()))
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
