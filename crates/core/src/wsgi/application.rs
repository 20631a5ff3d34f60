//! What a server calls.

use std::sync::Arc;

use super::{Body, Environ, StartResponse};

/// Whatever went wrong in an application. Any error and any string converts into it with `?` or `.into()`.
pub type AppError = Box<dyn std::error::Error + Send + Sync>;

/// The application side of PEP 3333, called once for each request, from any thread.
///
/// Implemented for functions and closures of the same shape.
pub trait Application: Send + Sync {
    /// Answers one request: calls `start_response` once and returns the body.
    ///
    /// # Errors
    /// An error becomes a 500 as long as the head has not been sent (an [`InputError`](super::InputError) the status
    /// it asks for), and cuts the connection afterwards, so that the client can tell.
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError>;
}

impl<F> Application for F
where
    F: Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> + Send + Sync,
{
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self(environ, start_response)
    }
}

impl<A: Application + ?Sized> Application for Arc<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        (**self).call(environ, start_response)
    }
}
