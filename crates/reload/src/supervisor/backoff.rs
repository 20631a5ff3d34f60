//! How long to wait before a worker that died is replaced. Only the arithmetic: no clock, and nothing waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Delays that double with each consecutive failure, and start again after a healthy run.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    healthy_after: Duration,
    next: Duration,
    consecutive_failures: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration, healthy_after: Duration) -> Backoff {
        Backoff { first, max, healthy_after, next: first, consecutive_failures: 0 }
    }

    /// Counts a failure after `uptime`. Returns how long to wait before the next start.
    pub(super) fn delay_after(&mut self, uptime: Duration) -> Duration {
        if uptime >= self.healthy_after {
            self.reset();
        }
        self.consecutive_failures += 1;
        let delay = self.next.min(self.max);
        self.next = (delay * 2).min(self.max);
        delay
    }

    /// The number of failures since the last healthy run.
    pub(super) fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// Forgets all failures, because the code is new.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
        self.consecutive_failures = 0;
    }
}

/// Limits how often a program may request an immediate restart.
#[derive(Debug)]
pub(super) struct RestartLimiter {
    limit: usize,
    interval: Duration,
    times: VecDeque<Instant>,
}

impl RestartLimiter {
    pub(super) fn new(limit: usize, interval: Duration) -> RestartLimiter {
        RestartLimiter { limit, interval, times: VecDeque::new() }
    }

    /// Counts a request. Returns whether the restart may happen at once.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        self.times.retain(|&time| now.saturating_duration_since(time) < self.interval);
        self.times.push_back(now);
        self.times.len() <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn delays_double_up_to_a_maximum_and_start_again_after_a_healthy_run() {
        let mut backoff = Backoff::new(ms(100), ms(5000), ms(10_000));
        let delays: Vec<u128> = (0..8).map(|_| backoff.delay_after(ms(9_999)).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.consecutive_failures(), 8);
        assert_eq!(backoff.delay_after(ms(10_000)), ms(100));
        assert_eq!(backoff.consecutive_failures(), 1);
        assert_eq!(backoff.delay_after(ms(0)), ms(200));
        backoff.reset();
        assert_eq!(backoff.delay_after(ms(0)), ms(100));
    }

    #[test]
    fn five_restarts_within_a_second_are_allowed() {
        let start = Instant::now();
        let mut limiter = RestartLimiter::new(5, ms(1000));
        let allowed: Vec<bool> = (0..7).map(|count| limiter.allows(start + ms(count * 100))).collect();
        assert_eq!(allowed, [true, true, true, true, true, false, false]);
        assert!(limiter.allows(start + ms(5000)));
        let mut slow = RestartLimiter::new(5, ms(1000));
        assert!((0..50).all(|count| slow.allows(start + ms(count * 201))));
    }
}
