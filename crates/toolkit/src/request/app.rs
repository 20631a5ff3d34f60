//! [`request_app`]: handlers of requests as applications.

use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::Request;
use crate::error::HttpError;
use crate::response::Response;

/// Makes an application of a function from requests to responses, as Werkzeug's `Request.application`.
///
/// ```
/// use amboss_core::{create_environ, run_wsgi_app};
/// use amboss_toolkit::{request_app, Response};
///
/// let app = request_app(|request| {
///     let name = request.args().get("name").unwrap_or("world");
///     Ok(Response::text(format!("Hello {name}!\n")))
/// });
/// let mut owned = create_environ("/?name=Ada", "http://localhost")?;
/// assert_eq!(run_wsgi_app(&app, &mut owned.environ())?.body, b"Hello Ada!\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An [`HttpError`] becomes its response, and a failure becomes the error of the application, which the server logs.
pub fn request_app<F>(handler: F) -> RequestApp<F>
where
    F: Fn(&mut Request<'_, '_>) -> Result<Response, HttpError> + Send + Sync,
{
    RequestApp(handler)
}

/// The application that [`request_app`] makes.
#[derive(Clone, Debug)]
pub struct RequestApp<F>(F);

impl<F> Application for RequestApp<F>
where
    F: Fn(&mut Request<'_, '_>) -> Result<Response, HttpError> + Send + Sync,
{
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match (self.0)(&mut Request::new(environ)) {
            Ok(response) => response.respond(start_response),
            Err(error) => error.respond(start_response),
        }
    }
}
