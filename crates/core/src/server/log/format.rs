//! The formats of log entries, and what they have in common: times, escapes, fields of the request.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::AccessRecord;
use crate::http::CivilTime;

/// The maximum number of bytes of a User-Agent or Referer that is logged. Browsers send less, and a client must not be
/// able to make a line so long that it is torn between the lines of other processes.
pub(super) const MAX_FIELD: usize = 1024;

/// The format of access lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// `127.0.0.1 - - [21/Nov/2026 09:00:00] "GET /path HTTP/1.1" 200 1234 0.002s`
    #[default]
    Werkzeug,
    /// The common log format of Apache and nginx.
    Common,
    /// The common log format, followed by Referer and User-Agent.
    Combined,
    /// One JSON object for each event, on a line of its own.
    ///
    /// The object of a request has `time` (RFC 3339, UTC, milliseconds), `remote_addr`, `method`, `path` and `query` as
    /// sent, `protocol`, `status`, `bytes`, `duration_ms`, `wait_ms` (a part of `duration_ms`), `user_agent` and `referer`
    /// (at most 1 KiB of each), and `request_id` where requests have IDs. A value that the client did not send is `null`. A request line that can't be parsed is in
    /// `request`, and its parts are `null`. Any other event has `time` and `error`, and a failure may have a `traceback`.
    Json,
}

/// Returns a field of the request, cut to the maximum length; `None` if the request has no such field.
pub(super) fn logged_field<'a>(record: &AccessRecord<'a>, name: &str) -> Option<&'a [u8]> {
    let value = record.head.and_then(|head| head.get(name))?;
    Some(&value[..value.len().min(MAX_FIELD)])
}

/// Writes text such as a line of code in a traceback unquoted: only characters that could move a terminal's cursor become
/// `\xNN`.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    for part in text.chars() {
        if part.is_control() && part != '\t' {
            let _ = write!(out, "\\x{:02x}", u32::from(part));
        } else {
            let _ = write!(out, "{part}");
        }
    }
}

/// Writes bytes between quotes: `"` and `\` get a backslash, and bytes that could move a terminal's cursor or end the
/// line become `\xNN`.
pub(super) fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t') && !matches!(byte, b'"' | b'\\');
    let mut rest = bytes;
    while let Some(position) = rest.iter().position(|byte| !is_plain(byte)) {
        let byte = rest[position];
        out.extend_from_slice(&rest[..position]);
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(&[b'\\', byte]);
        } else {
            let _ = write!(out, "\\x{byte:02x}");
        }
        rest = &rest[position + 1..];
    }
    out.extend_from_slice(rest);
}

#[derive(Clone, Copy)]
pub(super) enum TimeFormat {
    /// `21/Nov/2026 09:00:00`
    Werkzeug,
    /// `21/Nov/2026:09:00:00 +0000`
    Common,
    /// RFC 3339 with milliseconds: `2026-11-21T09:00:00.000Z`
    Rfc3339,
}

/// Writes a time in UTC: std has no time zones, and a log in UTC can be compared with any other.
pub(super) fn write_time(out: &mut Vec<u8>, time: SystemTime, format: TimeFormat) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let time = CivilTime::from_unix(seconds);
    let name = time.month_name();
    let CivilTime { year, month, day, hour, minute, second, .. } = time;
    let _ = match format {
        TimeFormat::Werkzeug => write!(out, "{day:02}/{name}/{year} {hour:02}:{minute:02}:{second:02}"),
        TimeFormat::Common => write!(out, "{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000"),
        TimeFormat::Rfc3339 => {
            write!(out, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
        }
    };
}
