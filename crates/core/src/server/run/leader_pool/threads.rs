//! The threads of a pool: starting them, and the work of a thread that does not lead.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::leader::LeadEnd;
use super::scheduler::PoolThread;
use super::{LeaderPool, POOL_THREADS};
use crate::server::connection::Connection;
use crate::server::event_loop::{EventLoop, Token};
use crate::server::sync::{lock, wait_timeout};

/// The maximum number of threads that wait for a disk on behalf of requests without a slot
/// ([`Application::is_immediate`](crate::Application::is_immediate)) while all slots are taken. Further ones delay the
/// loop; more threads would only wait for the same disk.
const MAX_SLOW_READS: usize = 16;
/// How long a thread stays idle before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the leader waits before it tries again to start a thread that the system has refused, in milliseconds.
const SPAWN_AGAIN: u64 = 500;

/// The state that the threads of a pool share under one lock.
#[derive(Default)]
pub(super) struct Threads {
    /// Whether one of the threads is the monitor.
    pub(super) has_monitor: bool,
    /// The number of idle threads, including those that have been notified and do not run yet.
    pub(super) idle: usize,
    /// The number of threads in the pool.
    pub(super) count: usize,
    /// Requests that are expected to block, for idle threads.
    jobs: VecDeque<Job>,
}

impl Threads {
    /// Whether the idle threads are too few for the jobs and for a monitor, if there is none. Each idle thread takes one
    /// of these roles, and a job first: without this check, a loop could be left without a monitor, and a slow call of
    /// its leader would delay all its other requests.
    fn need_another(&self) -> bool {
        self.jobs.len() + usize::from(!self.has_monitor) > self.idle
    }
}

/// A connection whose request an idle thread is to answer.
struct Job {
    token: Token,
    connection: Box<Connection>,
}

/// A loop that a new thread takes, or the caller takes back if the thread could not be started.
type FirstLoop = Arc<Mutex<Option<Box<EventLoop>>>>;

impl LeaderPool {
    /// Starts the first threads of the pool, one of which leads. Returns the loop if the system refuses a thread.
    pub(crate) fn start(self: &Arc<LeaderPool>, event_loop: Box<EventLoop>) -> Result<(), Box<EventLoop>> {
        let first: FirstLoop = Arc::new(Mutex::new(Some(event_loop)));
        self.spawn_thread(Some(first.clone()));
        if lock(&self.threads).count == 0 {
            if let Some(event_loop) = lock(&first).take() {
                return Err(event_loop);
            }
        }
        self.spawn_thread(None);
        Ok(())
    }

    /// Leads in the calling thread.
    pub(crate) fn lead_here(self: &Arc<LeaderPool>, event_loop: Box<EventLoop>) {
        if let LeadEnd::Lost = self.lead(event_loop, 0) {
            self.run_thread();
        }
    }

    /// Starts another thread, if the maximum and the system allow it. With `first`, the thread begins as the leader.
    pub(super) fn spawn_thread(self: &Arc<LeaderPool>, first: Option<FirstLoop>) {
        let mut threads = lock(&self.threads);
        // The threads that may run the application, the leader, the monitor, the threads that wait for clients or write
        // to the disk, and those that read from it for requests without a slot.
        let most = self.service.settings.runtime.threads.max(1) + 2 + self.group.waiting_threads() + MAX_SLOW_READS;
        if threads.count >= most {
            return;
        }
        let pool = self.clone();
        let mut builder = thread::Builder::new().name("amboss".into());
        if let Some(size) = self.service.settings.runtime.thread_stack_size {
            builder = builder.stack_size(size);
        }
        let spawned = builder.spawn(move || {
            let event_loop = first.and_then(|first| lock(&first).take());
            if !event_loop.is_some_and(|event_loop| matches!(pool.lead(event_loop, 0), LeadEnd::Stopped)) {
                pool.run_thread();
            }
            if pool.is_forked() {
                return;
            }
            lock(&pool.threads).count -= 1;
            POOL_THREADS.fetch_sub(1, Ordering::SeqCst);
            pool.thread_ended.notify_all();
        });
        match spawned {
            Ok(_) => {
                threads.count += 1;
                POOL_THREADS.fetch_add(1, Ordering::SeqCst);
                self.spawn_failed.store(false, Ordering::Relaxed);
            }
            // Without a monitor the leader continues alone, and slow calls delay other connections until a thread can
            // be started.
            Err(error) => {
                self.spawn_again_at.store(self.service.now() + SPAWN_AGAIN, Ordering::Relaxed);
                // Logged once, and again only after a thread could be started.
                if !self.spawn_failed.swap(true, Ordering::Relaxed) {
                    let log = &self.service.settings.log;
                    log.error(&format!("can't start a thread for now, so fewer requests run at once: {error}"));
                }
            }
        }
    }

    /// Runs a thread that does not lead: it is idle, answers requests, monitors, leads, and starts over, until the pool
    /// stops or the thread has been idle for [`IDLE_TIMEOUT`].
    fn run_thread(self: &Arc<LeaderPool>) {
        loop {
            if self.is_forked() {
                return;
            }
            let mut threads = lock(&self.threads);
            while threads.has_monitor && threads.jobs.is_empty() && !self.is_stopped() {
                threads.idle += 1;
                let (guard, timed_out) = wait_timeout(&self.work, threads, IDLE_TIMEOUT);
                threads = guard;
                threads.idle -= 1;
                if timed_out && threads.has_monitor && threads.jobs.is_empty() {
                    return;
                }
            }
            if let Some(job) = threads.jobs.pop_front() {
                drop(threads);
                self.run_job(job);
                continue;
            }
            if self.is_stopped() {
                return;
            }
            threads.has_monitor = true;
            drop(threads);

            let claimed = self.monitor();
            let mut threads = lock(&self.threads);
            threads.has_monitor = false;
            let needs_another = threads.need_another();
            drop(threads);
            let Some(claimed) = claimed else {
                self.work.notify_all();
                return;
            };
            // Another thread becomes the next monitor.
            if needs_another {
                self.spawn_thread(None);
            } else {
                self.work.notify_one();
            }
            if let LeadEnd::Stopped = self.lead(claimed.event_loop, claimed.blocking) {
                return;
            }
        }
    }

    /// Passes a request to another thread, because it is expected to block. Returns the connection if there is no such
    /// thread.
    pub(super) fn dispatch(
        self: &Arc<LeaderPool>,
        token: Token,
        connection: Box<Connection>,
    ) -> Result<(), Box<Connection>> {
        self.note_detached();
        let mut threads = lock(&self.threads);
        threads.jobs.push_back(Job { token, connection });
        if !threads.need_another() {
            drop(threads);
            self.work.notify_one();
            return Ok(());
        }
        let before = threads.count;
        drop(threads);
        self.spawn_thread(None);
        let mut threads = lock(&self.threads);
        if threads.count > before {
            return Ok(());
        }
        if threads.jobs.len() <= threads.idle {
            drop(threads);
            self.work.notify_one();
            return Ok(());
        }
        // Only the leader adds jobs, at the back, and the threads take them from the front. So the last job is this one,
        // or a thread has taken it in the meantime.
        let Some(job) = threads.jobs.pop_back() else { return Ok(()) };
        drop(threads);
        debug_assert_eq!(job.token, token);
        self.note_completed();
        Err(job.connection)
    }

    /// Answers a request that the leader has passed on.
    fn run_job(self: &Arc<LeaderPool>, Job { token, mut connection }: Job) {
        let mut thread = PoolThread::detached(self);
        let now = self.service.now();
        let step = connection.catch_panic(&self.service, |it| it.advance(&self.service, &mut thread, false, now));
        self.complete_connection(token, connection, step, &mut thread);
    }
}
