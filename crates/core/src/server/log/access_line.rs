//! The text formats of access lines: Werkzeug's, common and combined.

use std::io::Write;

use super::format::{logged_field, write_escaped, write_time, LogFormat, TimeFormat};
use super::record::AccessRecord;

/// Writes the line of a request in any format but JSON.
pub(super) fn write_access_line(out: &mut Vec<u8>, record: &AccessRecord<'_>, format: LogFormat, color: bool) {
    let _ = write!(out, "{} - - [", record.peer);
    match format {
        LogFormat::Werkzeug => write_time(out, record.time, TimeFormat::Werkzeug),
        _ => write_time(out, record.time, TimeFormat::Common),
    }
    out.extend_from_slice(b"] ");
    let (on, off) = if color && format == LogFormat::Werkzeug { colors(record.status) } else { ("", "") };
    out.extend_from_slice(on.as_bytes());
    out.push(b'"');
    if format == LogFormat::Werkzeug {
        write_decoded_request_line(out, record);
    } else {
        write_escaped(out, record.request_line);
    }
    out.push(b'"');
    out.extend_from_slice(off.as_bytes());
    let _ = write!(out, " {} {}", record.status, record.bytes);
    match format {
        LogFormat::Werkzeug => {
            // Integers, because the code that formats floats would add ten kilobytes to a small tool.
            let milliseconds = (record.duration.as_micros() + 500) / 1000;
            let _ = write!(out, " {}.{:03}s", milliseconds / 1000, milliseconds % 1000);
        }
        LogFormat::Combined => {
            for name in ["referer", "user-agent"] {
                out.extend_from_slice(b" \"");
                write_escaped(out, logged_field(record, name).unwrap_or(b"-"));
                out.push(b'"');
            }
        }
        _ => {}
    }
    out.push(b'\n');
}

/// Writes the request line with its target percent-decoded, as Werkzeug does.
fn write_decoded_request_line(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let line = record.request_line;
    let start = line.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1);
    if record.target.is_empty() || line.len() < start + record.target.len() {
        return write_escaped(out, line);
    }
    let (before, rest) = line.split_at(start);
    write_escaped(out, before);
    let decoded = crate::http::percent_decode(record.target);
    match std::str::from_utf8(&decoded) {
        Ok(text) => {
            for part in text.chars() {
                if part.is_control() {
                    let _ = write!(out, "\\x{:02x}", u32::from(part));
                } else if part == '"' || part == '\\' {
                    out.extend_from_slice(&[b'\\', part as u8]);
                } else {
                    let _ = write!(out, "{part}");
                }
            }
        }
        Err(_) => write_escaped(out, record.target),
    }
    write_escaped(out, &rest[record.target.len()..]);
}

/// Returns the escape sequences that begin and end the colour of a status: 1xx bold, 2xx plain, 304 cyan, other 3xx green,
/// 404 yellow, other 4xx bold red, 5xx bold magenta.
fn colors(status: u16) -> (&'static str, &'static str) {
    let on = match status {
        100..=199 => "\x1b[1m",
        200..=299 => return ("", ""),
        304 => "\x1b[36m",
        300..=399 => "\x1b[32m",
        404 => "\x1b[33m",
        400..=499 => "\x1b[1m\x1b[31m",
        _ => "\x1b[1m\x1b[35m",
    };
    (on, "\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: u16, format: LogFormat) -> String {
        let mut out = Vec::new();
        write_access_line(&mut out, &AccessRecord::example(b"-", b"", status), format, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_coloured_by_status() {
        for (status, on) in [(101, "\x1b[1m"), (304, "\x1b[36m"), (302, "\x1b[32m"), (404, "\x1b[33m")] {
            assert!(line(status, LogFormat::Werkzeug).contains(&format!("{on}\"-\"\x1b[0m")));
        }
        assert!(line(400, LogFormat::Werkzeug).contains("\x1b[1m\x1b[31m\"-\""));
        assert!(line(500, LogFormat::Werkzeug).contains("\x1b[1m\x1b[35m\"-\""));
        assert!(!line(204, LogFormat::Werkzeug).contains('\x1b'));
        assert!(!line(404, LogFormat::Common).contains('\x1b'));
    }
}
