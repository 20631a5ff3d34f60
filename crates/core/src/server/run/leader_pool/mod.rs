//! A pool of threads for one event loop, based on the Leader/Followers pattern.
//!
//! One thread *leads*: it polls, reads, parses, and runs the application itself. Before it calls the application, it
//! puts the loop into `shared_loop` and advances the *call counter* to an odd number; after the call it advances the
//! counter again and takes the loop back. This costs two uncontended locks and no wake-up. During the call, the thread
//! that advances the counter (compare-and-swap) owns the loop.
//!
//! A *monitor* thread checks the counter about once a millisecond. If the same call is still running, the monitor
//! claims the loop and becomes the leader, which continues with the next connection of the batch; another thread
//! becomes the monitor. The thread that has lost the loop is *detached*: it writes its own response, returns its
//! connection through a queue, and becomes idle.
//!
//! A slow call therefore costs one hand-over, and delays other connections by no more than one or two intervals of the
//! monitor. A fast call needs no other thread. There are only as many threads as requests run at once, plus the leader
//! and the monitor, which is parked while no request runs.
//!
//! ```text
//!            ┌──────────── idle ◄──────────────┐
//!            ▼                                 │
//!         monitor ──(claims the loop)──► leader ──(loses the loop)──► detached
//!                                                                        │
//!            idle ◄──────────────────────────────────────────────────────┘
//! ```

mod leader;
mod monitor;
mod scheduler;
#[cfg(all(test, unix))]
mod tests;
mod threads;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::Thread;
use std::time::Instant;

use crate::server::connection::{Connection, Step};
use crate::server::event_loop::{EventLoop, Token};
use crate::server::io::fork_guard::ProcessMark;
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::service::Service;
use crate::server::shutdown::ShutdownHandle;
use crate::server::sync::{lock, wait_timeout};
use threads::Threads;

/// The number of threads of all pools in this process. A [`ForkingWsgiServer`](crate::server::ForkingWsgiServer) refuses
/// to fork while there are any.
pub(crate) static POOL_THREADS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct LeaderPool {
    service: Arc<Service>,
    shutdown: ShutdownHandle,
    waker: Arc<Waker>,
    group: Arc<LoopGroup>,
    /// The index of this pool's loop in the group.
    index: usize,
    /// The loop, while its leader is inside the application.
    shared_loop: Mutex<Option<Box<EventLoop>>>,
    /// The loop, in transit from a leader that waits for its client to the monitor.
    passed_loop: Mutex<Option<Box<EventLoop>>>,
    /// The call counter: odd while the leader is inside the application.
    calls: AtomicU64,
    /// Whether the monitor is parked without a timeout.
    monitor_parked: AtomicBool,
    monitor: Mutex<Option<Thread>>,
    /// Until when the monitor uses its shortest interval, in the service's milliseconds.
    close_monitoring_until: AtomicU64,
    /// Whether the monitor has seen the same call twice, so that the loop's cached time is out of date.
    was_slow: AtomicBool,
    threads: Mutex<Threads>,
    /// Notified when an idle thread has something to do.
    work: Condvar,
    /// Notified when a thread has ended.
    thread_ended: Condvar,
    completed: Mutex<Vec<Completed>>,
    /// The number of detached threads, until the leader has processed what they have completed.
    detached: AtomicUsize,
    /// When to try again to start a thread after the system has refused one, in the service's milliseconds.
    spawn_again_at: AtomicU64,
    /// Whether the last attempt to start a thread has failed. The failure has been logged then.
    spawn_failed: AtomicBool,
    stopped: AtomicBool,
    result: Mutex<Option<io::Result<()>>>,
    process_mark: ProcessMark,
}

/// What a detached thread returns to the leader.
enum Completed {
    Connection {
        token: Token,
        connection: Box<Connection>,
        step: Step,
    },
    /// The connection has left the server after response 101.
    Upgraded(Token),
    /// The thread had no connection: it has dropped application values, which took a while.
    Discarded,
}

impl LeaderPool {
    pub(crate) fn new(
        service: Arc<Service>,
        shutdown: ShutdownHandle,
        waker: Arc<Waker>,
        group: Arc<LoopGroup>,
        index: usize,
    ) -> Arc<LeaderPool> {
        Arc::new(LeaderPool {
            service,
            shutdown,
            waker,
            group,
            index,
            shared_loop: Mutex::new(None),
            passed_loop: Mutex::new(None),
            calls: AtomicU64::new(0),
            monitor_parked: AtomicBool::new(false),
            monitor: Mutex::new(None),
            close_monitoring_until: AtomicU64::new(0),
            was_slow: AtomicBool::new(false),
            threads: Mutex::new(Threads::default()),
            work: Condvar::new(),
            thread_ended: Condvar::new(),
            completed: Mutex::new(Vec::new()),
            detached: AtomicUsize::new(0),
            spawn_again_at: AtomicU64::new(u64::MAX),
            spawn_failed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            result: Mutex::new(None),
            process_mark: ProcessMark::here(),
        })
    }

    /// Waits until all threads that are not detached have ended, or the deadline has passed. Returns the result of the
    /// loop.
    pub(crate) fn join(&self, deadline: Instant) -> io::Result<()> {
        let mut threads = lock(&self.threads);
        while threads.count > self.detached.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            threads = wait_timeout(&self.thread_ended, threads, left).0;
        }
        drop(threads);
        lock(&self.result).take().unwrap_or(Ok(()))
    }

    /// Advances the call counter from `call`. The thread that succeeds owns the loop. Returns false if another thread
    /// has advanced the counter.
    #[inline]
    fn try_claim(&self, call: u64, advance: u64) -> bool {
        self.calls.compare_exchange(call, call + advance, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Claims the loop from the running call `call`, whose thread is then detached. Returns `None` if the call has
    /// ended, or another thread has claimed the loop.
    fn claim_from_call(&self, call: u64) -> Option<Option<Box<EventLoop>>> {
        // Counted before the claim: as soon as the call's thread has lost the loop, it may release its slot.
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.group.expect_detached();
        if !self.try_claim(call, 1) {
            self.note_completed();
            return None;
        }
        self.group.end_leading(self.index);
        Some(lock(&self.shared_loop).take())
    }

    /// Counts a thread to which the leader passes a request.
    fn note_detached(&self) {
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.group.note_detached(self.index);
    }

    fn note_completed(&self) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.group.note_completed(self.index);
    }

    /// Queues the result of a detached thread for the leader, and wakes it.
    fn complete(&self, completed: Completed) {
        if self.is_forked() {
            return;
        }
        lock(&self.completed).push(completed);
        // The leader decrements `detached`, so that the count is never too low.
        self.waker.wake();
    }

    /// Whether this process was forked by the application. Such a process must not wait for a lock or another thread:
    /// the other threads do not exist in it, and their locks are never released.
    fn is_forked(&self) -> bool {
        self.process_mark.is_forked()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake_monitor(&self) {
        if let Some(monitor) = &*lock(&self.monitor) {
            monitor.unpark();
        }
    }

    /// Ends the pool, because its loop has ended.
    fn finish(&self, event_loop: Box<EventLoop>, result: io::Result<()>) {
        drop(event_loop);
        if result.is_err() {
            // The server can't continue without one of its loops.
            self.shutdown.shutdown();
        }
        *lock(&self.result) = Some(result);
        self.stopped.store(true, Ordering::SeqCst);
        // Notified under the lock, so that no thread misses it between its check and its wait.
        let threads = lock(&self.threads);
        self.work.notify_all();
        drop(threads);
        self.wake_monitor();
        self.group.note_loop_ended();
    }
}
