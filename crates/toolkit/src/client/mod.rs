//! A client for tests: it calls an application without a socket, or, with the feature `live`, a running server.
//!
//! ```
//! use amboss_toolkit::client::Client;
//! use amboss_toolkit::{request_app, HttpError, Response};
//!
//! let app = request_app(|request| match (&*request.method(), &*request.path()) {
//!     ("POST", "/login") => {
//!         let name = request.text()?.to_owned();
//!         Ok(Response::redirect("/").with_status(303).with_cookie(("user", name)))
//!     }
//!     ("GET", "/") => Ok(Response::text(format!("Hello {}!", request.cookies().get("user").unwrap_or("stranger")))),
//!     _ => Err(HttpError::not_found()),
//! });
//!
//! let client = Client::new(app);
//! assert_eq!(client.get("/").send()?.text(), "Hello stranger!");
//! let response = client.post("/login").body("Ada").follow_redirects(true).send()?;
//! assert_eq!((response.status(), response.text().as_str()), (200, "Hello Ada!"));
//! assert_eq!(response.history().len(), 1);
//! assert_eq!(client.get("/nowhere").send()?.status(), 404);
//! # Ok::<(), amboss_toolkit::client::ClientError>(())
//! ```

mod cookie_jar;
mod error;
#[cfg(feature = "live")]
mod live;
mod location;
mod multipart;
mod request;
mod response;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amboss_core::{run_wsgi_app, AppResponse, Application, EnvironBuilder};

use crate::headers::Headers;
use crate::response::Response;
use cookie_jar::CookieJar;
use location::split_base_url;

pub use error::{ClientError, ClientErrorKind};
pub use request::TestRequest;
pub use response::TestResponse;

/// A client for tests. It keeps cookies from one request to the next, as a browser does.
pub struct Client {
    target: Target,
    /// Without a slash at the end.
    base_url: String,
    cookies: Mutex<CookieJar>,
}

/// What answers the requests of a client.
enum Target {
    App(Arc<dyn Application>),
    #[cfg(feature = "live")]
    Live(live::LiveServer),
}

impl Client {
    /// Makes a client that calls an application at `http://localhost`. The whole contract is checked; see
    /// [`run_wsgi_app`].
    pub fn new(app: impl Application + 'static) -> Client {
        Client::with_target(Target::App(Arc::new(app)), "http://localhost")
    }

    /// Makes a client of a running server, by its URL: `http://127.0.0.1:5000`.
    #[cfg(feature = "live")]
    pub fn live(base_url: &str) -> Client {
        Client::with_target(Target::Live(live::LiveServer::default()), base_url)
    }

    fn with_target(target: Target, base_url: &str) -> Client {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Client { target, base_url, cookies: Mutex::default() }
    }

    /// Sets the URL of the application: scheme, host, port, and a path that becomes `SCRIPT_NAME`.
    #[must_use]
    pub fn base_url(mut self, base_url: &str) -> Client {
        base_url.trim_end_matches('/').clone_into(&mut self.base_url);
        self
    }

    /// Begins a GET request. The path may have a query.
    pub fn get(&self, path: &str) -> TestRequest<'_> {
        self.request("GET", path)
    }

    /// Begins a HEAD request.
    pub fn head(&self, path: &str) -> TestRequest<'_> {
        self.request("HEAD", path)
    }

    /// Begins a POST request.
    pub fn post(&self, path: &str) -> TestRequest<'_> {
        self.request("POST", path)
    }

    /// Begins a PUT request.
    pub fn put(&self, path: &str) -> TestRequest<'_> {
        self.request("PUT", path)
    }

    /// Begins a PATCH request.
    pub fn patch(&self, path: &str) -> TestRequest<'_> {
        self.request("PATCH", path)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, path: &str) -> TestRequest<'_> {
        self.request("DELETE", path)
    }

    /// Begins a request with any method.
    pub fn request(&self, method: &str, path: &str) -> TestRequest<'_> {
        TestRequest::new(self, method, path)
    }

    /// The value of a cookie that the client sends to the root of the application.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let path = format!("{}/", split_base_url(&self.base_url).1);
        self.jar().matching(&path, true).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Sets a cookie for all paths.
    ///
    /// # Panics
    /// If the name can't be that of a cookie; see [`Response::set_cookie`](crate::Response::set_cookie).
    pub fn set_cookie(&self, name: &str, value: &str) {
        let response = Response::empty(200).with_cookie(cookie::Cookie::build((name, value)).path("/"));
        let fields = response.headers().get_all("Set-Cookie");
        fields.for_each(|field| self.jar().store(&String::from_utf8_lossy(field), "", "/"));
    }

    /// Forgets all cookies.
    pub fn clear_cookies(&self) {
        *self.jar() = CookieJar::default();
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one request, with the client's cookies, and keeps the cookies of the response.
    fn exchange(&self, method: &str, path: &str, fields: &Headers, body: &[u8]) -> Result<TestResponse, ClientError> {
        let mut fields = fields.clone();
        let (origin, prefix) = split_base_url(&self.base_url);
        let host = origin.rsplit('/').next().unwrap_or_default();
        let cookie_path = format!("{prefix}{}", path.split('?').next().unwrap_or_default());
        if !fields.contains("Cookie") {
            let is_secure = self.base_url.starts_with("https:");
            if let Some(field) = self.jar().field(&cookie_path, is_secure) {
                fields.set("Cookie", field);
            }
        }
        let response = match &self.target {
            Target::App(app) => {
                let AppResponse { status, fields, body, .. } = self.call(&**app, method, path, &fields, body)?;
                TestResponse::new(status, fields.into_iter().collect(), body, path)
            }
            #[cfg(feature = "live")]
            Target::Live(server) => server.exchange(&self.base_url, method, path, &fields, body)?,
        };
        let mut jar = self.jar();
        for field in response.headers().get_all("Set-Cookie") {
            jar.store(&String::from_utf8_lossy(field), host, &cookie_path);
        }
        Ok(response)
    }

    fn call(
        &self,
        app: &dyn Application,
        method: &str,
        path: &str,
        fields: &Headers,
        body: &[u8],
    ) -> Result<AppResponse, ClientError> {
        let mut builder = EnvironBuilder::new(path).base_url(&self.base_url).method(method);
        for (name, value) in fields.iter() {
            builder = builder.field(name, value);
        }
        // Clients send a Content-Length of 0 with these methods (RFC 9110 §8.6).
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            builder = builder.body(body);
        }
        let mut owned = builder.build().map_err(ClientErrorKind::Request)?;
        let response = run_wsgi_app(app, &mut owned.environ()).map_err(ClientErrorKind::App)?;
        Ok(response)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
