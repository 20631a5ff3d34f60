//! The supervisor's threads, and when the process may be forked.
//!
//! A thread that starts or ends briefly holds a lock of std, on the table of stacks by which std reports a stack
//! overflow. A child that is forked at such a moment gets the lock in its locked state, but not the thread that would
//! release it. Every thread that the child starts therefore waits forever: the child reports that it is ready and
//! answers no request. No thread of the supervisor may therefore start or end during a fork.

use crate::sync::lock;
use std::collections::HashMap;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};

/// Starts threads, and keeps track of those that are about to end.
#[derive(Clone, Default)]
pub(super) struct ThreadRegistry(Arc<Mutex<RunningThreads>>);

#[derive(Default)]
pub(super) struct RunningThreads {
    next_id: u64,
    threads: HashMap<u64, Thread>,
}

struct Thread {
    handle: JoinHandle<()>,
    is_ending: bool,
}

/// Marks its thread as about to end when it is dropped.
struct EndGuard {
    registry: ThreadRegistry,
    id: u64,
}

impl ThreadRegistry {
    /// Starts a thread, and returns when it runs.
    pub(super) fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (started_sender, started) = channel();
        let mut running = self.lock();
        running.join_ending();
        let id = running.next_id;
        running.next_id += 1;
        let end_guard = EndGuard { registry: self.clone(), id };
        let handle = Builder::new().name(name.into()).spawn(move || {
            let _end_guard = end_guard;
            let _ = started_sender.send(());
            body();
        })?;
        running.threads.insert(id, Thread { handle, is_ending: false });
        drop(running);
        let _ = started.recv();
        Ok(())
    }

    /// Waits until no thread is starting or ending. None starts or ends until the guard is dropped.
    pub(super) fn lock_for_fork(&self) -> MutexGuard<'_, RunningThreads> {
        let mut running = self.lock();
        running.join_ending();
        running
    }

    fn lock(&self) -> MutexGuard<'_, RunningThreads> {
        lock(&self.0)
    }
}

impl RunningThreads {
    /// Joins the threads that are about to end. They take no lock that the caller holds.
    fn join_ending(&mut self) {
        let ending = self.threads.iter().filter(|(_, thread)| thread.is_ending).map(|(id, _)| *id);
        for id in ending.collect::<Vec<_>>() {
            // A panic has been printed already.
            let _ = self.threads.remove(&id).map(|thread| thread.handle.join());
        }
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if let Some(thread) = self.registry.lock().threads.get_mut(&self.id) {
            thread.is_ending = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, Instant};

    #[test]
    fn no_thread_is_ending_while_the_registry_is_locked_for_a_fork() {
        let registry = ThreadRegistry::default();
        for round in 0..200 {
            let (end_sender, end) = sync_channel::<()>(0);
            registry.spawn("waits", move || _ = end.recv()).unwrap();
            registry.spawn("ends", || ()).unwrap();
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            let running = registry.lock_for_fork();
            let none_is_ending = |running: &RunningThreads| {
                running.threads.values().all(|thread| !thread.is_ending && !thread.handle.is_finished())
            };
            assert!(!running.threads.is_empty() && none_is_ending(&running));
            // The first thread can end now, and has to wait.
            drop(end_sender);
            std::thread::yield_now();
            assert!(none_is_ending(&running));
            drop(running);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !registry.lock_for_fork().threads.is_empty() {
                assert!(Instant::now() < deadline, "the threads must end");
                std::thread::yield_now();
            }
        }
    }
}
