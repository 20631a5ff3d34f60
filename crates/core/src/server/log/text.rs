//! [`TextLog`]: lines of text, as Werkzeug, Apache and nginx write them.
//!
//! The access lines of one batch of requests are written together. On a terminal that happens after each batch, for files
//! and pipes when 8 KiB are pending or 50 ms have passed since the last write. Errors are written at once.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use super::access_format::AccessFormat;
use super::access_line::write_access_line;
use super::color::wants_color;
use super::format::{write_text, LogFormat};
use super::json;
use super::record::{AccessRecord, Log};
use crate::server::sync::lock;

/// A log that writes lines of text to a file, a pipe or a terminal.
pub struct TextLog {
    format: LogFormat,
    /// The format of access lines in place of `format`.
    access_format: Option<AccessFormat>,
    color: bool,
    /// Whether to write after every batch of requests.
    immediate: bool,
    state: Mutex<TextState>,
}

struct TextState {
    pending: Vec<u8>,
    flushed: Instant,
    out: Box<dyn Write + Send>,
}

/// How many bytes of pending lines are written without waiting for the end of the batch: one system call for about a
/// hundred lines.
const MAX_PENDING: usize = 8 * 1024;
/// The maximum number of bytes of whole lines in one write: several processes can write that much to one pipe without
/// tearing each other's lines (PIPE_BUF, `pipe(7)`).
const MAX_WRITE: usize = 4 * 1024;
/// The maximum time for which a line is pending, so that people see it soon.
const MAX_DELAY: Duration = Duration::from_millis(50);

impl TextLog {
    /// Makes a log that writes to standard error, in [`LogFormat::Werkzeug`]. On a terminal it writes after every batch of
    /// requests. [`wants_color`] decides on colours.
    pub fn stderr() -> TextLog {
        let terminal = io::stderr().is_terminal();
        TextLog::new(Box::new(io::stderr()), LogFormat::Werkzeug, wants_color(terminal), terminal)
    }

    /// Makes a log that writes to `out`. With `color`, lines in [`LogFormat::Werkzeug`] are coloured by status. With
    /// `immediate`, lines are written after every batch of requests, otherwise up to 50 ms later.
    pub fn new(out: Box<dyn Write + Send>, format: LogFormat, color: bool, immediate: bool) -> TextLog {
        let state = Mutex::new(TextState { pending: Vec::new(), flushed: Instant::now(), out });
        TextLog { format, access_format: None, color, immediate, state }
    }

    /// Returns this log with another format of its access lines.
    #[must_use]
    pub fn access_format(mut self, format: AccessFormat) -> TextLog {
        self.access_format = Some(format);
        self
    }

    /// Returns this log without its access lines.
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
    /// Writes the pending lines.
    fn write(&mut self) {
        self.flushed = Instant::now();
        let mut rest = &self.pending[..];
        while !rest.is_empty() {
            let (lines, remaining) = rest.split_at(whole_lines(rest));
            // There is no other place to report that the log can't be written.
            let _ = self.out.write_all(lines).and_then(|()| self.out.flush());
            rest = remaining;
        }
        self.pending.clear();
    }
}

/// Returns how many bytes of `lines` to write with one call: at most [`MAX_WRITE`], unless the first line alone is
/// longer.
fn whole_lines(lines: &[u8]) -> usize {
    if lines.len() <= MAX_WRITE {
        return lines.len();
    }
    let last = lines[..MAX_WRITE].iter().rposition(|&byte| byte == b'\n');
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
        match &self.access_format {
            Some(format) => format.write(&mut state.pending, record),
            None => write_record(&mut state.pending, record, self.format, self.color),
        }
        if state.pending.len() >= MAX_PENDING {
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
        if self.immediate || age >= MAX_DELAY {
            state.write();
            return None;
        }
        idle.then(|| MAX_DELAY - age)
    }

    fn sync(&self) {
        let mut state = self.state();
        state.write();
        // Flush even without a pending line, so that a log file that is due to be reopened is reopened.
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
        json::write_record(out, record);
    } else {
        write_access_line(out, record, format, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request_line: &[u8], target: &[u8], status: u16, format: LogFormat) -> String {
        let mut out = Vec::new();
        write_record(&mut out, &AccessRecord::example(request_line, target, status), format, false);
        String::from_utf8(out).unwrap()
    }

    /// A writer that keeps the bytes of each call.
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
    fn each_write_holds_whole_lines_and_at_most_pipe_buf_bytes() {
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
    fn each_format_has_its_line() {
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
            assert_eq!(line(request, target, 200, format), expected);
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        for format in [LogFormat::Werkzeug, LogFormat::Common, LogFormat::Combined, LogFormat::Json] {
            for (request, target) in
                [(&b"GET /%1b%0a%00%c2%9b HTTP/1.1"[..], &b"/%1b%0a%00%c2%9b"[..]), (b"\x1b[2J\r\n\x9b\"", b"")]
            {
                let line = line(request, target, 400, format);
                assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{line:?}");
            }
        }
        assert!(line(b"GET /%1b%0a HTTP/1.1", b"/%1b%0a", 200, LogFormat::Werkzeug).contains("/\\x1b\\x0a "));
    }

    #[test]
    fn error_messages_are_unchanged_except_for_control_characters() {
        let mut out = Vec::new();
        write_text(&mut out, "raise E(\"é\\n\")\t\x1b[2J");
        assert_eq!(String::from_utf8(out).unwrap(), "raise E(\"é\\n\")\t\\x1b[2J");
    }
}
