//! [`TextLog`]: lines of text, as Werkzeug, Apache and nginx write them.
//!
//! Lines of one batch are written together: at once on a terminal, and for files and pipes when 8 KiB have come
//! together, when a twentieth of a second has passed or when the server has nothing else to do.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use super::color::wants_color;
use super::format::{logged, write_escaped, write_text, write_time, LogFormat, TimeFormat};
use super::json;
use super::record::{AccessRecord, Log};
use crate::server::sync::lock;

/// Lines of text to a file, a pipe or a terminal.
pub struct TextLog {
    format: LogFormat,
    color: bool,
    /// Written at once, because somebody is watching.
    immediate: bool,
    state: Mutex<TextState>,
}

struct TextState {
    pending: Vec<u8>,
    flushed: Instant,
    out: Box<dyn Write + Send>,
}

/// Pending lines are written when there are so many bytes of them: one system call for about a hundred lines.
const PENDING: usize = 8 * 1024;
/// Written at once, whole lines of it: as much as several processes can write to one pipe without tearing each other's
/// lines (PIPE_BUF).
const AT_ONCE: usize = 4 * 1024;
/// And at the latest after this time, so that nobody waits for a line.
const DELAY: Duration = Duration::from_millis(50);

impl TextLog {
    /// To standard error, unbuffered when that is a terminal, and coloured as [`wants_color`] says.
    pub fn stderr() -> TextLog {
        let terminal = io::stderr().is_terminal();
        TextLog::new(Box::new(io::stderr()), LogFormat::Werkzeug, wants_color(terminal), terminal)
    }

    /// To any writer. `color` paints Werkzeug's lines by status; `immediate` writes after every batch of requests
    /// instead of gathering lines.
    pub fn new(out: Box<dyn Write + Send>, format: LogFormat, color: bool, immediate: bool) -> TextLog {
        let state = Mutex::new(TextState { pending: Vec::new(), flushed: Instant::now(), out });
        TextLog { format, color, immediate, state }
    }

    /// The same without access lines.
    pub fn errors_only(self) -> impl Log {
        ErrorsOnly(self)
    }

    fn state(&self) -> MutexGuard<'_, TextState> {
        lock(&self.state)
    }
}

struct ErrorsOnly(TextLog);

impl Log for ErrorsOnly {
    fn access(&self, _: &AccessRecord<'_>) {}
    fn error(&self, message: &str) {
        self.0.error(message);
    }
    fn wants_access(&self) -> bool {
        false
    }
}

impl TextState {
    fn write(&mut self) {
        self.flushed = Instant::now();
        let mut rest = &self.pending[..];
        while !rest.is_empty() {
            let (lines, others) = rest.split_at(whole_lines(rest));
            // Nobody can be told that the log can't be written.
            let _ = self.out.write_all(lines).and_then(|()| self.out.flush());
            rest = others;
        }
        self.pending.clear();
    }
}

/// How many bytes of some lines are written at once: no more than [`AT_ONCE`], unless the first line alone is longer.
fn whole_lines(lines: &[u8]) -> usize {
    if lines.len() <= AT_ONCE {
        return lines.len();
    }
    let last = lines[..AT_ONCE].iter().rposition(|&byte| byte == b'\n');
    let end = last.or_else(|| lines.iter().position(|&byte| byte == b'\n'));
    end.map_or(lines.len(), |end| end + 1)
}

impl fmt::Debug for TextLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLog").field("format", &self.format).field("color", &self.color).finish_non_exhaustive()
    }
}

impl Log for TextLog {
    fn access(&self, record: &AccessRecord<'_>) {
        let mut state = self.state();
        write_record(&mut state.pending, record, self.format, self.color);
        if state.pending.len() >= PENDING {
            state.write();
        }
    }

    fn error(&self, message: &str) {
        let mut state = self.state();
        if self.format == LogFormat::Json {
            json::write_error(&mut state.pending, message, SystemTime::now());
        } else {
            for line in message.lines() {
                write_text(&mut state.pending, line);
                state.pending.push(b'\n');
            }
        }
        state.write();
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        let mut state = self.state();
        if state.pending.is_empty() {
            return None;
        }
        let age = state.flushed.elapsed();
        if self.immediate || age >= DELAY {
            state.write();
            return None;
        }
        idle.then(|| DELAY - age)
    }

    fn sync(&self) {
        let mut state = self.state();
        state.write();
        // Also without a line, so that a file that was opened anew takes the old one's place.
        let _ = state.out.flush();
    }
}

impl Drop for TextLog {
    fn drop(&mut self) {
        self.state().write();
    }
}

fn write_record(out: &mut Vec<u8>, record: &AccessRecord<'_>, format: LogFormat, color: bool) {
    if format == LogFormat::Json {
        return json::write_record(out, record);
    }
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
            // In integers: formatting floats would add ten kilobytes to a small tool.
            let milliseconds = (record.duration.as_micros() + 500) / 1000;
            let _ = write!(out, " {}.{:03}s", milliseconds / 1000, milliseconds % 1000);
        }
        LogFormat::Combined => {
            for name in ["referer", "user-agent"] {
                out.extend_from_slice(b" \"");
                write_escaped(out, logged(record, name).unwrap_or(b"-"));
                out.push(b'"');
            }
        }
        _ => {}
    }
    out.push(b'\n');
}

/// The request line with its path decoded, as Werkzeug shows it.
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

/// 1xx bold; 200s plain; 304 cyan; other 3xx green; 404 yellow; other 4xx bold red; 5xx bold magenta.
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
pub(super) mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::wsgi::Peer;

    pub(in crate::server::log) fn line(
        request_line: &[u8],
        target: &[u8],
        status: u16,
        format: LogFormat,
        color: bool,
    ) -> String {
        let record = AccessRecord {
            peer: Peer::Local,
            request_line,
            target,
            connection: None,
            head: None,
            status,
            bytes: 13,
            duration: Duration::from_micros(1500),
            waited: Duration::from_micros(1007),
            time: UNIX_EPOCH + Duration::from_millis(784_111_777_042),
        };
        let mut out = Vec::new();
        write_record(&mut out, &record, format, color);
        String::from_utf8(out).unwrap()
    }

    /// Keeps what each call wrote.
    #[derive(Clone, Default)]
    struct Writes(std::sync::Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_whole_and_as_many_at_once_as_a_pipe_takes_from_several_processes() {
        let writes = Writes::default();
        let log = TextLog::new(Box::new(writes.clone()), LogFormat::Werkzeug, false, false);
        let message = |length: usize| "x".repeat(length - 1);
        log.error(&format!("{}\n{}", message(3000), message(1096)));
        log.error(&format!("{}\n{}\n{}", message(4095), message(5000), message(3000)));
        log.error(&[message(1000), message(1000), message(1000), message(1000), message(1000)].join("\n"));
        let writes = writes.0.lock().unwrap();
        assert!(writes.iter().all(|bytes| bytes.ends_with(b"\n")));
        let lengths: Vec<usize> = writes.iter().map(Vec::len).collect();
        assert_eq!(lengths, [4096, 4095, 5000, 3000, 4000, 1000]);
    }

    #[test]
    fn each_format_writes_its_line() {
        let (request, target) = (b"GET /a%20b?c HTTP/1.1", b"/a%20b?c");
        for (format, expected) in [
            (LogFormat::Werkzeug, "<local> - - [06/Nov/1994 08:49:37] \"GET /a b?c HTTP/1.1\" 200 13 0.002s\n"),
            (LogFormat::Common, "<local> - - [06/Nov/1994:08:49:37 +0000] \"GET /a%20b?c HTTP/1.1\" 200 13\n"),
            (
                LogFormat::Combined,
                "<local> - - [06/Nov/1994:08:49:37 +0000] \"GET /a%20b?c HTTP/1.1\" 200 13 \"-\" \"-\"\n",
            ),
            (
                LogFormat::Json,
                "{\"time\":\"1994-11-06T08:49:37.042Z\",\"remote_addr\":\"<local>\",\"method\":\"GET\",\
                 \"path\":\"/a%20b\",\"query\":\"c\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":13,\
                 \"duration_ms\":1.500,\"wait_ms\":1.007,\"user_agent\":null,\"referer\":null}\n",
            ),
        ] {
            assert_eq!(line(request, target, 200, format, false), expected);
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        for format in [LogFormat::Werkzeug, LogFormat::Common, LogFormat::Combined, LogFormat::Json] {
            for (request, target) in
                [(&b"GET /%1b%0a%00%c2%9b HTTP/1.1"[..], &b"/%1b%0a%00%c2%9b"[..]), (b"\x1b[2J\r\n\x9b\"", b"")]
            {
                let line = line(request, target, 400, format, false);
                assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line:?}");
            }
        }
        assert!(line(b"GET /%1b%0a HTTP/1.1", b"/%1b%0a", 200, LogFormat::Werkzeug, false).contains("/\\x1b\\x0a "));
    }

    #[test]
    fn errors_stand_as_they_were_written() {
        let mut out = Vec::new();
        write_text(&mut out, "raise E(\"é\\n\")\t\x1b[2J");
        assert_eq!(String::from_utf8(out).unwrap(), "raise E(\"é\\n\")\t\\x1b[2J");
    }

    #[test]
    fn lines_are_coloured_by_status() {
        for (status, on) in [(101, "\x1b[1m"), (304, "\x1b[36m"), (302, "\x1b[32m"), (404, "\x1b[33m")] {
            assert!(line(b"-", b"", status, LogFormat::Werkzeug, true).contains(&format!("{on}\"-\"\x1b[0m")));
        }
        assert!(line(b"-", b"", 400, LogFormat::Werkzeug, true).contains("\x1b[1m\x1b[31m\"-\""));
        assert!(line(b"-", b"", 500, LogFormat::Werkzeug, true).contains("\x1b[1m\x1b[35m\"-\""));
        assert!(!line(b"-", b"", 204, LogFormat::Werkzeug, true).contains('\x1b'));
        assert!(!line(b"-", b"", 404, LogFormat::Common, true).contains('\x1b'));
    }
}
