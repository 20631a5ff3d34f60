//! The monitor thread: it claims the loop when an application call is slow.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::LeaderPool;
use crate::server::event_loop::EventLoop;
use crate::server::panics;
use crate::server::sync::lock;

/// The interval at which the monitor checks the call counter. A call that takes longer than one to two intervals loses
/// the loop.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The interval while calls are frequent and fast, and none has been slow within `RELAX_AFTER`. A check costs as much
/// as a third of a request, and the longer interval delays other connections only during the first slow call.
const RELAXED_INTERVAL: Duration = Duration::from_millis(4);
/// The minimum number of calls between two checks at which calls count as frequent.
const MANY_CALLS: u64 = 16;
/// How long after the end of close monitoring the interval is relaxed, in milliseconds.
const RELAX_AFTER: u64 = 5_000;
/// The interval after a slow call. It shortens the delay that the next slow call causes, at the cost of more wake-ups.
const CLOSE_INTERVAL: Duration = Duration::from_micros(200);
/// How long the monitor uses `CLOSE_INTERVAL` after a slow call, in milliseconds.
const CLOSE_MONITORING: u64 = 500;
/// The number of consecutive checks with the leader outside the application after which the monitor parks.
const IDLE_POLLS: u32 = 20;

/// A loop that the monitor has claimed.
pub(super) struct Claimed {
    pub(super) event_loop: Box<EventLoop>,
    /// The number of connections in its batch whose requests are expected to block, too.
    pub(super) blocking: usize,
}

impl LeaderPool {
    /// Monitors the leader. Returns the loop when a call has taken too long or its thread passes the loop on, and
    /// `None` when the pool stops.
    pub(super) fn monitor(&self) -> Option<Claimed> {
        *lock(&self.monitor) = Some(thread::current());
        let mut idle_polls = 0;
        let mut before = self.calls.load(Ordering::SeqCst);
        // When the current call was first seen: it has been running at least since then.
        let mut running_since = Instant::now();
        // Whether the last check has allowed the loop to be claimed from the current call.
        let mut allowed = false;
        // Whether calls were frequent since the last check.
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
                // Claim only after two checks in a row have allowed it: a global lock that was free for a moment
                // between two calls is held again at the second check.
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

    /// Whether the runtime's hook allows the loop to be claimed from a call that has been running at least since
    /// `running_since`.
    fn may_claim(&self, running_since: Instant) -> bool {
        let Some(may_hand_over) = &self.service.settings.runtime.may_hand_over else { return true };
        panics::catch(|| may_hand_over(running_since.elapsed())).unwrap_or_else(|panic| {
            self.service.settings.log.error(&format!("panic in the may_hand_over hook: {}", panic.report));
            true
        })
    }
}
