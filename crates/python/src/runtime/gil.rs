//! Probes the GIL to tell an application call that blocks from one that computes.
//!
//! A call that waits for I/O has released the GIL, so other requests can be served in the meantime. A call that
//! computes holds it, and a second thread in the interpreter would only compete for it. The server asks before it moves
//! its event loop to another thread. The probe is a thread that acquires the GIL: if it gets it within
//! [`PROBE_TIMEOUT`], the GIL was released.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::runtime::ffi::attach;
use crate::runtime::sync::lock;

/// How long a probe may take. The interpreter takes the GIL from a thread that computes only after 5 ms (its switch
/// interval), so a probe that succeeds within 4 ms found the GIL released.
const PROBE_TIMEOUT: Duration = Duration::from_millis(4);

/// How long a call may compute, or hold the GIL in native code, before the event loop is moved anyway: connections must
/// still be accepted and timed out. Shorter pauses come from the garbage collector or from the system's scheduler.
const MAX_COMPUTING: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Prober {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requested: u64,
    completed: u64,
}

/// Whether the event loop may leave a call that has been running for `running`: the call has released the GIL, or has
/// run for [`MAX_COMPUTING`].
pub(crate) fn is_released(running: Duration) -> bool {
    static PROBER: OnceLock<Option<&'static Prober>> = OnceLock::new();
    if running >= MAX_COMPUTING {
        return true;
    }
    let Some(prober) = PROBER.get_or_init(Prober::start) else { return true };
    let mut state = prober.state();
    if state.requested == state.completed {
        state.requested += 1;
        prober.changed.notify_all();
    }
    let probe = state.requested;
    let deadline = Instant::now() + PROBE_TIMEOUT;
    while state.completed < probe {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        state = prober.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

impl Prober {
    /// Starts the probe thread; `None` if the system can't start one.
    fn start() -> Option<&'static Prober> {
        let prober: &'static Prober = Box::leak(Box::default());
        thread::Builder::new().name("amboss-gil".into()).spawn(|| prober.run()).ok()?;
        Some(prober)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            while state.requested == state.completed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let requested = state.requested;
            drop(state);
            attach(|_| ());
            state = self.state();
            state.completed = requested;
            self.changed.notify_all();
        }
    }
}
