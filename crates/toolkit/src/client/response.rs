//! [`TestResponse`].

use crate::headers::Headers;

/// The response to a [`TestRequest`](super::TestRequest).
#[derive(Clone, Debug)]
pub struct TestResponse {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
    path: String,
    history: Vec<TestResponse>,
}

impl TestResponse {
    pub(super) fn new(status: u16, headers: Headers, body: Vec<u8>, path: &str) -> TestResponse {
        TestResponse { status, headers, body, path: path.to_owned(), history: Vec::new() }
    }

    pub(super) fn set_history(&mut self, history: Vec<TestResponse>) {
        self.history = history;
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of the first field with this name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; bytes that are not UTF-8 are replaced with U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, decoded from JSON.
    ///
    /// # Errors
    /// A body that is not JSON, or not of the type `T`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The path of the request that this is the response to, with its query: the last one, if redirects were followed.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The redirects that were followed, in order.
    pub fn history(&self) -> &[TestResponse] {
        &self.history
    }
}
