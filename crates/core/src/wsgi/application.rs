//! The application side of the contract.

use std::sync::Arc;

use super::body::Body;
use super::environ::Environ;
use super::error::AppError;
use super::start_response::StartResponse;
use crate::http::Head;

/// The application side of PEP 3333. A server calls it once for each request, from any thread.
///
/// The application receives an [`Environ`], which describes the request, and a [`StartResponse`], which takes the status
/// and the header fields, and it returns a [`Body`]. The servers of this crate fulfil what PEP 3333 requires of a server:
/// the head is sent with the first non-empty block, a body is dropped (PEP 3333's `close()`) exactly once, and an error
/// after the head aborts the connection.
///
/// Functions and closures of the same shape are applications. A closure needs the types of its parameters, since Rust
/// does not infer the lifetimes otherwise:
///
/// ```
/// use amboss_core::{AppError, Application, Body, Environ, StartResponse};
///
/// let greeting = String::from("Hello");
/// let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from(format!("{greeting} {}!\n", environ.text("REMOTE_ADDR"))))
/// };
/// # fn is_application(_: impl Application) {}
/// # is_application(app);
/// ```
///
/// Middleware is an application that holds another one:
///
/// ```
/// use amboss_core::{AppError, Application, Body, Environ, StartResponse};
///
/// fn hello(_environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
///     Ok(Body::from("Hello world!\n"))
/// }
///
/// /// Responds to health checks, and passes every other request to the application.
/// struct Health<A>(A);
///
/// impl<A: Application> Application for Health<A> {
///     fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///         if environ.path() == "/health" {
///             start_response.start("204 No Content", &[])?;
///             return Ok(Body::empty());
///         }
///         self.0.call(environ, start_response)
///     }
/// }
///
/// let app = Health(hello);
/// # fn is_application(_: impl Application) {}
/// # is_application(app);
/// ```
pub trait Application: Send + Sync {
    /// Handles one request: calls `start_response` once and returns the body of the response.
    ///
    /// # Errors
    /// As long as the head has not been sent, an error becomes a response: an [`InputError`](crate::InputError) with
    /// its own status, any other error with 500. Once the head has been sent, an error aborts the connection, so that
    /// the client notices.
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError>;

    /// Whether the application responds to this request without waiting for anything but a local disk, as middleware
    /// does that serves files, redirects or health checks. Such a request is called at once, even if all
    /// [`Runtime::threads`](crate::Runtime::threads) run requests. The default is false.
    ///
    /// Called for each request, with the head as the client has sent it; the answer may be true only for requests that
    /// `call` does not pass on to slower code. Middleware forwards the question for the requests that it passes on.
    ///
    /// The thread that asks also serves all other connections. So `before_blocking` has to be called before anything
    /// that may take longer than a computation, such as a look into the file system: another thread then serves them.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let _ = (head, before_blocking);
        false
    }
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

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        (**self).is_immediate(head, before_blocking)
    }
}
