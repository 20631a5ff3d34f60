//! The monitor thread: it claims the loop from a call of the application that is slow.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::LeaderPool;
use crate::server::event_loop::EventLoop;
use crate::server::panics;
use crate::server::sync::lock;

/// How often the monitor looks at the call counter. A call that takes longer than one to two intervals loses the loop.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The interval while calls are many and fast, and none has been slow for long: each look costs as much as a third of a
/// request, and one slow call delays other connections only once.
const RELAXED_INTERVAL: Duration = Duration::from_millis(4);
/// The number of calls between two looks from which on they are many.
const MANY_CALLS: u64 = 16;
/// How long after the last slow call the interval is relaxed, in milliseconds.
const RELAX_AFTER: u64 = 5_000;
/// The interval after a slow call: it bounds how long the next slow call delays others, at the price of more wake-ups.
const CLOSE_INTERVAL: Duration = Duration::from_micros(200);
/// How long the monitor looks more often after a slow call, in milliseconds.
const CLOSE_MONITORING: u64 = 500;
/// The number of looks at a leader outside the application after which the monitor parks.
const IDLE_POLLS: u32 = 20;

/// A loop that the monitor has claimed.
pub(super) struct Claimed {
    pub(super) event_loop: Box<EventLoop>,
    /// The number of connections of its batch that are expected to block as well.
    pub(super) blocking: usize,
}

impl LeaderPool {
    /// Monitors the leader. Returns the loop when a call takes too long, and `None` when the pool stops.
    pub(super) fn monitor(&self) -> Option<Claimed> {
        *lock(&self.monitor) = Some(thread::current());
        let mut idle_polls = 0;
        let mut before = self.calls.load(Ordering::SeqCst);
        // The call that is running had begun by then.
        let mut running_since = Instant::now();
        // Whether the last look has found that another thread may run beside the call.
        let mut allowed = false;
        // Whether calls have been many since the last look.
        let mut is_brisk = false;
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(event_loop) = lock(&self.passed_loop).take() {
                return Some(Claimed { event_loop, blocking: 0 });
            }
            if idle_polls >= IDLE_POLLS {
                self.park_monitor(before);
                idle_polls = 0;
                (before, running_since, allowed) = (self.calls.load(Ordering::SeqCst), Instant::now(), false);
            }
            thread::park_timeout(self.monitor_interval(is_brisk));
            let calls = self.calls.load(Ordering::SeqCst);
            // Each call moves the counter twice.
            is_brisk = calls.wrapping_sub(before) >= 2 * MANY_CALLS;
            if calls != before {
                (idle_polls, before, running_since, allowed) = (0, calls, Instant::now(), false);
            } else if calls & 1 == 1 {
                self.was_slow.store(true, Ordering::Relaxed);
                let may_claim = self.may_claim(running_since);
                // Two checks in a row: a lock seen free between two calls is taken again by the next check.
                let twice =
                    std::mem::replace(&mut allowed, may_claim) || self.service.settings.runtime.may_hand_over.is_none();
                if let Some(event_loop) = (may_claim && twice).then(|| self.claim_from_call(calls)).flatten() {
                    let until = self.service.now() + CLOSE_MONITORING;
                    self.close_monitoring_until.store(until, Ordering::Relaxed);
                    return event_loop.map(|event_loop| Claimed { blocking: event_loop.batch_left(), event_loop });
                }
            } else {
                idle_polls += 1;
            }
        }
    }

    /// Sleeps until the leader enters the application again, or the pool stops.
    fn park_monitor(&self, calls: u64) {
        self.monitor_parked.store(true, Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) == calls && !self.is_stopped() {
            thread::park();
        }
        self.monitor_parked.store(false, Ordering::SeqCst);
    }

    fn monitor_interval(&self, is_brisk: bool) -> Duration {
        let (now, close_until) = (self.service.now(), self.close_monitoring_until.load(Ordering::Relaxed));
        if now < close_until {
            CLOSE_INTERVAL
        } else if is_brisk && (close_until == 0 || now >= close_until + RELAX_AFTER) {
            RELAXED_INTERVAL
        } else {
            POLL_INTERVAL
        }
    }

    /// Whether the loop may be taken from a call that has been running at least since then.
    fn may_claim(&self, running_since: Instant) -> bool {
        let Some(may_hand_over) = &self.service.settings.runtime.may_hand_over else { return true };
        panics::catch(|| may_hand_over(running_since.elapsed())).unwrap_or_else(|panic| {
            self.service.settings.log.error(&format!("panic before a hand-over: {}", panic.report));
            true
        })
    }
}
