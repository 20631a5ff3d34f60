//! [`LogFormat::Json`](super::LogFormat::Json): one object for each event, on a line of its own.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::format::{logged_field, write_time, TimeFormat};
use super::record::AccessRecord;
use super::request_line::RequestLine;

/// Writes the object of a request that was answered or refused.
pub(super) fn write_record(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    begin(out, record.time);
    let _ = write!(out, ",\"remote_addr\":\"{}\"", record.peer);
    let line = RequestLine::parse(record);
    if line.is_none() {
        // The line can't be parsed.
        field(out, "request", Some(record.request_line));
    }
    field(out, "method", line.as_ref().map(|line| line.method));
    field(out, "path", line.as_ref().map(|line| line.path));
    field(out, "query", line.as_ref().map(|line| line.query));
    field(out, "protocol", line.as_ref().map(|line| line.protocol));
    let _ = write!(out, ",\"status\":{},\"bytes\":{}", record.status, record.bytes);
    milliseconds(out, "duration_ms", record.duration);
    milliseconds(out, "wait_ms", record.waited);
    if let Some(id) = record.request_id {
        field(out, "request_id", Some(id.to_string().as_bytes()));
    }
    for (name, key) in [("user-agent", "user_agent"), ("referer", "referer")] {
        field(out, key, logged_field(record, name));
    }
    out.extend_from_slice(b"}\n");
}

/// Writes the object of any other event: a message, which may contain a traceback.
pub(super) fn write_error(out: &mut Vec<u8>, text: &str, time: SystemTime) {
    let text = text.trim_end();
    let (message, traceback) = split_traceback(text);
    begin(out, time);
    match traceback.and_then(exception_line) {
        Some(exception) if message.is_empty() => field(out, "error", Some(exception.as_bytes())),
        Some(exception) => field(out, "error", Some(format!("{message}: {exception}").as_bytes())),
        None => field(out, "error", Some(message.as_bytes())),
    }
    if let Some(traceback) = traceback {
        field(out, "traceback", Some(traceback.as_bytes()));
    }
    out.extend_from_slice(b"}\n");
}

fn begin(out: &mut Vec<u8>, time: SystemTime) {
    out.extend_from_slice(b"{\"time\":\"");
    write_time(out, time, TimeFormat::Rfc3339);
    out.push(b'"');
}

fn field(out: &mut Vec<u8>, key: &str, value: Option<&[u8]>) {
    let _ = write!(out, ",\"{key}\":");
    match value {
        Some(value) => write_string(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes milliseconds with three decimal places, from integers: the code that formats floats would add ten kilobytes to a
/// small tool.
fn milliseconds(out: &mut Vec<u8>, key: &str, time: Duration) {
    let micros = time.as_micros();
    let _ = write!(out, ",\"{key}\":{}.{:03}", micros / 1000, micros % 1000);
}

/// The first line of a Python traceback, before its frames.
const HEADLINE: &str = "Traceback (most recent call last):";

/// Splits a message from the traceback that follows it. A traceback begins with Python's headline or first frame, or with
/// the first of Rust's numbered frames.
fn split_traceback(text: &str) -> (&str, Option<&str>) {
    const GROUP_PREFIX: &str = "+ Exception Group ";
    let python =
        text.find(HEADLINE).map(|at| if text[..at].ends_with(GROUP_PREFIX) { at - GROUP_PREFIX.len() } else { at });
    let start = python.or_else(|| {
        let mut end = 0;
        text.split_inclusive('\n').find_map(|line| {
            end += line.len();
            let is_frame = line.trim_start().starts_with("0: ") || line.starts_with("  File \"");
            is_frame.then_some(end - line.len())
        })
    });
    match start {
        Some(at) => (text[..at].trim_end().trim_end_matches(':'), Some(&text[at..])),
        None => (text, None),
    }
}

/// Returns the line of a Python traceback that names the exception: the first unindented line after the indented frames.
/// In a chain of exceptions, the last such line counts. In an exception group, it is the first line that is not indented
/// after its bar.
fn exception_line(traceback: &str) -> Option<&str> {
    let mut lines = traceback.lines();
    if traceback.starts_with("+ ") {
        return lines.filter_map(|line| line.strip_prefix("  | ")).find(|line| !line.starts_with(' '));
    }
    if lines.next() != Some(HEADLINE) {
        return None;
    }
    let (mut found, mut in_frames) = (None, false);
    for line in lines {
        let is_frame = line.starts_with(' ');
        if in_frames && !is_frame {
            found = Some(line);
        }
        in_frames = is_frame;
    }
    found
}

/// Writes a JSON string. Bytes that are not valid UTF-8 become U+FFFD.
fn write_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for part in String::from_utf8_lossy(bytes).chars() {
        match part {
            '"' | '\\' => out.extend_from_slice(&[b'\\', part as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            part if part.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(part));
            }
            part => {
                let _ = write!(out, "{part}");
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let mut out = Vec::new();
        write_error(&mut out, text, SystemTime::UNIX_EPOCH);
        let out = String::from_utf8(out).unwrap();
        let object = out.strip_prefix("{\"time\":\"1970-01-01T00:00:00.000Z\",").expect("time is the first key");
        let object = object.strip_suffix("}\n").expect("the object ends the line");
        assert!(!object.chars().any(char::is_control), "not on one line: {object:?}");
        object.to_owned()
    }

    #[test]
    fn an_error_is_one_object_with_its_traceback_in_a_field() {
        let cases = [
            ("can't start a thread", r#""error":"can't start a thread""#),
            ("two\nlines\n", r#""error":"two\nlines""#),
            (
                "error on \"GET /\": Traceback (most recent call last):\n  File \"a.py\", line 1\n    1 / 0\n    ~~^~~\n\
                 ZeroDivisionError: division by zero",
                r#""error":"error on \"GET /\": ZeroDivisionError: division by zero","traceback":"Traceback (most recent call last):\n  File \"a.py\", line 1\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero""#,
            ),
            (
                "Traceback (most recent call last):\n  File a\nKeyError: 'a'\n\nDuring handling of the above exception, \
                 another exception occurred:\n\nTraceback (most recent call last):\n  File b\nValueError: two\n\nlines",
                r#""error":"ValueError: two","traceback":"Traceback (most recent call last):\n  File a\nKeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File b\nValueError: two\n\nlines""#,
            ),
            ("where it is:\n  File \"a.py\", line 1", r#""error":"where it is","traceback":"  File \"a.py\", line 1""#),
            (
                "wrong:   + Exception Group Traceback (most recent call last):\n  |   File a\n  | ExceptionGroup: b",
                r#""error":"wrong: ExceptionGroup: b","traceback":"+ Exception Group Traceback (most recent call last):\n  |   File a\n  | ExceptionGroup: b""#,
            ),
            (
                "error on \"GET /\": panic in the application: panicked at a.rs:1:2:\nboom\n   0: main\n             at a.rs",
                r#""error":"error on \"GET /\": panic in the application: panicked at a.rs:1:2:\nboom","traceback":"   0: main\n             at a.rs""#,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn a_request_line_is_parsed_or_logged_whole() {
        for (request, expected) in [
            ("GET / HTTP/1.1", r#""method":"GET","path":"/","query":"","protocol":"HTTP/1.1","#),
            ("PUT /a%20b?c=\"?d HTTP/1.0", r#""method":"PUT","path":"/a%20b","query":"c=\"?d","protocol":"HTTP/1.0","#),
            ("GET http://a:1/b?c HTTP/1.1", r#""method":"GET","path":"/b","query":"c","protocol":"HTTP/1.1","#),
            ("GET http://a?c HTTP/1.1", r#""method":"GET","path":"/","query":"c","protocol":"HTTP/1.1","#),
            ("GET /://b HTTP/1.1", r#""method":"GET","path":"/://b","query":"","protocol":"HTTP/1.1","#),
            ("OPTIONS * HTTP/1.1", r#""method":"OPTIONS","path":"*","query":"","protocol":"HTTP/1.1","#),
            ("\x1b]x", r#""request":"\u001b]x","method":null,"path":null,"query":null,"protocol":null,"#),
            (
                "GET  / HTTP/1.1",
                r#""request":"GET  / HTTP/1.1","method":null,"path":null,"query":null,"protocol":null,"#,
            ),
            ("", r#""request":"","method":null,"path":null,"query":null,"protocol":null,"#),
        ] {
            let mut line = Vec::new();
            write_record(&mut line, &AccessRecord::example(request.as_bytes(), b"", 200));
            let line = String::from_utf8(line).unwrap();
            assert!(line.contains(&format!("\"remote_addr\":\"<local>\",{expected}\"status\":200,")), "{line}");
        }
    }
}
