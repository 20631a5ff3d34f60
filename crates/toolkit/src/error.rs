//! [`HttpError`].

use amboss_core::http::reason_phrase;
use amboss_core::{AppError, Body, StartResponse};

use crate::headers::Headers;
use crate::response::Response;

/// A response that ends a request early, such as 404 or a redirect, or the failure of a handler.
#[derive(Debug)]
pub struct HttpError {
    status: u16,
    description: Option<String>,
    headers: Headers,
}

impl HttpError {
    /// Makes an error response with this status.
    pub fn new(status: u16) -> HttpError {
        HttpError { status, description: None, headers: Headers::default() }
    }

    /// Sets the sentence of the page, for people.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> HttpError {
        self.description = Some(description.into());
        self
    }

    /// Sets a header field of the response.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> HttpError {
        self.headers.set(name, value);
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Makes the response.
    pub fn into_response(self) -> Response {
        let reason = reason_phrase(self.status);
        let description = self.description.unwrap_or_default();
        let mut response =
            Response::html(format!("<h1>{reason}</h1><p>{}</p>", html_escape::encode_text(&description)))
                .with_status(self.status);
        for (name, value) in self.headers.iter() {
            response.headers_mut().set(name, value);
        }
        response
    }

    /// Sends the response.
    ///
    /// # Errors
    /// A field that can't be sent.
    pub fn respond(self, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        self.into_response().respond(start_response)
    }
}
