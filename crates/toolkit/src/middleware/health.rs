//! [`Health`].

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use crate::head_path::decoded_path;

/// Middleware that answers health checks at one path with 200 and `ok`. A check takes no place among the running
/// requests, so it succeeds as long as the server can answer at all.
#[derive(Clone, Debug)]
pub struct Health<A> {
    app: A,
    path: String,
}

impl<A: Application> Health<A> {
    /// Makes middleware that answers GET and HEAD requests for `path`, such as `/healthz`.
    pub fn new(app: A, path: &str) -> Health<A> {
        Health { app, path: path.to_owned() }
    }
}

impl<A: Application> Application for Health<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let is_read = environ.method() == "GET" || environ.method() == "HEAD";
        if !is_read || environ.path() != self.path {
            return self.app.call(environ, start_response);
        }
        start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Cache-Control", "no-store")])?;
        Ok(Body::from("ok\n"))
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let is_read = matches!(head.method(), b"GET" | b"HEAD");
        let is_check = || decoded_path(&head).is_some_and(|path| *path == *self.path.as_bytes());
        is_read && is_check() || self.app.is_immediate(head, before_blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn only_reads_of_the_path_are_health_checks() {
        let app = Health::new(Response::text("app"), "/healthz");
        for (method, path, body) in [
            ("GET", "/healthz", "ok\n"),
            ("GET", "/healthz?x", "ok\n"),
            ("HEAD", "/healthz", ""),
            ("POST", "/healthz", "app"),
            ("GET", "/healthz/", "app"),
            ("GET", "/", "app"),
        ] {
            let mut owned = EnvironBuilder::new(path).method(method).build().unwrap();
            let environ = &mut owned.environ();
            let is_immediate = app.is_immediate(environ.head(), &mut || {});
            assert_eq!(is_immediate, body != "app", "{method} {path}");
            assert_eq!(run_wsgi_app(&app, environ).unwrap().body, body.as_bytes(), "{method} {path}");
        }
    }
}
