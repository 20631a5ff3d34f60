//! [`VirtualHosts`].

use std::fmt;
use std::sync::Arc;

use amboss_core::http::{host_is_valid, Head};
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::host_name::host_name;

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
        let name = host.strip_prefix('*').unwrap_or(host).to_ascii_lowercase();
        let bare = if host.starts_with('*') { name.strip_prefix('.').unwrap_or("") } else { &name };
        let is_name = !bare.is_empty()
            && !bare.starts_with('.')
            && !bare.contains('*')
            && host_is_valid(bare.as_bytes())
            && host_name(bare.as_bytes()) == bare.as_bytes();
        let is_taken = self.hosts.iter().any(|(taken, _)| *taken == name);
        if !is_name || is_taken {
            return Err(HostError { host: host.to_owned(), is_taken });
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

/// A host that no application can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    host: String,
    is_taken: bool,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        if self.is_taken {
            return write!(f, "there are two applications for the host {host:?}; leave out one of them");
        }
        write!(f, "{host:?} is not the name of a host: write it without a port, as api.localhost or *.localhost")
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn names_go_before_patterns_and_longer_patterns_before_shorter_ones() {
        let says = |text: &'static str| Response::text(text);
        let app = VirtualHosts::new(says("default")).host("*.localhost", says("any")).unwrap();
        let app = app.host("*.api.localhost", says("below api")).unwrap().host("api.localhost", says("api")).unwrap();
        let app = app.host("127.0.0.2", says("ip")).unwrap();
        for (host, body) in [
            ("localhost", "default"),
            ("evil.example", "default"),
            ("", "default"),
            ("api.localhost", "api"),
            ("Api.Localhost.:5000", "api"),
            ("v2.api.localhost", "below api"),
            ("other.localhost", "any"),
            ("127.0.0.2:80", "ip"),
            ("[::1]:80", "default"),
        ] {
            let mut owned = EnvironBuilder::new("/").field("Host", host).build().unwrap();
            assert_eq!(run_wsgi_app(&app, &mut owned.environ()).unwrap().body, body.as_bytes(), "{host}");
        }
    }

    #[test]
    fn a_host_that_cannot_match_or_is_taken_is_refused() {
        for host in ["", "*", "*.", "a b", "api.localhost:5000", "http://api", "*.*.org", "a*.org", "/x"] {
            let error = VirtualHosts::new(Response::empty(200)).host(host, Response::empty(200)).unwrap_err();
            assert!(error.to_string().contains("api.localhost"), "{error}");
        }
        let app = VirtualHosts::new(Response::empty(200)).host("a.localhost", Response::empty(200)).unwrap();
        let error = app.host("A.localhost", Response::empty(200)).unwrap_err();
        assert!(error.to_string().contains("two applications"), "{error}");
    }
}
