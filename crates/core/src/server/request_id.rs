//! The IDs of requests, by which their entries in several logs are found.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::http::Head;
use crate::wsgi::Environ;

/// The field that contains the ID of a request, from a proxy to the server and from the server to the client.
const FIELD: &str = "x-request-id";

/// The maximum length of an ID that a proxy sends, in bytes. A UUID has 36, a trace context 55.
const MAX_LENGTH: usize = 128;

/// The ID of a request: the one that a trusted proxy has sent (`X-Request-ID`), or 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId<'a>(Source<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source<'a> {
    Sent(&'a str),
    Made { process: u64, request: u64 },
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Sent(id) => f.write_str(id),
            Source::Made { process, request } => write!(f, "{process:016x}{request:016x}"),
        }
    }
}

/// What a connection keeps of the ID until the request is logged. 0 if there is none, 1 for the ID in the head.
pub(crate) type IdNumber = u64;

const NONE: IdNumber = 0;
const SENT: IdNumber = 1;

/// Makes the IDs of a server.
pub(crate) struct RequestIds {
    state: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> RequestIds {
        RequestIds { state: RandomState::new(), next: AtomicU64::new(0) }
    }

    /// Gives an ID to a request, and puts it into the environ. `is_trusted`: whether a proxy may have sent one.
    #[cold]
    pub(crate) fn assign(&self, environ: &mut Environ<'_>, is_trusted: bool) -> IdNumber {
        if is_trusted && sent(&environ.head()).is_some() {
            return SENT;
        }
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        // A process that is forked for a request has a copy of the counter.
        let request = self.state.hash_one((std::process::id(), count, SystemTime::now())).max(SENT + 1);
        environ.set("HTTP_X_REQUEST_ID", RequestId(self.made(request)).to_string());
        request
    }

    /// Returns the ID of a request that is logged.
    pub(crate) fn logged<'h>(&self, number: IdNumber, head: Option<&Head<'h>>) -> Option<RequestId<'h>> {
        match number {
            NONE => None,
            SENT => head.and_then(sent).map(|id| RequestId(Source::Sent(id))),
            request => Some(RequestId(self.made(request))),
        }
    }

    fn made<'a>(&self, request: u64) -> Source<'a> {
        Source::Made { process: self.state.hash_one(std::process::id()), request }
    }
}

/// Returns the ID in a head. It has letters, digits and `-._~+/=:@` only, so that it can't be taken for another part of a
/// line; a field with anything else is no ID.
fn sent<'h>(head: &Head<'h>) -> Option<&'h str> {
    let value = head.get(FIELD)?;
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    let is_id = (1..=MAX_LENGTH).contains(&value.len()) && value.iter().all(is_allowed);
    std::str::from_utf8(value).ok().filter(|_| is_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wsgi::EnvironBuilder;

    #[test]
    fn a_proxys_id_counts_and_another_request_gets_one_of_its_own() {
        let ids = RequestIds::new();
        let long = "a".repeat(MAX_LENGTH + 1);
        let mut made = std::collections::HashSet::new();
        for (field, is_trusted, is_kept) in [
            (Some("0af7651916cd43dd-8448.eb_2:c@a"), true, true),
            (Some("0af7651916cd43dd"), false, false),
            (Some("two words"), true, false),
            (Some("\""), true, false),
            (Some(""), true, false),
            (Some(&*long), true, false),
            (None, true, false),
        ] {
            let mut builder = EnvironBuilder::new("/");
            if let Some(value) = field {
                builder = builder.field("X-Request-ID", value);
            }
            let mut owned = builder.build().unwrap();
            let environ = &mut owned.environ();
            let number = ids.assign(environ, is_trusted);
            let id = environ.text("HTTP_X_REQUEST_ID").into_owned();
            let head = environ.head();
            assert_eq!(ids.logged(number, Some(&head)).unwrap().to_string(), id);
            if is_kept {
                assert_eq!(Some(&*id), field);
            } else {
                assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
                assert!(made.insert(id));
            }
        }
        assert_eq!(ids.logged(NONE, None), None);
    }
}
