//! `start_response` and the `write` callable.

use std::{fmt, io};

use super::AppError;
use crate::http::ResponseError;

/// Where an application puts status and header fields. A trait, so that middleware can stand in between:
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
    /// Sets status (`"200 OK"`) and fields; nothing is sent before the first non-empty block.
    ///
    /// With an `error` (PEP 3333's `exc_info`) it may be called again, and replaces what was set before.
    ///
    /// # Errors
    /// [`StartError::Twice`] when called again without an error; [`StartError::HeadSent`] with one when the head has
    /// been sent: return it, the connection is cut then; [`StartError::Response`] for a head that can't be sent.
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError>;

    /// PEP 3333's `write`: sends `data` now, before the body that the application returns. New code returns a
    /// [`Body`](super::Body) instead.
    ///
    /// # Errors
    /// [`StartError::NotStarted`] before `begin`; [`StartError::Io`] when the client has left or is too slow.
    fn write(&mut self, data: &[u8]) -> Result<(), StartError>;

    /// Sends `103 Early Hints` (RFC 8297) with these fields now, ahead of the answer. Nothing is sent to clients of
    /// HTTP/1.0; middleware that does not know of hints drops them.
    ///
    /// # Errors
    /// [`StartError::HeadSent`] when the answer has begun; [`StartError::Response`] for fields that can't be sent;
    /// [`StartError::Io`] when the client has left or is too slow.
    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        let _ = fields;
        Ok(())
    }

    /// Sends the answers to earlier requests of the connection that still wait to be written: an application that is about
    /// to write to the connection's socket itself calls it first (see [`hijack`](crate::hijack())). Middleware that does not
    /// know of it does nothing.
    ///
    /// # Errors
    /// [`StartError::Io`] when the client has left or is too slow.
    fn flush(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    /// [`begin`](StartResponse::begin) with text.
    ///
    /// # Errors
    /// As `begin`.
    fn start(&mut self, status: &str, fields: &[(&str, &str)]) -> Result<(), StartError> {
        // Most heads fit on the stack.
        const FEW: usize = 8;
        if fields.len() <= FEW {
            let mut few: [(&str, &[u8]); FEW] = [("", b""); FEW];
            for (slot, (name, value)) in few.iter_mut().zip(fields) {
                *slot = (name, value.as_bytes());
            }
            self.begin(status, &few[..fields.len()], None)
        } else {
            let many: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            self.begin(status, &many, None)
        }
    }
}

/// Why `start_response` or `write` failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// It was called before, and no error was given.
    Twice,
    /// The head has been sent and can't be replaced.
    HeadSent,
    /// `write` was called before `begin`.
    NotStarted,
    /// Status or fields that can't be sent.
    Response(ResponseError),
    /// The client has left or takes nothing.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Twice => f.write_str("start_response was called twice without an error"),
            StartError::HeadSent => f.write_str("the head has been sent already"),
            StartError::NotStarted => f.write_str("write was called before start_response"),
            StartError::Response(error) => error.fmt(f),
            StartError::Io(error) => write!(f, "the response can't be sent: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Response(error) => Some(error),
            StartError::Io(error) => Some(error),
            _ => None,
        }
    }
}
