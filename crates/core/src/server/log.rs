//! The access log and the error log, as Werkzeug writes them, and the trait that sends them elsewhere.
//!
//! Lines of one batch are written together: at once on a terminal, and for files and pipes when 8 KiB have come
//! together, when a twentieth of a second has passed or when the server has nothing else to do.

mod json;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::color::wants_color;
use crate::http::{CivilTime, Head};
use crate::wsgi::{Extensions, Peer};

/// A request that was answered or refused.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// Who asked.
    pub peer: Peer,
    /// `GET /path HTTP/1.1`, as sent; empty when there was none that could be read.
    pub request_line: &'a [u8],
    /// The request-target as sent; empty like the request line.
    pub target: &'a [u8],
    /// What the application keeps with the connection
    /// ([`Environ::connection_extensions`](crate::Environ::connection_extensions)).
    pub connection: Option<&'a Extensions>,
    /// The head, when it was well-formed.
    pub head: Option<Head<'a>>,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of the body that were sent, without chunk framing.
    pub bytes: u64,
    /// From the complete head to the last byte handed to the system; zero when nobody wanted to know.
    pub duration: Duration,
    /// How long the request waited for a thread, which is part of `duration`.
    pub waited: Duration,
    /// When the answer was complete.
    pub time: SystemTime,
}

/// Where log entries go. Called by whatever thread has something to say; must not block for long.
pub trait Log: Send + Sync {
    /// A request was answered.
    fn access(&self, record: &AccessRecord<'_>);

    /// Something went wrong; one entry, perhaps of several lines.
    fn error(&self, message: &str);

    /// Called after each batch of requests, with `idle` when the server is about to wait. Returns when it wants to be
    /// called again at the latest.
    fn flush(&self, idle: bool) -> Option<Duration> {
        let _ = idle;
        None
    }

    /// Writes out whatever has been gathered: the process is about to split in two or to end.
    fn sync(&self) {}

    /// False when access records go nowhere.
    fn wants_access(&self) -> bool {
        true
    }
}

/// Silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn access(&self, _: &AccessRecord<'_>) {}
    fn error(&self, _: &str) {}
    fn wants_access(&self) -> bool {
        false
    }
}

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
/// How much of a User-Agent or Referer is logged, in bytes: what browsers send is shorter, and a line of a client's choice is
/// not to become so long that it tears others.
const LONGEST_FIELD: usize = 1024;
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

    fn state(&self) -> std::sync::MutexGuard<'_, TextState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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

/// A field of the request, as it is logged.
fn logged<'a>(record: &AccessRecord<'a>, name: &str) -> Option<&'a [u8]> {
    let value = record.head.and_then(|head| head.get(name))?;
    Some(&value[..value.len().min(LONGEST_FIELD)])
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

/// Text that stands for itself, such as a line of code in a traceback: only what could move a terminal's cursor is
/// replaced.
fn write_text(out: &mut Vec<u8>, text: &str) {
    for part in text.chars() {
        if part.is_control() && part != '\t' {
            let _ = write!(out, "\\x{:02x}", u32::from(part));
        } else {
            let _ = write!(out, "{part}");
        }
    }
}

/// Anything that could move a terminal's cursor, leave the quotes or end a line becomes `\xNN`.
fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
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
enum TimeFormat {
    Werkzeug,
    Common,
    /// RFC 3339 with milliseconds.
    Rfc3339,
}

/// In UTC: std knows no time zones, and a log that says so can be compared with any other.
fn write_time(out: &mut Vec<u8>, time: SystemTime, format: TimeFormat) {
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

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $line:literal, $sentence:literal;)*) => {
        /// Why a connection ended otherwise than by both sides being done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
            /// The request was refused, for this reason.
            Refused(crate::http::Error),
        }

        impl CloseReason {
            /// Is it more than everyday life on a network?
            pub fn is_worth_a_line(self) -> bool {
                match self { $(CloseReason::$name => $line,)* CloseReason::Refused(_) => true }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(CloseReason::$name => f.write_str($sentence),)*
                    CloseReason::Refused(error) => write!(f, "refused: {error}"),
                }
            }
        }
    };
}

reasons! {
    /// No request came in time.
    Idle = false, "closed after waiting for another request";
    /// A handshake did not become complete in time.
    HandshakeTimeout = true, "closed because the TLS handshake was not completed in time";
    /// A handshake failed; a line of its own says how.
    HandshakeFailed = false, "closed because the TLS handshake failed";
    /// A head did not become complete in time.
    HeadTimeout = true, "closed because the head of a request did not arrive in time";
    /// A body came too slowly.
    BodyTimeout = true, "closed because the body of a request came too slowly";
    /// An answer was taken too slowly.
    WriteTimeout = true, "closed because the client takes the answer too slowly";
    /// The client left while something was under way.
    ClientLeft = false, "the client left before the answer was complete";
    /// The application failed after the head was sent, or gave less than it had declared.
    CutShort = true, "cut because the answer could not be completed, so that the client can tell";
    /// The body was longer than anybody wants to read to save a connection.
    Undrained = false, "closed because the application left too much of the request body unread";
    /// The client announced a body, waited to be asked for it, and was not asked.
    NotContinued = false, "closed because the request body was not wanted";
    /// The application has answered a request on the socket by itself.
    Hijacked = false, "closed because the application has written to the socket by itself";
    /// The server stops.
    Shutdown = false, "closed because the server stops";
    /// The file table was full.
    Shed = true, "closed while idle, to make room in the full file table";
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn line(request_line: &[u8], target: &[u8], status: u16, format: LogFormat, color: bool) -> String {
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
