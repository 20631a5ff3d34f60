//! [`Response`].

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use amboss_core::http::reason_phrase;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use crate::headers::Headers;

/// A response: status, header fields and body.
///
/// A response of bytes is an application, too: it answers every request alike.
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Headers,
    content: Content,
}

/// The body of a response.
#[derive(Debug)]
enum Content {
    Bytes(Cow<'static, [u8]>),
    /// A stream or a file, which can be sent once. The mutex makes a response `Sync`.
    Once(Mutex<Option<Body>>),
}

impl Response {
    /// Makes a response with status 200 and this body, without header fields.
    pub fn new(body: Body) -> Response {
        Response { status: 200, headers: Headers::default(), content: Content::Once(Mutex::new(Some(body))) }
    }

    /// Makes a response with this status and without a body.
    pub fn empty(status: u16) -> Response {
        Response::bytes(&b""[..]).with_status(status)
    }

    /// Makes a response of bytes, without header fields.
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Response {
        Response { status: 200, headers: Headers::default(), content: Content::Bytes(bytes.into()) }
    }

    /// Makes a response of plain text in UTF-8.
    pub fn text(text: impl Into<String>) -> Response {
        Response::bytes(text.into().into_bytes()).with_header("Content-Type", "text/plain; charset=utf-8")
    }

    /// Makes a page in HTML and UTF-8.
    pub fn html(html: impl Into<String>) -> Response {
        Response::bytes(html.into().into_bytes()).with_header("Content-Type", "text/html; charset=utf-8")
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The header fields, for changing them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Sets the status code.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// Sets a header field; it replaces fields with the same name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Response {
        self.headers.set(name, value);
        self
    }

    /// Sends the response: calls `start_response` and returns the body.
    ///
    /// # Errors
    /// A status or a field that can't be sent.
    pub fn respond(self, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.start(start_response)?;
        Ok(match self.content {
            Content::Bytes(Cow::Borrowed(bytes)) => Body::from(bytes),
            Content::Bytes(Cow::Owned(bytes)) => Body::from(bytes),
            Content::Once(body) => {
                body.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Body::empty)
            }
        })
    }

    fn start(&self, start_response: &mut dyn StartResponse) -> Result<(), AppError> {
        let status = format!("{} {}", self.status, reason_phrase(self.status));
        let fields: Vec<_> = self.headers.iter().collect();
        Ok(start_response.begin(&status, &fields, None)?)
    }
}

impl Application for Response {
    fn call(&self, _: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let body = match &self.content {
            Content::Bytes(bytes) => Body::from(bytes.to_vec()),
            Content::Once(body) => body
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .ok_or("a response with a stream or a file can be sent only once")?,
        };
        self.start(start_response)?;
        Ok(body)
    }
}
