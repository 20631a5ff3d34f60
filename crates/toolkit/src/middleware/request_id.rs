//! [`RequestIdField`].

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, DetachedId, Environ, ResponseFilter, StartError, StartResponse};

/// The name of the field.
const FIELD: &str = "X-Request-ID";

/// Middleware that sends the ID of a request with its response, as the field `X-Request-ID`, unless the application sends
/// one itself. The server gives IDs to requests with [`Settings::request_ids`](amboss_core::Settings::request_ids).
#[derive(Clone, Debug)]
pub struct RequestIdField<A> {
    app: A,
}

impl<A: Application> RequestIdField<A> {
    /// Makes the middleware.
    pub fn new(app: A) -> RequestIdField<A> {
        RequestIdField { app }
    }
}

impl<A: Application> Application for RequestIdField<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match environ.get("HTTP_X_REQUEST_ID").map(|id| id.to_vec()) {
            Some(id) => self.app.call(environ, &mut Tagging { inner: start_response, id }),
            None => self.app.call(environ, start_response),
        }
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        self.app.is_immediate(head, before_blocking)
    }
}

/// A `start_response` that adds the field.
struct Tagging<'s> {
    inner: &'s mut dyn StartResponse,
    id: Vec<u8>,
}

/// Returns the fields with the ID; `None` if the application has set one.
fn tagged<'f>(fields: &[(&'f str, &'f [u8])], id: &'f [u8]) -> Option<Vec<(&'f str, &'f [u8])>> {
    let has_field = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(FIELD));
    (!has_field).then(|| fields.iter().copied().chain([(FIELD, id)]).collect())
}

impl StartResponse for Tagging<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let tagged = tagged(fields, &self.id);
        self.inner.begin(status, tagged.as_deref().unwrap_or(fields), error)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        self.inner.write(data)
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        self.inner.early_hints(fields)
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.inner.flush()
    }

    fn detach(&mut self, mut filters: Vec<Box<dyn ResponseFilter>>) -> Option<DetachedId> {
        filters.push(Box::new(LaterTagging { id: self.id.clone() }));
        self.inner.detach(filters)
    }
}

/// Adds the field to a response that is written after the call.
struct LaterTagging {
    id: Vec<u8>,
}

impl ResponseFilter for LaterTagging {
    fn head(&mut self, fields: &[(&str, &[u8])]) -> Option<Vec<(String, Vec<u8>)>> {
        let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
        Some(tagged(fields, &self.id)?.into_iter().map(owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn the_id_of_the_request_is_sent_unless_the_application_sends_one() {
        let app = RequestIdField::new(request_app(|request| match &*request.path() {
            "/own" => Ok(Response::text("").with_header("x-request-id", "mine")),
            _ => Ok(Response::text("")),
        }));
        for (path, sent, expected) in
            [("/", Some("abc"), Some("abc")), ("/own", Some("abc"), Some("mine")), ("/", None, None)]
        {
            let mut builder = EnvironBuilder::new(path);
            if let Some(id) = sent {
                builder = builder.field("X-Request-ID", id);
            }
            let mut owned = builder.build().unwrap();
            let response = run_wsgi_app(&app, &mut owned.environ()).unwrap();
            assert_eq!(response.header("X-Request-ID"), expected.map(str::as_bytes), "{path}");
        }
        let fields: &[(&str, &[u8])] = &[("A", b"b")];
        let tagged = LaterTagging { id: b"abc".to_vec() }.head(fields).unwrap();
        assert_eq!(tagged, [("A".to_owned(), b"b".to_vec()), (FIELD.to_owned(), b"abc".to_vec())]);
        assert_eq!(LaterTagging { id: b"abc".to_vec() }.head(&[("x-request-ID", b"")]), None);
    }
}
