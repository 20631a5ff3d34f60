//! A pool of threads for one event loop, after the Leader/Followers pattern.
//!
//! One thread *leads*: it waits, reads, parses, and runs the application itself. Before it calls the application, it puts
//! the loop into `shared_loop` and advances the *call counter* to an odd number; afterwards it advances the counter again
//! and takes the loop back. That is two uncontended locks and no wake-up. Whichever thread advances the counter
//! (compare-and-swap) owns the loop.
//!
//! A *monitor* thread looks at the counter about once a millisecond. When it finds the same call still running, it claims
//! the loop and leads on from the next connection of the batch, and another thread becomes the monitor. The thread that has
//! lost the loop is *detached*: it writes its own response, gives its connection back through a queue, and becomes idle.
//!
//! So a slow application costs one hand-over and delays no other connection for longer than the monitor's interval; a fast
//! one costs nothing; and threads exist only for requests that run. While nothing runs, the monitor is parked.
//!
//! ```text
//!            ┌──────────── idle ◄──────────────┐
//!            ▼                                 │
//!         monitor ──(claims the loop)──► leader ──(loses the loop)──► detached
//!                                                                        │
//!            idle ◄──────────────────────────────────────────────────────┘
//! ```

mod jobs;
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
use jobs::Threads;

/// The number of threads of all pools in this process. A [`ForkingWsgiServer`](crate::server::ForkingWsgiServer) refuses
/// to fork while there are any.
pub(crate) static POOL_THREADS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct LeaderPool {
    service: Arc<Service>,
    shutdown: ShutdownHandle,
    waker: Arc<Waker>,
    group: Arc<LoopGroup>,
    /// Which loop of the group is this pool's.
    index: usize,
    /// The loop, while its leader is inside the application.
    shared_loop: Mutex<Option<Box<EventLoop>>>,
    /// The loop, on its way from a leader that gives it up to the monitor.
    passed_loop: Mutex<Option<Box<EventLoop>>>,
    /// Odd while the leader is inside the application; changes with each call.
    calls: AtomicU64,
    /// Whether the monitor sleeps until it is woken.
    monitor_parked: AtomicBool,
    monitor: Mutex<Option<Thread>>,
    /// Until when the monitor looks more often, in the service's milliseconds.
    close_monitoring_until: AtomicU64,
    /// Whether the monitor has found the leader inside the same call twice, so that the loop's time is out of date.
    was_slow: AtomicBool,
    threads: Mutex<Threads>,
    /// Notified when an idle thread has something to do.
    work: Condvar,
    /// Notified when a thread has ended.
    thread_ended: Condvar,
    completed: Mutex<Vec<Completed>>,
    /// The number of threads that have lost the loop and still run a request.
    detached: AtomicUsize,
    /// When to try again to start a thread that the system has refused, in the service's milliseconds.
    spawn_again_at: AtomicU64,
    /// Whether the last attempt to start a thread has failed, and the log has said so.
    spawn_failed: AtomicBool,
    stopped: AtomicBool,
    result: Mutex<Option<io::Result<()>>>,
    process_mark: ProcessMark,
}

/// What a detached thread gives back.
enum Completed {
    Connection {
        token: Token,
        connection: Box<Connection>,
        step: Step,
    },
    /// Its connection has left the server.
    Upgraded(Token),
    /// It had no connection: what it dropped took a while.
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

    /// Waits until the threads have ended that are not inside the application. Returns how the loop ended.
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

    /// Moves the call counter on. Whichever thread succeeds owns the loop; false when another one has.
    #[inline]
    fn try_claim(&self, call: u64, advance: u64) -> bool {
        self.calls.compare_exchange(call, call + advance, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Claims the loop of a call that is running, whose thread is detached from then on. `None` when the call has ended,
    /// or another thread has claimed the loop.
    fn claim_from_call(&self, call: u64) -> Option<Option<Box<EventLoop>>> {
        // Counted before: as soon as the call has lost the loop, it may give its slot up.
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.group.expect_detached();
        if !self.try_claim(call, 1) {
            self.note_completed();
            return None;
        }
        self.group.end_leading(self.index);
        Some(lock(&self.shared_loop).take())
    }

    /// Counts a thread that answers a request without the loop.
    fn note_detached(&self) {
        self.detached.fetch_add(1, Ordering::SeqCst);
        self.group.note_detached(self.index);
    }

    fn note_completed(&self) {
        self.detached.fetch_sub(1, Ordering::SeqCst);
        self.group.note_completed(self.index);
    }

    /// Gives the leader what a detached thread has completed.
    fn complete(&self, completed: Completed) {
        if self.is_forked() {
            return;
        }
        lock(&self.completed).push(completed);
        // The leader counts this thread as completed, so that `detached` never says less than there are.
        self.waker.wake();
    }

    /// Whether this process is a copy that the application has forked. It must not wait: none of the other threads is in
    /// it, and a lock that one of them held is held for ever.
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

    /// Ends the pool: its loop has ended.
    fn finish(&self, event_loop: Box<EventLoop>, result: io::Result<()>) {
        drop(event_loop);
        if result.is_err() {
            // One loop can't go on, so the server can't.
            self.shutdown.shutdown();
        }
        *lock(&self.result) = Some(result);
        self.stopped.store(true, Ordering::SeqCst);
        // Under the lock, so that no thread misses it between its check and its wait.
        let threads = lock(&self.threads);
        self.work.notify_all();
        drop(threads);
        self.wake_monitor();
        self.group.note_loop_ended();
    }
}
