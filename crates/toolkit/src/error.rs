//! [`HttpError`], the early end of a handler.

use std::fmt;
use std::io;

use amboss_core::http::reason_phrase;
use amboss_core::{AppError, Body, InputError, StartResponse};

use crate::form::FormError;
use crate::headers::Headers;
use crate::response::Response;

/// The early end of a handler: an error response such as 404, or the failure of something that the handler called.
///
/// Handlers return it with `?`. Every `std::error::Error` converts into it and stands for status 500; the server then
/// logs that error, and the client learns nothing about it. An error of the request body ([`InputError`], also inside an
/// [`io::Error`], and [`FormError`]) keeps its own status. So that every error can convert, `HttpError` is no `std::error::Error` itself.
///
/// ```
/// use amboss_toolkit::{request_app, HttpError, Request, Response};
///
/// let app = request_app(|request: &mut Request<'_, '_>| {
///     let id: u32 = request.args().get("id").unwrap_or("0").parse()?; // 500 if it is not a number
///     if id == 0 {
///         return Err(HttpError::new(404).with_description("There is no such article."));
///     }
///     Ok(Response::text(format!("article {id}\n")))
/// });
/// # fn is_application(_: impl amboss_core::Application) {}
/// # is_application(app);
/// ```
pub struct HttpError(Box<Inner>);

struct Inner {
    status: u16,
    description: Option<String>,
    headers: Headers,
    /// The complete response, which replaces the page.
    response: Option<Response>,
    /// The failure that this error stands for.
    source: Option<AppError>,
}

/// Makes the error response with this status, as Werkzeug's `abort`: `return Err(abort(404))`.
pub fn abort(status: u16) -> HttpError {
    HttpError::new(status)
}

impl HttpError {
    /// Makes an error response with this status, whose page has the usual sentence for it.
    pub fn new(status: u16) -> HttpError {
        let (description, headers, response, source) = (None, Headers::default(), None, None);
        HttpError(Box::new(Inner { status, description, headers, response, source }))
    }

    /// Makes a 400 response with a sentence that says what is wrong with the request.
    pub fn bad_request(description: impl Into<String>) -> HttpError {
        HttpError::new(400).with_description(description)
    }

    /// Makes a 401 response with a challenge (RFC 9110 §11.6.1), such as `Basic realm="articles"`.
    pub fn unauthorized(challenge: &str) -> HttpError {
        HttpError::new(401).with_header("WWW-Authenticate", challenge)
    }

    /// Makes a 403 response.
    pub fn forbidden() -> HttpError {
        HttpError::new(403)
    }

    /// Makes a 404 response.
    pub fn not_found() -> HttpError {
        HttpError::new(404)
    }

    /// Makes a 405 response, which names the allowed methods (RFC 9110 §15.5.6).
    pub fn method_not_allowed(allowed: &[&str]) -> HttpError {
        HttpError::new(405).with_header("Allow", allowed.join(", "))
    }

    /// Makes an error that stands for a failure. The conversion with `?` does the same for types that implement
    /// `std::error::Error`; [`AppError`] does not.
    pub fn from_app_error(error: AppError) -> HttpError {
        let status = client_fault(&*error).unwrap_or(500);
        let mut made = HttpError::new(status);
        if status != 500 {
            made = made.with_description(sentence(&error.to_string()));
        }
        made.0.source = Some(error);
        made
    }

    /// Sets the sentence of the page, for people.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> HttpError {
        self.0.description = Some(description.into());
        self
    }

    /// Sets a header field of the response.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> HttpError {
        self.0.headers.set(name, value);
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The sentence of the page.
    pub fn description(&self) -> &str {
        self.0.description.as_deref().unwrap_or_else(|| usual_description(self.0.status))
    }

    /// The failure that this error stands for, if it was made from one.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Makes the response: a page with the status and the description.
    pub fn into_response(mut self) -> Response {
        let mut response = self.0.response.take().unwrap_or_else(|| self.page());
        for (name, value) in self.0.headers.iter() {
            response.headers_mut().set(name, value);
        }
        response
    }

    fn page(&self) -> Response {
        let (status, reason) = (self.0.status, reason_phrase(self.0.status));
        let paragraph = match self.description() {
            "" => String::new(),
            description => format!("<p>{}</p>\n", html_escape::encode_text(description)),
        };
        Response::html(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{status} {reason}</title>\n<h1>{reason}</h1>\n{paragraph}"
        ))
        .with_status(status)
    }

    /// Ends an application with this error: sends the response, or returns the failure, which the server logs.
    ///
    /// # Errors
    /// The failure that this error stands for, or a field that can't be sent.
    pub fn respond(mut self, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match self.0.source.take() {
            Some(error) if self.0.status == 500 => Err(error),
            _ => self.into_response().respond(start_response),
        }
    }
}

/// Ends the handler with this response: `return Err(Response::redirect("/login").into())`.
impl From<Response> for HttpError {
    fn from(response: Response) -> HttpError {
        let mut error = HttpError::new(response.status());
        error.0.response = Some(response);
        error
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HttpError {
    fn from(error: E) -> HttpError {
        HttpError::from_app_error(Box::new(error))
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("status", &self.0.status)
            .field("description", &self.description())
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Some(source) => source.fmt(f),
            None => write!(f, "{} {}: {}", self.0.status, reason_phrase(self.0.status), self.description()),
        }
    }
}

/// Makes a sentence for a page of a message for a log.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The status of an error that the client has caused: a request body that is incomplete, malformed, too large or too
/// slow, or a form that was refused.
fn client_fault(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    if let Some(error) = error.downcast_ref::<FormError>() {
        return Some(error.status());
    }
    let error = match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref()? as &(dyn std::error::Error + 'static),
        None => error,
    };
    error.downcast_ref::<InputError>().map(InputError::status)
}

/// The sentence for a status, after Werkzeug's.
fn usual_description(status: u16) -> &'static str {
    match status {
        400 => "The server could not understand the request.",
        401 => "The server could not verify that you are authorized to access this page.",
        403 => "You do not have permission to access this page.",
        404 => "The requested URL was not found on the server.",
        405 => "The method is not allowed for the requested URL.",
        406 => "The server can't produce a response that your client accepts.",
        409 => "The request conflicts with another one or with the state of the resource.",
        410 => "The requested URL is no longer available, and there is no forwarding address.",
        411 => "The request needs a Content-Length field.",
        412 => "A precondition of the request was not met.",
        413 => "The request is larger than the server accepts.",
        415 => "The server does not support the media type of the request.",
        416 => "The server can't provide the requested range.",
        421 => "The server does not answer requests for this host.",
        422 => "The request was well-formed but could not be processed.",
        428 => "The request has to be conditional.",
        429 => "There were too many requests; try again later.",
        500 => "The server encountered an error and could not complete the request.",
        502 => "The server received an invalid response from another server or program.",
        503 => "The server can't handle the request for now; try again later.",
        504 => "Another server or program did not respond in time.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amboss_core::{create_environ, run_wsgi_app, AppResponse, InputErrorKind, RunAppError};

    fn send(error: impl Fn() -> HttpError + Send + Sync) -> Result<AppResponse, RunAppError> {
        let app =
            |_: &mut amboss_core::Environ<'_>, start_response: &mut dyn StartResponse| error().respond(start_response);
        let mut owned = create_environ("/", "http://localhost").unwrap();
        run_wsgi_app(&app, &mut owned.environ())
    }

    #[test]
    fn an_error_carries_its_page_and_its_fields() {
        let response =
            send(|| HttpError::new(418).with_description("<short> & stout").with_header("X-Pot", "1")).unwrap();
        let page = String::from_utf8(response.body.clone()).unwrap();
        assert_eq!((response.status, response.header("x-pot")), (418, Some(&b"1"[..])));
        assert!(page.contains("&lt;short&gt; &amp; stout"), "{page}");
        assert_eq!(response.header("Content-Type"), Some(&b"text/html; charset=utf-8"[..]));
        for (error, status, field) in [
            (abort as fn(u16) -> HttpError, 404, None),
            (|_| HttpError::unauthorized("Basic realm=\"a\""), 401, Some(("WWW-Authenticate", "Basic realm=\"a\""))),
            (|_| HttpError::method_not_allowed(&["GET", "HEAD"]), 405, Some(("Allow", "GET, HEAD"))),
            (|_| Response::redirect("/login").into(), 302, Some(("Location", "/login"))),
        ] {
            let response = send(|| error(404)).unwrap();
            assert_eq!(response.status, status);
            if let Some((name, value)) = field {
                assert_eq!(response.header(name), Some(value.as_bytes()));
            }
        }
    }

    #[test]
    fn a_failure_is_the_servers_to_log_and_no_client_learns_about_it() {
        let failed = || -> Result<(), HttpError> {
            "x".parse::<u32>()?;
            Ok(())
        };
        let error = failed().unwrap_err();
        assert_eq!(
            (error.status(), error.source().unwrap().to_string()),
            (500, "invalid digit found in string".into())
        );
        assert!(!String::from_utf8(body_of(error)).unwrap().contains("digit"));
        let error = send(|| failed().unwrap_err()).unwrap_err();
        assert_eq!(error.to_string(), "the application failed: invalid digit found in string");
    }

    fn body_of(error: HttpError) -> Vec<u8> {
        let mut owned = create_environ("/", "http://localhost").unwrap();
        run_wsgi_app(&error.into_response(), &mut owned.environ()).unwrap().body
    }

    #[test]
    fn an_error_of_the_request_body_keeps_its_status() {
        for (kind, status) in
            [(InputErrorKind::Truncated, 400), (InputErrorKind::TooLarge(10), 413), (InputErrorKind::TooSlow, 408)]
        {
            let direct = HttpError::from(InputError::from(kind));
            let inside = HttpError::from(io::Error::from(InputError::from(kind)));
            assert_eq!((direct.status(), inside.status()), (status, status), "{kind:?}");
            assert_eq!(send(|| io::Error::from(InputError::from(kind)).into()).unwrap().status, status);
        }
        assert_eq!(HttpError::from(io::Error::other("x")).status(), 500);
    }
}
