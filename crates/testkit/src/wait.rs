//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails: much longer than any step takes on a busy machine.
///
/// It is shorter than the 30 seconds after which a server of `amboss-core` gives up a stalled or queued request by
/// default. A connection that only such a timeout has ended therefore fails its test.
pub const DEADLINE: Duration = Duration::from_secs(25);

/// How long to sleep between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, at most for [`DEADLINE`].
///
/// `what` completes the sentence "timed out waiting until …", as in "the old process has exited".
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_within(DEADLINE, what, condition);
}

/// Waits until `condition` holds, at most for `timeout`. For steps that may take longer than [`DEADLINE`], such as a
/// build.
#[track_caller]
pub fn wait_until_within(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    poll_until(timeout, || condition().then_some(()), || format!("waiting until {what}"));
}

/// Waits until `poll` returns a value, at most for [`DEADLINE`], and returns it.
///
/// `what` completes the sentence "timed out waiting until …".
#[track_caller]
pub fn wait_for<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    poll_until(DEADLINE, poll, || format!("waiting until {what}"))
}

/// Waits until `poll` returns a value, at most for `timeout`, and returns it.
///
/// Otherwise panics with "timed out after …" and the text that `context` returns, which may show the state at that
/// time.
#[track_caller]
pub fn poll_until<T>(timeout: Duration, mut poll: impl FnMut() -> Option<T>, context: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        if Instant::now() >= deadline {
            panic!("timed out after {timeout:?} {}", context());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_checked_until_it_holds() {
        let mut checks = 0;
        wait_until("three checks were made", || {
            checks += 1;
            checks == 3
        });
        assert_eq!(checks, 3);
        assert_eq!(wait_for("there is a value", || Some(7)), 7);
    }

    #[test]
    #[should_panic(expected = "timed out after 5ms waiting until pigs fly")]
    fn a_timeout_says_what_was_awaited() {
        wait_until_within(Duration::from_millis(5), "pigs fly", || false);
    }
}
