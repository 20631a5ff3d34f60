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

/// Parses how long a response may be kept: whole seconds, from 0 to a year, the maximum that caches were asked to
/// expect (RFC 2616 §14.21).
pub(super) fn cache(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds <= 31_536_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds, from 0 to 31536000 (a year)".into()),
    }
}

/// Parses the interval between two scans.
#[cfg(all(unix, feature = "reload"))]
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, from 0.01 to 3600".into()),
    }
}
