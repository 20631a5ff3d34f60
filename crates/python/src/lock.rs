//! Waiting for the interpreter's lock, but not for ever.
//!
//! A call that takes long may wait for something, and has let go of the lock: then others can be served meanwhile. Or it
//! computes, or the system gave the processor to somebody else: then a second thread in the interpreter would only take
//! the lock from it. What it is tells the lock itself, to a thread that asks for it.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::raw::attach;

/// How long is waited: several of the intervals at which the interpreter takes its lock from a thread that computes.
/// Code that holds it for longer is no Python, and the server goes on without it.
const PATIENCE: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Asker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: u64,
    answered: u64,
}

/// Returns once the lock could be had, or is not to be had for now.
pub(crate) fn wait_until_free() {
    static ASKER: OnceLock<Option<&'static Asker>> = OnceLock::new();
    let Some(asker) = ASKER.get_or_init(Asker::start) else { return };
    let mut state = asker.state();
    state.asked += 1;
    let mine = state.asked;
    asker.changed.notify_all();
    let until = Instant::now() + PATIENCE;
    while state.answered < mine {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = asker.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Asker {
    /// `None` when there is no thread to be had.
    fn start() -> Option<&'static Asker> {
        let asker: &'static Asker = Box::leak(Box::default());
        thread::Builder::new().name("amboss-lock".into()).spawn(|| asker.ask()).ok()?;
        Some(asker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) {
        let mut state = self.state();
        loop {
            while state.asked == state.answered {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let asked = state.asked;
            drop(state);
            attach(|_| ());
            state = self.state();
            state.answered = asked;
            self.changed.notify_all();
        }
    }
}
