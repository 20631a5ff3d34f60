//! The formats of log entries, and what they share: times, escapes, fields of the request.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::AccessRecord;
use crate::http::CivilTime;

/// How much of a User-Agent or Referer is logged, in bytes: what browsers send is shorter, and a line of a client's choice is
/// not to become so long that it tears others.
const LONGEST_FIELD: usize = 1024;
/// The format of access lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// `127.0.0.1 - - [21/Nov/2026 09:00:00] "GET /path HTTP/1.1" 200 1234 0.002s`
    #[default]
    Werkzeug,
    /// Common log format, as Apache and nginx write it.
    Common,
    /// Common log format with referrer and user agent.
    Combined,
    /// One JSON object for each event, on a line of its own. A request has `time` (RFC 3339, UTC, milliseconds),
    /// `remote_addr`, `method`, `path` and `query` as sent, `protocol`, `status`, `bytes`, `duration_ms`, `wait_ms`
    /// (part of the former), `user_agent` and `referer` (1 KiB of each at most); what the client did not send is `null`.
    /// A line that is no request stands in `request`, with `null` for its parts. Anything else has `time` and `error`,
    /// and what explains a failure stands in `traceback`.
    Json,
}

/// A field of the request, as it is logged.
pub(super) fn logged<'a>(record: &AccessRecord<'a>, name: &str) -> Option<&'a [u8]> {
    let value = record.head.and_then(|head| head.get(name))?;
    Some(&value[..value.len().min(LONGEST_FIELD)])
}

/// Text that stands for itself, such as a line of code in a traceback: only what could move a terminal's cursor is
/// replaced.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    for part in text.chars() {
        if part.is_control() && part != '\t' {
            let _ = write!(out, "\\x{:02x}", u32::from(part));
        } else {
            let _ = write!(out, "{part}");
        }
    }
}

/// Anything that could move a terminal's cursor, leave the quotes or end a line becomes `\xNN`.
pub(super) fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' | b'\t' => out.push(byte),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum TimeFormat {
    Werkzeug,
    Common,
    /// RFC 3339 with milliseconds.
    Rfc3339,
}

/// In UTC: std knows no time zones, and a log that says so can be compared with any other.
pub(super) fn write_time(out: &mut Vec<u8>, time: SystemTime, format: TimeFormat) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let CivilTime { year, month, day, hour, minute, second, .. } = CivilTime::from_unix(seconds);
    let name = CivilTime::from_unix(seconds).month_name();
    let _ = match format {
        TimeFormat::Werkzeug => write!(out, "{day:02}/{name}/{year} {hour:02}:{minute:02}:{second:02}"),
        TimeFormat::Common => write!(out, "{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000"),
        TimeFormat::Rfc3339 => {
            write!(out, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
        }
    };
}
