//! Answers that the application has written to the connection's socket itself.

use crate::wsgi::Environ;

/// The application has answered the request by itself.
pub(crate) struct Hijacked {
    /// For the access log.
    pub(super) status: u16,
}

/// Marks the request as answered by the application itself, which has written to the connection's socket
/// ([`Client::socket`](crate::Client::socket)). Whatever the application returns, the server sends no answer of its own,
/// and closes the connection once the application has returned. An error that it returns is logged.
///
/// Call [`StartResponse::flush`](crate::StartResponse::flush) before the first write, so that the answers to earlier
/// requests of the connection go first. `status` is the status that was sent, for the access log; 0 if it is unknown.
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
///         // The socket is non-blocking; a short answer fits into its buffer.
///         File::from(socket).write_all(b"HTTP/1.1 200 By Hand\r\nConnection: close\r\n\r\nhello")?;
///     }
///     Ok(Body::empty())
/// }
/// # }
/// ```
pub fn hijack(environ: &mut Environ<'_>, status: u16) {
    environ.extensions_mut().insert(Hijacked { status });
}
