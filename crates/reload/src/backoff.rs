//! How long to wait before a program that does not stay up is started again. No clock, no waiting: only the arithmetic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Delays that double while deaths follow each other, and start anew after a life long enough to count as health.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    healthy: Duration,
    next: Duration,
    row: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration, healthy: Duration) -> Backoff {
        Backoff { first, most, healthy, next: first, row: 0 }
    }

    /// A child has ended that was ready for `lived`: how long to wait before the next start.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= self.healthy {
            self.reset();
        }
        self.row += 1;
        let delay = self.next.min(self.most);
        self.next = (delay * 2).min(self.most);
        delay
    }

    /// How many deaths have followed each other without health between them.
    pub(crate) fn row(&self) -> u32 {
        self.row
    }

    /// New code: what the old did does not count.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
        self.row = 0;
    }
}

/// Tells a program that asks for a restart from one that can't stop asking.
#[derive(Debug)]
pub(crate) struct Again {
    most: usize,
    within: Duration,
    times: VecDeque<Instant>,
}

impl Again {
    pub(crate) fn new(most: usize, within: Duration) -> Again {
        Again { most, within, times: VecDeque::new() }
    }

    /// May it start again at once?
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.times.retain(|&time| now.saturating_duration_since(time) < self.within);
        self.times.push_back(now);
        self.times.len() <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn delays_double_up_to_a_bound_and_health_starts_anew() {
        let mut backoff = Backoff::new(ms(100), ms(5000), ms(10_000));
        let delays: Vec<u128> = (0..8).map(|_| backoff.after(ms(9_999)).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.row(), 8);
        assert_eq!(backoff.after(ms(10_000)), ms(100));
        assert_eq!(backoff.row(), 1);
        assert_eq!(backoff.after(ms(0)), ms(200));
        backoff.reset();
        assert_eq!(backoff.after(ms(0)), ms(100));
    }

    #[test]
    fn five_restarts_within_a_second_are_granted() {
        let start = Instant::now();
        let mut again = Again::new(5, ms(1000));
        let answers: Vec<bool> = (0..7).map(|count| again.allows(start + ms(count * 100))).collect();
        assert_eq!(answers, [true, true, true, true, true, false, false]);
        assert!(again.allows(start + ms(5000)));
        let mut slow = Again::new(5, ms(1000));
        assert!((0..50).all(|count| slow.allows(start + ms(count * 201))));
    }
}
