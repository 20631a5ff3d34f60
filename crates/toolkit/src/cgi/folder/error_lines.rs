//! The standard error of a script, line by line in the log.

use std::fmt;
use std::sync::Arc;

use amboss_core::Log;

/// The maximum length of a log entry in bytes. The rest of a longer line is another entry.
const MAX_LINE: usize = 4096;

/// Splits what a script writes to standard error into lines, and logs them.
pub(super) struct ErrorLines {
    log: Arc<dyn Log>,
    /// The name of the script, in front of each line.
    script: String,
    line: Vec<u8>,
    /// How many more bytes are logged; `None` once that was said.
    left: Option<usize>,
}

impl ErrorLines {
    pub(super) fn new(log: Arc<dyn Log>, script: String, max_bytes: usize) -> ErrorLines {
        ErrorLines { log, script, line: Vec::new(), left: Some(max_bytes) }
    }

    /// Logs a message about the script.
    pub(super) fn log(&self, message: &str) {
        self.log.error(&self.describe(&message));
    }

    /// Says which script a message is about.
    pub(super) fn describe(&self, message: &dyn fmt::Display) -> String {
        format!("CGI script {}: {message}", self.script)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let Some(left) = &mut self.left else { return };
        let logged = bytes.len().min(*left);
        *left -= logged;
        for &byte in &bytes[..logged] {
            if byte == b'\n' || self.line.len() == MAX_LINE {
                self.end_line();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        if logged < bytes.len() {
            self.end_line();
            self.log("it writes more to standard error than `max_error_output`; the rest is discarded");
            self.left = None;
        }
    }

    /// Logs the last line, whose end may be missing.
    pub(super) fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = printable(line.trim_ascii_end());
        if !text.is_empty() {
            self.log(&text);
        }
    }
}

/// The text of bytes that come from a client or a script. A control character could forge an entry, or change the
/// colours of a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use amboss_core::AccessRecord;

    use super::*;

    #[derive(Default)]
    struct Entries(Mutex<Vec<String>>);

    impl Log for Entries {
        fn access(&self, _: &AccessRecord<'_>) {}
        fn error(&self, message: &str) {
            self.0.lock().unwrap().push(message.strip_prefix("CGI script /x: ").unwrap().to_owned());
        }
    }

    #[test]
    fn lines_are_entries_of_bounded_length_and_number() {
        let entries = Arc::new(Entries::default());
        let mut lines = ErrorLines::new(entries.clone(), "/x".into(), 5000);
        lines.push(b"on");
        lines.push(b"e\r\n\ntwo\x1b[31m\n");
        lines.push(&[b'x'; 4100]);
        lines.push(b"\n");
        lines.push(&[b'y'; 4100]);
        lines.push(b"z");
        lines.end_line();
        let found = entries.0.lock().unwrap();
        assert_eq!(found[..2], ["one", "two\u{fffd}[31m"]);
        assert_eq!((found[2].len(), found[3].as_str()), (4096, "xxxx"));
        assert!(found[4].len() < 900 && found[4].starts_with("yyy"), "{}", found[4]);
        assert!(found[5].contains("max_error_output"));
        assert_eq!(found.len(), 6);
    }
}
