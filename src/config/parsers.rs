//! Parsers of values that several settings share.

use std::ffi::OsStr;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Returns a value as text.
pub(crate) fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "write it in UTF-8".into())
}

/// Whether the system accepts an environment variable with this name and value.
pub(crate) fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Parses a value with its type's own parser and message.
pub(crate) fn parse<T: FromStr<Err: Display>>(value: &OsStr) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// Parses the path of a target.
pub(crate) fn path(value: &OsStr, example: &str) -> Result<String, String> {
    match text(value)? {
        path if path.starts_with('/') && !path.contains(['?', '#', '%']) => Ok(path.to_owned()),
        _ => Err(format!("write a path, as in {example}")),
    }
}

/// Parses a whole number in a range.
pub(crate) fn integer<T: TryFrom<u64>>(value: &OsStr, range: RangeInclusive<u64>) -> Result<T, String> {
    let (first, last) = (*range.start(), *range.end());
    let shown = if last == u64::MAX { format!("{first}..") } else { format!("{first}..={last}") };
    match text(value)?.parse::<u64>() {
        Ok(number) if range.contains(&number) => T::try_from(number).map_err(|_| format!("{number} is not in {shown}")),
        Ok(number) => Err(format!("{number} is not in {shown}")),
        Err(_) => Err(format!("give a whole number in {shown}")),
    }
}

/// The largest size in bytes: more than any buffer or file should take, and small enough for sums of several.
const MAX_SIZE: u64 = 1 << 50;

/// Parses a number of bytes: `65536`, `64K` or `64 KiB`. A unit is a power of 1024, as in nginx.
pub(crate) fn size<T: TryFrom<u64>>(value: &OsStr) -> Result<T, String> {
    let text = text(value)?.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => 0,
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let size = size.filter(|size| factor > 0 && *size <= MAX_SIZE).and_then(|size| T::try_from(size).ok());
    size.ok_or_else(|| "give a number of bytes, as in 65536, 64K or 10M".into())
}

/// Parses a number of bytes of at least 1.
pub(crate) fn positive_size<T: TryFrom<u64>>(value: &OsStr) -> Result<T, String> {
    match size::<u64>(value)? {
        0 => Err("give a number of bytes from 1; no number stands for \"unlimited\"".into()),
        bytes => T::try_from(bytes).map_err(|_| "give a smaller number of bytes".into()),
    }
}

/// Parses a timeout: from 0.1 seconds, so that a short pause does not count as a hang, to a day. The limits catch values
/// that were meant as milliseconds.
pub(crate) fn timeout(value: &OsStr) -> Result<Duration, String> {
    seconds(value, 0.1, 86_400.0).ok_or_else(|| "give seconds, from 0.1 to 86400 (a day)".into())
}

/// Parses a timeout, or 0 for no limit.
pub(crate) fn timeout_or_zero(value: &OsStr) -> Result<Duration, String> {
    if value == "0" {
        return Ok(Duration::MAX);
    }
    timeout(value).map_err(|error| format!("{error}, or 0"))
}

/// Parses how long a request may take before it is called slow.
pub(crate) fn slow(value: &OsStr) -> Result<Duration, String> {
    seconds(value, 0.001, 86_400.0).ok_or_else(|| "give seconds, from 0.001 to 86400 (a day), or 250ms".into())
}

/// Parses the interval between two scans.
#[cfg(all(unix, feature = "reload"))]
pub(crate) fn interval(value: &OsStr) -> Result<Duration, String> {
    seconds(value, 0.01, 3600.0).ok_or_else(|| "give seconds, from 0.01 to 3600".into())
}

/// Parses a time in seconds, or with a unit: `250ms`, `30s`, `5m` or `1h`.
fn seconds(value: &OsStr, least: f64, most: f64) -> Option<Duration> {
    let text = value.to_str()?;
    let (number, factor) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .unwrap_or((text, 1.0));
    let seconds = number.trim_end().parse::<f64>().ok()? * factor;
    (least..=most).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// Parses how long a response may be kept: whole seconds, from 0 to a year, the maximum that caches were asked to
/// expect (RFC 2616 §14.21).
pub(crate) fn cache(value: &OsStr) -> Result<Duration, String> {
    match value.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) if seconds <= 31_536_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds, from 0 to 31536000 (a year)".into()),
    }
}

/// Parses permission bits in octal, as `chmod` and `umask` do.
#[cfg(unix)]
pub(crate) fn octal(value: &OsStr) -> Result<u32, String> {
    let digits = text(value)?.trim_start_matches("0o");
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("give permissions in octal, as in 660 or 007".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, milliseconds) in
            [("1", 1000), ("0.5", 500), ("250ms", 250), ("2 s", 2000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(timeout(OsStr::new(text)), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "soon", "nan", "inf", "-1", "1d", "0.01", "25h"] {
            assert!(timeout(OsStr::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_a_unit_or_none() {
        for (text, bytes) in
            [("0", 0), ("8190", 8190), ("64K", 65_536), ("64 KiB", 65_536), ("1m", 1 << 20), ("2GB", 2 << 30)]
        {
            assert_eq!(size::<u64>(OsStr::new(text)), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1T", "1.5M", "99999999999999999999", "9999999G"] {
            assert!(size::<u64>(OsStr::new(text)).unwrap_err().contains("64K"), "{text}");
        }
        assert!(size::<u16>(OsStr::new("64K")).is_err());
    }
}
