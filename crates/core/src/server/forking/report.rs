//! What the process of a request tells its parent at its end, over a socket pair.
//!
//! The exit code alone would not do: it carries no text, an application may end the process with any code, and where
//! SIGCHLD is ignored, or the application waits for every child, somebody else has collected it.

use std::fmt;
use std::io::{self, Read, Write};

use super::super::looping::children::Left;
use super::super::panics::{Panic, Report as PanicReport, Theirs};
use super::super::service::Failure;

/// The longest text of a failure, in bytes: a traceback of a deep recursion is a few hundred kilobytes.
const LONGEST_TEXT: usize = 1 << 20;

/// The last words of a request's process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) left: Left,
    /// The application has stopped the server.
    pub(super) shutdown: bool,
    /// The application's failure that is to end the server, as text.
    pub(super) failure: Option<FailureText>,
}

/// An error or a panic, on its way from one process to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FailureText {
    Error(String),
    Panic(String),
}

const NOTHING: u8 = 0;
const IDLE: u8 = 1;
const LINGERING: u8 = 2;
const PARTING: u8 = 3;

const NO_FAILURE: u8 = 0;
const ERROR: u8 = 1;
const PANIC: u8 = 2;

impl Report {
    /// Sends it; the parent reads until the end of the stream.
    pub(super) fn send(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, text) = match &self.failure {
            None => (NO_FAILURE, ""),
            Some(FailureText::Error(text)) => (ERROR, text.as_str()),
            Some(FailureText::Panic(text)) => (PANIC, text.as_str()),
        };
        let text = &text.as_bytes()[..text.len().min(LONGEST_TEXT)];
        let left = match self.left {
            Left::Nothing => NOTHING,
            Left::Idle => IDLE,
            Left::Lingering { announced: false } => LINGERING,
            Left::Lingering { announced: true } => PARTING,
        };
        to.write_all(&[&[left, u8::from(self.shutdown), kind], text].concat())
    }

    /// Reads one, up to the end of the stream; `None` when the process ended without one.
    pub(super) fn receive(from: impl Read) -> Option<Report> {
        let mut bytes = Vec::new();
        from.take(LONGEST_TEXT as u64 + 3).read_to_end(&mut bytes).ok()?;
        let &[left, shutdown, kind, ref text @ ..] = &bytes[..] else { return None };
        let text = || String::from_utf8_lossy(text).into_owned();
        let failure = match kind {
            ERROR => Some(FailureText::Error(text())),
            PANIC => Some(FailureText::Panic(text())),
            _ => None,
        };
        let left = match left {
            IDLE => Left::Idle,
            LINGERING => Left::Lingering { announced: false },
            PARTING => Left::Lingering { announced: true },
            _ => Left::Nothing,
        };
        Some(Report { left, shutdown: shutdown != 0, failure })
    }
}

impl FailureText {
    pub(super) fn new(failure: &Failure) -> FailureText {
        match failure {
            Failure::Error(error) => FailureText::Error(error.to_string()),
            Failure::Panic(panic) => FailureText::Panic(panic.report.to_string()),
        }
    }

    /// The failure, as one of this process.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            FailureText::Error(text) => Failure::Error(Box::new(ErrorOfRequest(text))),
            FailureText::Panic(text) => {
                Failure::Panic(Panic { report: PanicReport::from_text(&text), payload: Theirs::new(Box::new(text)) })
            }
        }
    }
}

/// An application's error that happened in the process of a request.
#[derive(Debug)]
struct ErrorOfRequest(String);

impl fmt::Display for ErrorOfRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ErrorOfRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        for report in [
            Report { left: Left::Idle, shutdown: false, failure: None },
            Report { left: Left::Lingering { announced: true }, shutdown: false, failure: None },
            Report {
                left: Left::Lingering { announced: false },
                shutdown: true,
                failure: Some(FailureText::Error("ä\nb".into())),
            },
            Report { left: Left::Nothing, shutdown: false, failure: Some(FailureText::Panic(String::new())) },
        ] {
            let mut bytes = Vec::new();
            report.send(&mut bytes).unwrap();
            assert_eq!(Report::receive(&bytes[..]), Some(report));
            assert_eq!(Report::receive(&bytes[..2]), None, "a process that was killed has sent nothing, or half of it");
        }
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let failure = Some(FailureText::Error("ä".repeat(LONGEST_TEXT)));
        let mut bytes = Vec::new();
        Report { left: Left::Nothing, shutdown: false, failure }.send(&mut bytes).unwrap();
        assert_eq!(bytes.len(), LONGEST_TEXT + 3);
        assert!(Report::receive(&bytes[..]).is_some());
    }
}
