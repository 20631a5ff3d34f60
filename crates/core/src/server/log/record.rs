//! What is logged, and the trait that takes it.

use std::time::{Duration, SystemTime};

use crate::http::Head;
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
