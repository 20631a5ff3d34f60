//! The report that a request process sends to its parent over a socket pair before it exits.
//!
//! An exit code would not do: it carries no text, the application may exit with any code, and if SIGCHLD is ignored or
//! the application waits for all children, the parent never sees the code.

use std::fmt;
use std::io::{self, Read, Write};

use crate::server::event_loop::children::ConnectionOutcome;
use crate::server::panics::{AppOwned, Panic, PanicReport};
use crate::server::service::Failure;

/// The maximum length of a failure's text in bytes. The traceback of a deep recursion has a few hundred kilobytes.
const MAX_TEXT: usize = 1 << 20;

/// The report of a request process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChildReport {
    pub(super) outcome: ConnectionOutcome,
    /// Whether the application has asked the server to stop.
    pub(super) shutdown: bool,
    /// The text of a failure of the application that ends the server.
    pub(super) failure: Option<FailureText>,
}

/// The text of an error or a panic, in transit from one process to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FailureText {
    Error(String),
    Panic(String),
}

const NOTHING: u8 = 0;
const IDLE: u8 = 1;
const LINGERING: u8 = 2;
const AWAITS_CLOSE: u8 = 3;

const NO_FAILURE: u8 = 0;
const ERROR: u8 = 1;
const PANIC: u8 = 2;

impl ChildReport {
    /// Sends the report. It ends with the stream, so the parent reads until the child closes its socket.
    pub(super) fn send(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, text) = match &self.failure {
            None => (NO_FAILURE, ""),
            Some(FailureText::Error(text)) => (ERROR, text.as_str()),
            Some(FailureText::Panic(text)) => (PANIC, text.as_str()),
        };
        let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
        let outcome = match self.outcome {
            ConnectionOutcome::Nothing => NOTHING,
            ConnectionOutcome::Idle => IDLE,
            ConnectionOutcome::Lingering { announced: false } => LINGERING,
            ConnectionOutcome::Lingering { announced: true } => AWAITS_CLOSE,
        };
        to.write_all(&[&[outcome, u8::from(self.shutdown), kind], text].concat())
    }

    /// Receives a report. Returns `None` if the process has ended without one.
    pub(super) fn receive(from: impl Read) -> Option<ChildReport> {
        let mut bytes = Vec::new();
        from.take(MAX_TEXT as u64 + 3).read_to_end(&mut bytes).ok()?;
        let &[outcome, shutdown, kind, ref text @ ..] = &bytes[..] else { return None };
        let text = || String::from_utf8_lossy(text).into_owned();
        let failure = match kind {
            ERROR => Some(FailureText::Error(text())),
            PANIC => Some(FailureText::Panic(text())),
            _ => None,
        };
        let outcome = match outcome {
            IDLE => ConnectionOutcome::Idle,
            LINGERING => ConnectionOutcome::Lingering { announced: false },
            AWAITS_CLOSE => ConnectionOutcome::Lingering { announced: true },
            _ => ConnectionOutcome::Nothing,
        };
        Some(ChildReport { outcome, shutdown: shutdown != 0, failure })
    }
}

impl FailureText {
    pub(super) fn new(failure: &Failure) -> FailureText {
        match failure {
            Failure::Error(error) => FailureText::Error(error.to_string()),
            Failure::Panic(panic) => FailureText::Panic(panic.report.to_string()),
        }
    }

    /// Converts the text into a failure of this process.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            FailureText::Error(text) => Failure::Error(Box::new(ChildError(text))),
            FailureText::Panic(text) => {
                let (report, payload) = (PanicReport::from_text(&text), AppOwned::new(Box::new(text) as _));
                Failure::Panic(Box::new(Panic { report, payload }))
            }
        }
    }
}

/// An error of the application that happened in a request process.
#[derive(Debug)]
struct ChildError(String);

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ChildError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        for report in [
            ChildReport { outcome: ConnectionOutcome::Idle, shutdown: false, failure: None },
            ChildReport { outcome: ConnectionOutcome::Lingering { announced: true }, shutdown: false, failure: None },
            ChildReport {
                outcome: ConnectionOutcome::Lingering { announced: false },
                shutdown: true,
                failure: Some(FailureText::Error("ä\nb".into())),
            },
            ChildReport {
                outcome: ConnectionOutcome::Nothing,
                shutdown: false,
                failure: Some(FailureText::Panic(String::new())),
            },
        ] {
            let mut bytes = Vec::new();
            report.send(&mut bytes).unwrap();
            assert_eq!(ChildReport::receive(&bytes[..]), Some(report));
            assert_eq!(
                ChildReport::receive(&bytes[..2]),
                None,
                "a killed process has sent nothing, or a part of a report"
            );
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let failure = Some(FailureText::Error("ä".repeat(MAX_TEXT)));
        let mut bytes = Vec::new();
        ChildReport { outcome: ConnectionOutcome::Nothing, shutdown: false, failure }.send(&mut bytes).unwrap();
        assert_eq!(bytes.len(), MAX_TEXT + 3);
        assert!(ChildReport::receive(&bytes[..]).is_some());
    }
}
