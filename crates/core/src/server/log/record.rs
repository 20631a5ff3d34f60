//! Access records, and the trait of logs.

use std::time::{Duration, SystemTime};

use crate::http::Head;
use crate::server::request_id::RequestId;
use crate::wsgi::{Extensions, Peer};

/// A request that was answered or refused, for the access log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// The client: the one that a trusted proxy names, else the other end of the connection.
    pub peer: Peer,
    /// The other end of the connection, which may be a proxy.
    pub connection_peer: Peer,
    /// The request line as sent, such as `GET /path HTTP/1.1`; empty if none could be read.
    pub request_line: &'a [u8],
    /// The request-target as sent (RFC 9112 §3.2); empty if none could be read.
    pub target: &'a [u8],
    /// The values that the application keeps with the connection
    /// ([`Environ::connection_extensions`](crate::Environ::connection_extensions)).
    pub connection: Option<&'a Extensions>,
    /// The head, if it was well-formed.
    pub head: Option<Head<'a>>,
    /// The status that was sent.
    pub status: u16,
    /// The number of bytes of the response body that were sent, without chunk framing.
    pub bytes: u64,
    /// The time from the complete head until the system took the last byte of the response; zero if the log does not want
    /// access records ([`Log::wants_access`]).
    pub duration: Duration,
    /// How long the request waited for a thread. This time is part of `duration`.
    pub waited: Duration,
    /// The ID of the request, if requests have IDs ([`Settings::request_ids`](crate::Settings::request_ids)) and the
    /// application was called.
    pub request_id: Option<RequestId<'a>>,
    /// When the response was complete.
    pub time: SystemTime,
}

/// A destination of log entries. Any thread of the server may call it, and it must not block for long.
pub trait Log: Send + Sync {
    /// Logs a request that was answered or refused.
    fn access(&self, record: &AccessRecord<'_>);

    /// Logs a failure: one entry, which may have several lines.
    fn error(&self, message: &str);

    /// Called after each batch of requests; `idle` says whether the server is about to wait. Returns the maximum time until
    /// the next call, if there has to be one.
    fn flush(&self, idle: bool) -> Option<Duration> {
        let _ = idle;
        None
    }

    /// Writes all pending entries. Called before the process forks or ends.
    fn sync(&self) {}

    /// Whether the log uses access records. If it does not, requests are not timed.
    fn wants_access(&self) -> bool {
        true
    }
}

/// A log that discards everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn access(&self, _: &AccessRecord<'_>) {}
    fn error(&self, _: &str) {}
    fn wants_access(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl<'a> AccessRecord<'a> {
    /// Makes a record for tests of the formats.
    pub(super) fn example(request_line: &'a [u8], target: &'a [u8], status: u16) -> AccessRecord<'a> {
        AccessRecord {
            peer: Peer::Local,
            connection_peer: Peer::Local,
            request_line,
            target,
            connection: None,
            head: None,
            status,
            bytes: 13,
            duration: Duration::from_micros(1500),
            waited: Duration::from_micros(1007),
            request_id: None,
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_042),
        }
    }
}
