//! [`TestRequest`].

use std::path::Path;

use super::error::{ClientError, ClientErrorKind};
use super::location::resolve;
use super::multipart::{encode, Part};
use super::response::TestResponse;
use super::Client;
use crate::headers::Headers;

/// The maximum number of redirects that one request follows; browsers allow 20.
const MAX_REDIRECTS: usize = 20;

/// The fields that a request loses with its body (RFC 9110 §15.4).
const OF_THE_BODY: [&str; 6] =
    ["Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Location", "Transfer-Encoding"];

/// A request of a [`Client`] before it is sent.
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct TestRequest<'c> {
    client: &'c Client,
    method: String,
    path: String,
    fields: Headers,
    body: Vec<u8>,
    /// The parts of a form.
    parts: Vec<Part>,
    follows_redirects: bool,
}

impl<'c> TestRequest<'c> {
    pub(super) fn new(client: &'c Client, method: &str, path: &str) -> TestRequest<'c> {
        TestRequest {
            client,
            method: method.to_owned(),
            // A fragment is not sent (RFC 9110 §7.1).
            path: path.split('#').next().unwrap_or_default().to_owned(),
            fields: Headers::default(),
            body: Vec::new(),
            parts: Vec::new(),
            follows_redirects: false,
        }
    }

    /// Adds arguments to the query.
    pub fn query(mut self, arguments: &[(&str, &str)]) -> TestRequest<'c> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(arguments).finish();
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&query);
        self
    }

    /// Sets a header field. A field `Cookie` replaces the client's cookies.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> TestRequest<'c> {
        self.fields.set(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> TestRequest<'c> {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON.
    ///
    /// # Errors
    /// A value that JSON can't represent.
    #[cfg(feature = "json")]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Result<TestRequest<'c>, serde_json::Error> {
        Ok(self.header("Content-Type", "application/json").body(serde_json::to_vec(value)?))
    }

    /// Adds fields of a form. Without a file, the form is sent as `application/x-www-form-urlencoded`.
    pub fn form(mut self, fields: &[(&str, &str)]) -> TestRequest<'c> {
        self.parts
            .extend(fields.iter().map(|(name, value)| Part::Field { name: (*name).into(), value: (*value).into() }));
        self
    }

    /// Adds a file to the form, which is then sent as `multipart/form-data`. The media type is that of the filename's
    /// extension.
    pub fn file(mut self, name: &str, filename: &str, data: impl Into<Vec<u8>>) -> TestRequest<'c> {
        let content_type = mime_guess::from_path(Path::new(filename)).first_raw().unwrap_or("application/octet-stream");
        self.parts.push(Part::File {
            name: name.into(),
            filename: filename.into(),
            content_type: content_type.into(),
            data: data.into(),
        });
        self
    }

    /// Sets whether redirects of the same host are followed; off. The response is then the last one.
    pub fn follow_redirects(mut self, follows: bool) -> TestRequest<'c> {
        self.follows_redirects = follows;
        self
    }

    /// Sends the request.
    ///
    /// # Errors
    /// A request that no client can send, an application that fails or breaks the contract, a server that can't be
    /// reached, a redirect that can't be followed.
    pub fn send(mut self) -> Result<TestResponse, ClientError> {
        self.encode_form();
        let TestRequest { client, mut method, mut path, mut fields, mut body, follows_redirects, .. } = self;
        let mut history = Vec::new();
        loop {
            let mut response = client.exchange(&method, &path, &fields, &body)?;
            if !follows_redirects || !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
                response.set_history(history);
                return Ok(response);
            }
            if history.len() == MAX_REDIRECTS {
                let why = format!("{MAX_REDIRECTS} redirects in a row, the last one to {path:?}");
                return Err(ClientErrorKind::Redirect(why).into());
            }
            path = next_path(client, &path, &response)?;
            // RFC 9110 §15.4: 303 asks for a GET, and browsers send one after 301 and 302 to a POST.
            let becomes_get = response.status() == 303 && method != "HEAD"
                || matches!(response.status(), 301 | 302) && method == "POST";
            if becomes_get {
                method = "GET".into();
                body.clear();
                OF_THE_BODY.iter().for_each(|name| fields.remove(name));
            }
            history.push(response);
        }
    }

    fn encode_form(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let mut serializer = form_urlencoded::Serializer::new(String::new());
        for part in &self.parts {
            match part {
                Part::Field { name, value } => serializer.append_pair(name, value),
                Part::File { .. } => {
                    let (content_type, body) = encode(&self.parts);
                    self.fields.set("Content-Type", content_type);
                    self.body = body;
                    return;
                }
            };
        }
        self.fields.set("Content-Type", "application/x-www-form-urlencoded");
        self.body = serializer.finish().into_bytes();
    }
}

/// The path that a redirect leads to.
fn next_path(client: &Client, path: &str, response: &TestResponse) -> Result<String, ClientError> {
    let Some(location) = response.header("Location") else {
        let why = format!("the redirect {} of {path:?} has no Location", response.status());
        return Err(ClientErrorKind::Redirect(why).into());
    };
    resolve(&client.base_url, path, location).ok_or_else(|| {
        let why = format!("the redirect of {path:?} leads to another host or application: {location:?}");
        ClientErrorKind::Redirect(why).into()
    })
}
