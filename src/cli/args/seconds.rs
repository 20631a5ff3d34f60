//! Parsers for flags that take a number of seconds. The limits catch values that were meant as milliseconds.

use std::time::Duration;

/// Parses a timeout: from 0.1 seconds, so that a short pause does not count as a hang, to a day.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, from 0.1 to 86400 (a day)".into()),
    }
}

/// Parses a timeout, or 0 for no limit.
pub(super) fn timeout_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::MAX);
    }
    timeout(text).map_err(|error| format!("{error}, or 0"))
}

/// Parses the interval between two scans.
#[cfg(all(unix, feature = "reload"))]
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, from 0.01 to 3600".into()),
    }
}
