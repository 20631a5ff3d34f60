//! PEP 3333's `start_response`, and the `write` callable that it returns.

use super::error::{AppError, StartError};
use super::response_filter::{DetachedId, ResponseFilter};

/// The receiver of status and header fields. It is a trait, so that middleware can wrap it:
///
/// ```
/// use amboss_core::{AppError, Application, Body, Environ, StartError, StartResponse};
///
/// /// Adds a field to every response.
/// struct Branded<A>(A);
///
/// struct Branding<'a>(&'a mut dyn StartResponse);
///
/// impl StartResponse for Branding<'_> {
///     fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
///         let mut fields = fields.to_vec();
///         fields.push(("X-Anvil", b"yes"));
///         self.0.begin(status, &fields, error)
///     }
///     fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
///         self.0.write(data)
///     }
/// }
///
/// impl<A: Application> Application for Branded<A> {
///     fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///         self.0.call(environ, &mut Branding(start_response))
///     }
/// }
/// ```
pub trait StartResponse {
    /// Sets the status (`"200 OK"`) and the fields; nothing is sent before the first non-empty block.
    ///
    /// A second call is allowed with an `error` (PEP 3333's `exc_info`), and replaces the status and the fields.
    ///
    /// # Errors
    /// [`StartErrorKind::Twice`](crate::StartErrorKind::Twice) for a second call without an error.
    /// [`StartErrorKind::HeadSent`](crate::StartErrorKind::HeadSent) for a second call with an error if the head has been
    /// sent: return it, so that the connection is aborted. [`StartErrorKind::Response`](crate::StartErrorKind::Response) for a
    /// status or a field that can't be sent.
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError>;

    /// PEP 3333's `write`: sends `data` at once, before the body that the application returns. New code returns a
    /// [`Body`](crate::Body) instead.
    ///
    /// # Errors
    /// [`StartErrorKind::NotStarted`](crate::StartErrorKind::NotStarted) before `begin`; [`StartErrorKind::Io`](crate::StartErrorKind::Io) if the client has closed the connection or is too
    /// slow.
    fn write(&mut self, data: &[u8]) -> Result<(), StartError>;

    /// Sends `103 Early Hints` (RFC 8297) with these fields at once, before the response. Sends nothing to an HTTP/1.0
    /// client. The default, for middleware that does not support hints, drops them.
    ///
    /// # Errors
    /// [`StartErrorKind::HeadSent`](crate::StartErrorKind::HeadSent) if the response has begun; [`StartErrorKind::Response`](crate::StartErrorKind::Response) for a field that can't be sent;
    /// [`StartErrorKind::Io`](crate::StartErrorKind::Io) if the client has closed the connection or is too slow.
    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        let _ = fields;
        Ok(())
    }

    /// Sends the responses to earlier requests of the connection that are still queued. An application that writes to
    /// the socket of the connection on its own calls this first (see [`hijack`](crate::hijack())). The default does
    /// nothing.
    ///
    /// # Errors
    /// [`StartErrorKind::Io`](crate::StartErrorKind::Io) if the client has closed the connection or is too slow.
    fn flush(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    /// Detaches the response from the call: whatever the application returns then is ignored, unless it is an error, and
    /// the response follows through a [`Guest`](crate::Guest). `None` if the server does not run as a guest of another
    /// event loop, or if middleware around the application does not support detached responses, as by default.
    ///
    /// Middleware that changes responses appends its filter, and passes the call on to the `StartResponse` that it wraps.
    fn detach(&mut self, filters: Vec<Box<dyn ResponseFilter>>) -> Option<DetachedId> {
        let _ = filters;
        None
    }

    /// Calls [`begin`](StartResponse::begin) with field values that are text, and without an error.
    ///
    /// # Errors
    /// The same as `begin`.
    fn start(&mut self, status: &str, fields: &[(&str, &str)]) -> Result<(), StartError> {
        fn bytes<'f>(&(name, value): &(&'f str, &'f str)) -> (&'f str, &'f [u8]) {
            (name, value.as_bytes())
        }
        // The fields of most heads fit into an array on the stack; the smaller it is, the sooner it is filled.
        const FEW: usize = 8;
        match fields {
            [] => self.begin(status, &[], None),
            [first] => self.begin(status, &[bytes(first)], None),
            [first, second] => self.begin(status, &[bytes(first), bytes(second)], None),
            _ if fields.len() <= FEW => {
                let mut few: [(&str, &[u8]); FEW] = [("", b""); FEW];
                for (slot, field) in few.iter_mut().zip(fields) {
                    *slot = bytes(field);
                }
                self.begin(status, &few[..fields.len()], None)
            }
            _ => self.begin(status, &fields.iter().map(bytes).collect::<Vec<_>>(), None),
        }
    }
}
