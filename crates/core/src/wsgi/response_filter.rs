//! What middleware does to a response that is written after the application's call has returned.

use super::error::AppError;

/// A part of middleware that changes a detached response ([`StartResponse::detach`](crate::StartResponse::detach)).
///
/// Middleware that wraps [`StartResponse`](crate::StartResponse) or a [`Body`](crate::Body) does its work during the
/// call. The response of a detached request follows later, so such middleware adds a filter that does the same work
/// then. Every method has a default that changes nothing.
pub trait ResponseFilter: Send {
    /// Returns the fields in place of those that the application has set; `None` leaves them as they are. Called again if
    /// the application replaces the head.
    fn head(&mut self, fields: &[(&str, &[u8])]) -> Option<Vec<(String, Vec<u8>)>> {
        let _ = fields;
        None
    }

    /// Called with each block before it is sent.
    fn block(&mut self, block: &[u8]) {
        let _ = block;
    }

    /// Returns the bytes that follow the last block.
    fn end(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Returns the response in place of the server's own for an application that has failed before its head was sent.
    fn failure(&mut self, error: &AppError) -> Option<FailureResponse> {
        let _ = error;
        None
    }
}

/// A complete response to a request whose application has failed ([`ResponseFilter::failure`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureResponse {
    /// The status, such as `500 Internal Server Error`.
    pub status: String,
    /// The header fields.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl FailureResponse {
    /// Changes the response as a filter asks for.
    pub fn apply(&mut self, filter: &mut dyn ResponseFilter) {
        let fields: Vec<(&str, &[u8])> = self.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        if let Some(changed) = filter.head(&fields) {
            self.fields = changed;
        }
        filter.block(&self.body);
        self.body.extend(filter.end());
    }
}

/// The key of a detached request. It is valid until the request is finished or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DetachedId(pub(crate) u64);
