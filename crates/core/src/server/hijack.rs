//! Responses that the application writes directly to the connection's socket.

use crate::wsgi::Environ;

/// The extension of a request whose response the application writes itself.
pub(crate) struct Hijacked {
    /// The status for the access log.
    pub(super) status: u16,
}

/// Declares that the application writes the response directly to the connection's socket
/// ([`Client::socket`](crate::Client::socket)). The server then sends no response, whatever the application returns, and
/// closes the connection once the application has returned. It logs an error that the application returns.
///
/// Call [`StartResponse::flush`](crate::StartResponse::flush) before the first write, so that the responses to earlier
/// requests of the connection are sent first. `status` is the status of the response, for the access log; 0 if it is
/// unknown.
///
/// ```
/// # #[cfg(unix)] {
/// use std::fs::File;
/// use std::io::Write;
/// use amboss_core::{hijack, AppError, Body, Environ, StartResponse};
///
/// fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     if let Some(socket) = environ.client().socket()? {
///         start_response.flush()?;
///         hijack(environ, 200);
///         // The socket is non-blocking; a short response fits into its buffer.
///         File::from(socket).write_all(b"HTTP/1.1 200 By Hand\r\nConnection: close\r\n\r\nhello")?;
///     }
///     Ok(Body::empty())
/// }
/// # }
/// ```
pub fn hijack(environ: &mut Environ<'_>, status: u16) {
    environ.extensions_mut().insert(Hijacked { status });
}
