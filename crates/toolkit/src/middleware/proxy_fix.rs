//! [`ProxyFix`].

use amboss_core::http::{host_is_valid, Head};
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

/// Middleware that takes the client's address, scheme, host, port and prefix from the `X-Forwarded-*` fields, as
/// Werkzeug's `ProxyFix`.
///
/// Each number of [`Hops`] says how many proxies set that field: the value is the n-th from the right, and the field is
/// ignored if it has fewer values. Like Werkzeug's, this middleware believes every client that can reach the server. The
/// server's own setting for trusted proxies believes only some addresses, and the access log shows its result, so it is
/// to be preferred.
///
/// [`is_immediate`](Application::is_immediate) sees the head as it was sent. Behind a changed host, a middleware that
/// chooses applications by their host may therefore run a request beside the limit on threads.
#[derive(Clone, Debug)]
pub struct ProxyFix<A> {
    app: A,
    hops: Hops,
}

/// How many proxies set each of the `X-Forwarded-*` fields; 0 ignores the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Hops {
    /// `X-Forwarded-For`, which becomes `REMOTE_ADDR`; 1.
    pub x_for: usize,
    /// `X-Forwarded-Proto`, which becomes `wsgi.url_scheme`; 1.
    pub x_proto: usize,
    /// `X-Forwarded-Host`, which becomes `HTTP_HOST`, `SERVER_NAME` and `SERVER_PORT`; 0.
    pub x_host: usize,
    /// `X-Forwarded-Port`, which becomes `SERVER_PORT` and the port in `HTTP_HOST`; 0.
    pub x_port: usize,
    /// `X-Forwarded-Prefix`, which becomes `SCRIPT_NAME`; 0.
    pub x_prefix: usize,
}

impl Default for Hops {
    fn default() -> Hops {
        Hops { x_for: 1, x_proto: 1, x_host: 0, x_port: 0, x_prefix: 0 }
    }
}

/// The values that [`ProxyFix`] has replaced, an extension of the environ: key and value, `None` for a key that was not
/// there.
#[derive(Clone, Debug, Default)]
pub struct OriginalRequest(Vec<(&'static str, Option<Vec<u8>>)>);

impl OriginalRequest {
    /// The original value of `REMOTE_ADDR`, `wsgi.url_scheme`, `HTTP_HOST`, `SERVER_NAME`, `SERVER_PORT` or
    /// `SCRIPT_NAME`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == key)?.1.as_deref()
    }
}

impl<A: Application> ProxyFix<A> {
    /// Makes middleware that believes this number of proxies. `Hops::default()` fits one proxy that sets
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub fn new(app: A, hops: Hops) -> ProxyFix<A> {
        ProxyFix { app, hops }
    }
}

/// The `hops`-th value from the right of a field, if it has as many.
fn forwarded(environ: &Environ<'_>, field: &str, hops: usize) -> Option<String> {
    let value = environ.header(field).filter(|_| hops > 0)?.to_string();
    let value = value.rsplit(',').nth(hops - 1)?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Splits a host from its port; the port of a bare IPv6 address is none.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

impl<A: Application> Application for ProxyFix<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let keys = ["REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME"];
        let original = keys.map(|key| (key, environ.get(key).map(|value| value.into_bytes())));
        environ.extensions_mut().insert(OriginalRequest(original.to_vec()));
        let Hops { x_for, x_proto, x_host, x_port, x_prefix } = self.hops;
        if let Some(address) = forwarded(environ, "X-Forwarded-For", x_for) {
            environ.set("REMOTE_ADDR", address);
        }
        let scheme = forwarded(environ, "X-Forwarded-Proto", x_proto).map(|scheme| scheme.to_ascii_lowercase());
        if let Some(scheme) = scheme.filter(|scheme| matches!(&**scheme, "http" | "https")) {
            environ.set("wsgi.url_scheme", scheme);
        }
        if let Some(host) = forwarded(environ, "X-Forwarded-Host", x_host).filter(|host| host_is_valid(host.as_bytes()))
        {
            let (name, port) = split_port(&host);
            environ.set("HTTP_HOST", host.as_str());
            environ.set("SERVER_NAME", name);
            if let Some(port) = port {
                environ.set("SERVER_PORT", port);
            }
        }
        // `parse` alone would accept a sign.
        let is_port = |port: &String| !port.starts_with('+') && port.parse::<u16>().is_ok();
        if let Some(port) = forwarded(environ, "X-Forwarded-Port", x_port).filter(is_port) {
            let host = environ.text("HTTP_HOST").into_owned();
            if !host.is_empty() {
                environ.set("HTTP_HOST", format!("{}:{port}", split_port(&host).0));
            }
            environ.set("SERVER_PORT", port);
        }
        let is_path = |prefix: &String| prefix.starts_with('/') && !prefix.starts_with("//");
        if let Some(prefix) = forwarded(environ, "X-Forwarded-Prefix", x_prefix).filter(is_path) {
            environ.set("SCRIPT_NAME", prefix.trim_end_matches('/'));
        }
        self.app.call(environ, start_response)
    }

    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let changes_host = self.hops.x_host > 0 && head.get("X-Forwarded-Host").is_some();
        !changes_host && self.app.is_immediate(head, before_blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    const ALL: Hops = Hops { x_for: 1, x_proto: 1, x_host: 1, x_port: 1, x_prefix: 1 };

    fn url(hops: Hops, fields: &[(&str, &str)]) -> String {
        let app = request_app(|request| {
            let original = request.environ().extensions().get::<OriginalRequest>().unwrap();
            assert_eq!(original.get("REMOTE_ADDR"), Some(&b"127.0.0.1"[..]));
            assert_eq!(original.get("HTTP_HOST"), Some(&b"inner:8000"[..]));
            Ok(Response::text(format!("{} {}", request.remote_addr(), request.url())))
        });
        let mut builder = EnvironBuilder::new("/a").base_url("http://inner:8000");
        for (name, value) in fields {
            builder = builder.field(*name, *value);
        }
        let mut owned = builder.build().unwrap();
        let response = run_wsgi_app(&ProxyFix::new(app, hops), &mut owned.environ()).unwrap();
        String::from_utf8(response.body).unwrap()
    }

    #[test]
    fn the_fields_are_read_from_the_right_as_often_as_there_are_proxies() {
        let (one, two) = (Hops::default(), Hops { x_for: 2, ..Hops::default() });
        for (hops, fields, result) in [
            (one, &[][..], "127.0.0.1 http://inner:8000/a"),
            (
                one,
                &[("X-Forwarded-For", "6.6.6.6, 1.2.3.4"), ("X-Forwarded-Proto", "https")],
                "1.2.3.4 https://inner:8000/a",
            ),
            (two, &[("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.1")], "1.2.3.4 http://inner:8000/a"),
            (two, &[("X-Forwarded-For", "1.2.3.4")], "127.0.0.1 http://inner:8000/a"),
            (two, &[("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "10.0.0.1")], "1.2.3.4 http://inner:8000/a"),
            (
                one,
                &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Prefix", "/x")],
                "127.0.0.1 http://inner:8000/a",
            ),
            (
                ALL,
                &[("X-Forwarded-Host", "public.example"), ("X-Forwarded-Prefix", "/app/")],
                "127.0.0.1 http://public.example/app/a",
            ),
            (
                ALL,
                &[("X-Forwarded-Host", "public.example:81"), ("X-Forwarded-Port", "8443")],
                "127.0.0.1 http://public.example:8443/a",
            ),
            (ALL, &[("X-Forwarded-Host", "[::1]"), ("X-Forwarded-Port", "81")], "127.0.0.1 http://[::1]:81/a"),
            (
                ALL,
                &[("X-Forwarded-Port", "x"), ("X-Forwarded-Prefix", "//evil.example")],
                "127.0.0.1 http://inner:8000/a",
            ),
            (ALL, &[("X-Forwarded-Host", "a b"), ("X-Forwarded-Proto", "javascript")], "127.0.0.1 http://inner:8000/a"),
        ] {
            assert_eq!(url(hops, fields), result, "{fields:?}");
        }
    }
}
