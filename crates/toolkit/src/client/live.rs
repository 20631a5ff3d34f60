//! Requests to a running server.

use std::io::Read;
use std::time::Duration;

use ureq::http::Request;
use ureq::Agent;

use super::error::{ClientError, ClientErrorKind};
use super::response::TestResponse;
use crate::headers::Headers;

/// How long one request may take, so that a server that hangs fails a test instead of blocking it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running server, by way of `ureq`. Statuses are responses, never errors, and redirects are left to the client.
#[derive(Debug)]
pub(super) struct LiveServer(Agent);

impl Default for LiveServer {
    fn default() -> LiveServer {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .allow_non_standard_methods(true)
            .build();
        LiveServer(Agent::new_with_config(config))
    }
}

impl LiveServer {
    pub(super) fn exchange(
        &self,
        base_url: &str,
        method: &str,
        path: &str,
        fields: &Headers,
        body: &[u8],
    ) -> Result<TestResponse, ClientError> {
        let failed = |error: &dyn std::fmt::Display| {
            let why = format!("{method} {base_url}{path} has no response: {error}");
            ClientError::from(ClientErrorKind::Connection(why))
        };
        let mut request = Request::builder().method(method).uri(format!("{base_url}{path}"));
        for (name, value) in fields.iter() {
            request = request.header(name, value);
        }
        let has_body = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
        let response = if has_body {
            self.0.run(request.body(body).map_err(|error| failed(&error))?)
        } else {
            self.0.run(request.body(()).map_err(|error| failed(&error))?)
        };
        let mut response = response.map_err(|error| failed(&error))?;
        let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut bytes = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        Ok(TestResponse::new(response.status().as_u16(), headers, bytes, path))
    }
}
