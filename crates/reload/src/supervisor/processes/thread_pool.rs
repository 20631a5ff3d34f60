//! The supervisor's threads, and the moments at which the process may be copied.
//!
//! A thread that begins or ends holds a lock of std for a moment: on the table of stacks by which std explains a stack
//! overflow. A copy of the process that is made at such a moment has that lock without the thread that would release it,
//! and every thread that the copy starts waits for it forever: the child says that it is ready and answers nothing. So
//! no thread of the supervisor may be beginning or ending while the process is copied.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Starts threads, and knows which of them are about to end.
#[derive(Clone, Default)]
pub(in crate::supervisor) struct Threads(Arc<Mutex<Running>>);

#[derive(Default)]
pub(in crate::supervisor) struct Running {
    next: u64,
    threads: HashMap<u64, Thread>,
}

struct Thread {
    handle: JoinHandle<()>,
    is_ending: bool,
}

/// Marks a thread as about to end when it is dropped.
struct Ending {
    threads: Threads,
    id: u64,
}

impl Threads {
    /// Starts a thread, and returns when it runs.
    pub(in crate::supervisor) fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (begins, begun) = channel();
        let mut running = self.lock();
        running.join_ending();
        let id = running.next;
        running.next += 1;
        let ending = Ending { threads: self.clone(), id };
        let handle = Builder::new().name(name.into()).spawn(move || {
            let _ending = ending;
            let _ = begins.send(());
            body();
        })?;
        running.threads.insert(id, Thread { handle, is_ending: false });
        drop(running);
        let _ = begun.recv();
        Ok(())
    }

    /// Waits until none of them is beginning or ending, and keeps it so until the guard is dropped.
    pub(in crate::supervisor) fn hold(&self) -> MutexGuard<'_, Running> {
        let mut running = self.lock();
        running.join_ending();
        running
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// They need no lock of ours any more.
    fn join_ending(&mut self) {
        let ending = self.threads.iter().filter(|(_, thread)| thread.is_ending).map(|(id, _)| *id);
        for id in ending.collect::<Vec<_>>() {
            // What it has panicked with has been printed.
            let _ = self.threads.remove(&id).map(|thread| thread.handle.join());
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(thread) = self.threads.lock().threads.get_mut(&self.id) {
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
    fn while_they_are_held_none_is_ending() {
        let threads = Threads::default();
        for round in 0..200 {
            let (go_on, goes_on) = sync_channel::<()>(0);
            threads.spawn("waits", move || _ = goes_on.recv()).unwrap();
            threads.spawn("ends", || ()).unwrap();
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            let running = threads.hold();
            let held = |running: &Running| {
                running.threads.values().all(|thread| !thread.is_ending && !thread.handle.is_finished())
            };
            assert!(!running.threads.is_empty() && held(&running));
            // It wants to end now, and has to wait.
            drop(go_on);
            std::thread::yield_now();
            assert!(held(&running));
            drop(running);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !threads.hold().threads.is_empty() {
                assert!(Instant::now() < deadline, "they have ended");
                std::thread::yield_now();
            }
        }
    }
}
