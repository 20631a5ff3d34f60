//! Waiting for the interpreter's lock, but not for ever.
//!
//! A call that takes long may wait for something, and has let go of the lock: then others can be served meanwhile. Or it
//! computes, or the system gave the processor to somebody else: then a second thread in the interpreter would only take
//! the lock from it. What it is tells the lock itself, to a thread that asks for it.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::runtime::ffi::attach;

/// How long is waited for it. The interpreter takes its lock from a thread that computes after 5 ms, so what takes this
/// long was not let go of.
const PATIENCE: Duration = Duration::from_millis(4);
/// A call that has computed for so long keeps the lead no longer, as connections are to be accepted and timed out
/// nevertheless; also one that holds the lock all the time, which is no Python then. Shorter pauses are the garbage
/// collector's, or the system's, which runs something else.
const TOO_LONG: Duration = Duration::from_millis(50);

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

/// Was the lock let go of by a call that has been running for `running`, so that others can be served beside it? Or is
/// it time to serve others anyway?
pub(crate) fn is_free(running: Duration) -> bool {
    static ASKER: OnceLock<Option<&'static Asker>> = OnceLock::new();
    if running >= TOO_LONG {
        return true;
    }
    let Some(asker) = ASKER.get_or_init(Asker::start) else { return true };
    let mut state = asker.state();
    if state.asked == state.answered {
        state.asked += 1;
        asker.changed.notify_all();
    }
    let mine = state.asked;
    let until = Instant::now() + PATIENCE;
    while state.answered < mine {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        state = asker.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
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
