//! [`VirtualHosts`].

use std::fmt;
use std::sync::Arc;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::host_name::{host_name, normalized_host, HostError};

/// Middleware that passes requests to applications by their host: several applications on one port.
///
/// A name stands for itself, and `*.example.org` for all names below `example.org`; a name goes before a pattern, and a
/// longer pattern before a shorter one. Ports and the case of letters do not matter. Requests for other hosts, and those
/// without one, go to the application that the middleware was made with.
///
/// `routing::Router` has hosts as well, with arguments in them; this is for whole applications.
///
/// ```
/// use amboss_core::{create_environ, run_wsgi_app};
/// use amboss_toolkit::middleware::VirtualHosts;
/// use amboss_toolkit::Response;
///
/// let app = VirtualHosts::new(Response::text("site"))
///     .host("api.localhost", Response::text("api"))?
///     .host("*.localhost", Response::text("any"))?;
/// for (url, body) in [("http://localhost", "site"), ("http://API.localhost:5000", "api"), ("http://x.localhost", "any")] {
///     assert_eq!(run_wsgi_app(&app, &mut create_environ("/", url)?.environ())?.body, body.as_bytes());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VirtualHosts<A> {
    app: A,
    /// Names in lower case; patterns begin with a dot. Names come first, then the longest patterns.
    hosts: Vec<(String, Arc<dyn Application>)>,
}

impl<A: Application> VirtualHosts<A> {
    /// Makes middleware that passes every request to `app`.
    pub fn new(app: A) -> VirtualHosts<A> {
        VirtualHosts { app, hosts: Vec::new() }
    }

    /// Passes the requests for a host to another application.
    ///
    /// # Errors
    /// A host that is not a name or `*.name`, that has a port, or that has an application already.
    pub fn host(mut self, host: &str, app: impl Application + 'static) -> Result<VirtualHosts<A>, HostError> {
        let name = normalized_host(host)?;
        if self.hosts.iter().any(|(taken, _)| *taken == name) {
            return Err(HostError { host: host.to_owned(), is_taken: true });
        }
        self.hosts.push((name, Arc::new(app)));
        self.hosts.sort_by_key(|(name, _)| (name.starts_with('.'), std::cmp::Reverse(name.len())));
        Ok(self)
    }
}

impl<A> VirtualHosts<A> {
    fn find(&self, host: &[u8]) -> Option<&dyn Application> {
        let name = String::from_utf8_lossy(host_name(host)).to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let mut hosts = self.hosts.iter();
        let (_, app) =
            hosts.find(|(known, _)| if known.starts_with('.') { name.ends_with(known) } else { name == known })?;
        Some(&**app)
    }
}

impl<A: Application> Application for VirtualHosts<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match self.find(&environ.get("HTTP_HOST").unwrap_or_default()) {
            Some(app) => app.call(environ, start_response),
            None => self.app.call(environ, start_response),
        }
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        match self.find(head.host()) {
            Some(app) => app.is_immediate(head, before_blocking),
            None => self.app.is_immediate(head, before_blocking),
        }
    }
}

impl<A> fmt::Debug for VirtualHosts<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hosts.iter().map(|(host, _)| host)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::Health;
    use crate::Response;
    use amboss_core::http::{HeadOptions, HeadParser};
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn names_go_before_patterns_and_longer_patterns_before_shorter_ones() {
        let says = |text: &'static str| Response::text(text);
        let app = VirtualHosts::new(says("default")).host("*.localhost", says("any")).unwrap();
        let app = app.host("*.api.localhost", says("below api")).unwrap().host("api.localhost", says("api")).unwrap();
        let app = app.host("127.0.0.2", says("ip")).unwrap().host("dotted.example.", says("dotted")).unwrap();
        for (host, body) in [
            ("localhost", "default"),
            ("evil.example", "default"),
            ("", "default"),
            ("api.localhost", "api"),
            ("Api.Localhost.:5000", "api"),
            ("v2.api.localhost", "below api"),
            ("other.localhost", "any"),
            ("127.0.0.2:80", "ip"),
            ("dotted.example", "dotted"),
            ("[::1]:80", "default"),
        ] {
            let mut owned = EnvironBuilder::new("/").field("Host", host).build().unwrap();
            assert_eq!(run_wsgi_app(&app, &mut owned.environ()).unwrap().body, body.as_bytes(), "{host}");
        }
    }

    /// Otherwise a request that names two hosts would be asked of one application and answered by another.
    #[test]
    fn the_question_goes_to_the_application_that_answers() {
        let waits = |_: &mut Environ<'_>, _: &mut dyn StartResponse| Ok(Body::empty());
        let app = VirtualHosts::new(waits).host("docs.localhost", Health::new(waits, "/")).unwrap();
        for (head, is_immediate) in [
            ("GET / HTTP/1.1\r\nHost: docs.localhost\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", false),
            ("GET http://docs.localhost:80/ HTTP/1.1\r\nHost: localhost\r\n\r\n", true),
            ("GET http://localhost/ HTTP/1.1\r\nHost: docs.localhost\r\n\r\n", false),
        ] {
            let mut parser = HeadParser::new(HeadOptions::default());
            parser.parse(head.as_bytes(), head.len()).unwrap().unwrap();
            assert_eq!(app.is_immediate(parser.head(head.as_bytes()), &mut || {}), is_immediate, "{head}");
        }
    }

    #[test]
    fn a_host_that_cannot_match_or_is_taken_is_refused() {
        for host in [
            "",
            "*",
            "*.",
            "a b",
            "api.localhost:5000",
            "http://api",
            "*.*.org",
            "a*.org",
            "/x",
            "münchen.de",
            "a,b",
            "a?b",
            "..",
            "a..b",
        ] {
            let error = VirtualHosts::new(Response::empty(200)).host(host, Response::empty(200)).unwrap_err();
            assert!(error.to_string().contains("without a scheme and a port"), "{error}");
        }
        for same in ["A.localhost", "a.localhost."] {
            let app = VirtualHosts::new(Response::empty(200)).host("a.localhost", Response::empty(200)).unwrap();
            let error = app.host(same, Response::empty(200)).unwrap_err();
            assert!(error.to_string().contains("two applications"), "{error}");
        }
    }
}
