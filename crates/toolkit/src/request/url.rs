//! The URLs of a request.

use std::borrow::Cow;

use percent_encoding::percent_encode;

use super::Request;
use crate::percent::NOT_IN_PATHS;

impl Request<'_, '_> {
    /// The scheme: `http` or `https`.
    pub fn scheme(&self) -> Cow<'_, str> {
        self.environ().text("wsgi.url_scheme")
    }

    /// The host that the client has asked for, with its port unless that is the scheme's own. Without a Host field, the
    /// address of the server.
    ///
    /// The client chooses it: an application that builds links for others from it checks it first.
    pub fn host(&self) -> String {
        let host = self.environ().text("HTTP_HOST");
        let default_port = if self.is_secure() { ":443" } else { ":80" };
        if !host.is_empty() {
            return host.strip_suffix(default_port).unwrap_or(&host).to_owned();
        }
        let (name, port) = (self.environ().text("SERVER_NAME"), self.environ().text("SERVER_PORT"));
        if port.is_empty() || default_port[1..] == port {
            name.into_owned()
        } else {
            format!("{name}:{port}")
        }
    }

    /// The URL of the root of the application, with a slash at its end: `http://localhost:8080/app/`.
    pub fn root_url(&self) -> String {
        let root =
            percent_encode(self.environ().get("SCRIPT_NAME").unwrap_or_default().as_bytes(), NOT_IN_PATHS).to_string();
        format!("{}://{}{}/", self.scheme(), self.host(), root.trim_end_matches('/'))
    }

    /// The URL without the query.
    pub fn base_url(&self) -> String {
        let path = percent_encode(self.environ().path().as_bytes(), NOT_IN_PATHS).to_string();
        self.root_url() + path.strip_prefix('/').unwrap_or(&path)
    }

    /// The whole URL, query included.
    pub fn url(&self) -> String {
        let query = self.query_string();
        if query.is_empty() {
            self.base_url()
        } else {
            format!("{}?{query}", self.base_url())
        }
    }

    /// The path with the query.
    pub fn full_path(&self) -> String {
        let query = self.query_string();
        if query.is_empty() {
            self.path().into_owned()
        } else {
            format!("{}?{query}", self.path())
        }
    }
}
