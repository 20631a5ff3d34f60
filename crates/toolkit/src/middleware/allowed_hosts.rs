//! [`AllowedHosts`].

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::host_name::{host_name, ip_address, normalized_host};
use crate::error::HttpError;

/// Middleware that answers only requests for known hosts, and others with 421 (RFC 9110 §15.5.20).
///
/// It protects a local server against DNS rebinding: a page of another site whose name suddenly stands for 127.0.0.1 can
/// read what the server sends, but its requests carry that name. `localhost` and the names below it are always allowed.
/// So are IP addresses, since rebinding needs a name, and requests without a Host, which browsers do not send.
#[derive(Clone, Debug)]
pub struct AllowedHosts<A> {
    app: A,
    /// In lower case; `*.example.org` and `.example.org` stand for all names below.
    allowed: Vec<String>,
    advice: String,
}

impl<A: Application> AllowedHosts<A> {
    /// Makes middleware that allows these hosts as well: names, or `*.example.org` for all names below. A port has no
    /// meaning. A text that is no name ([`check_host`](super::check_host)) has no effect.
    pub fn new(app: A, allowed: impl IntoIterator<Item = impl Into<String>>) -> AllowedHosts<A> {
        let allowed = allowed.into_iter().filter_map(|host| {
            let host = host.into();
            let port = &host.as_bytes()[host_name(host.as_bytes()).len()..];
            let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
            normalized_host(if is_port { &host[..host.len() - port.len()] } else { &host }).ok()
        });
        AllowedHosts { app, allowed: allowed.collect(), advice: "Allow the host NAME in the server's settings.".into() }
    }

    /// Sets the sentence of the 421 page that says how to allow a host; `NAME` in it is replaced with the host.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> AllowedHosts<A> {
        self.advice = advice.into();
        self
    }
}

impl<A> AllowedHosts<A> {
    /// Whether requests with this Host field are answered.
    fn allows(&self, host: &[u8]) -> bool {
        let name = String::from_utf8_lossy(host_name(host)).to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        name.is_empty()
            || name == "localhost"
            || name.ends_with(".localhost")
            || ip_address(name).is_some()
            || self.allowed.iter().any(|allowed| match allowed.strip_prefix('.') {
                Some(_) => name.ends_with(allowed.as_str()),
                None => name == allowed,
            })
    }
}

impl<A: Application> Application for AllowedHosts<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        // Also the host that the request itself has: a script of a page whose name was rebound can set the fields of
        // proxies, and this machine is a trusted proxy.
        let hosts = [environ.head().host().to_vec(), environ.get("HTTP_HOST").unwrap_or_default().into_bytes()];
        let Some(refused) = hosts.iter().find(|host| !self.allows(host)) else {
            return self.app.call(environ, start_response);
        };
        let name = String::from_utf8_lossy(host_name(refused)).into_owned();
        let description =
            format!("This server does not answer requests for {name}. {}", self.advice.replace("NAME", &name));
        HttpError::new(421)
            .with_description(description)
            .with_header("Cache-Control", "no-store")
            .respond(start_response)
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        !self.allows(head.host()) || self.app.is_immediate(head, before_blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn names_that_could_be_rebound_are_refused() {
        let app = AllowedHosts::new(
            Response::text("app"),
            ["Dev.Example.org:8000", "*.test.example", "*joined.example", "http://a"],
        )
        .advice("Allow it with --allowed-host NAME.");
        for (host, is_allowed) in [
            ("localhost", true),
            ("LOCALHOST:5000", true),
            ("api.localhost", true),
            ("localhost.", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("192.168.1.7", true),
            ("", true),
            ("dev.example.org:81", true),
            ("a.test.example", true),
            ("joined.example", false),
            ("http", false),
            ("a.b.TEST.example", true),
            ("test.example", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("1.evil.example:5000", false),
        ] {
            let mut owned = EnvironBuilder::new("/").field("Host", host).build().unwrap();
            let environ = &mut owned.environ();
            assert_eq!(app.is_immediate(environ.head(), &mut || {}), !is_allowed, "{host}");
            let response = run_wsgi_app(&app, environ).unwrap();
            assert_eq!(response.status, if is_allowed { 200 } else { 421 }, "{host}");
            if !is_allowed {
                let page = String::from_utf8(response.body).unwrap();
                let name = host.split(':').next().unwrap();
                assert!(page.contains(&format!("--allowed-host {name}.")) && !page.contains("app"), "{page}");
            }
        }
        // A trusted proxy's word for the host does not replace the host of the request.
        for (sent, forwarded) in [("evil.example", "localhost"), ("localhost", "evil.example")] {
            let mut owned = EnvironBuilder::new("/").field("Host", sent).set("HTTP_HOST", forwarded).build().unwrap();
            assert_eq!(run_wsgi_app(&app, &mut owned.environ()).unwrap().status, 421, "{sent} {forwarded}");
        }
        let mut owned = EnvironBuilder::new("/").remove("HTTP_HOST").build().unwrap();
        assert_eq!(run_wsgi_app(&app, &mut owned.environ()).unwrap().status, 200, "HTTP/1.0 has no Host");
    }
}
