//! [`HeaderFix`].

use amboss_core::http::{host_is_valid, Head};
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

/// Middleware that replaces a header field by another one, if the client or a proxy has sent that one: the fix for
/// proxies with fields of their own. `HeaderFix::new(app, "X-FHost", "Host")` sets `Host` from `X-FHost`.
///
/// It believes every client, so it belongs behind a proxy that sets or removes the field.
#[derive(Clone, Debug)]
pub struct HeaderFix<A> {
    app: A,
    from: String,
    /// The key of the field that is replaced.
    key: String,
}

impl<A: Application> HeaderFix<A> {
    /// Makes middleware that sets the field `to` from the field `from` when that is not empty. A host has to be a valid
    /// one (RFC 9110 §7.2).
    pub fn new(app: A, from: &str, to: &str) -> HeaderFix<A> {
        let key = to.replace('-', "_").to_ascii_uppercase();
        // PEP 3333: these two have keys without HTTP_.
        let key = if matches!(&*key, "CONTENT_TYPE" | "CONTENT_LENGTH") { key } else { format!("HTTP_{key}") };
        HeaderFix { app, from: from.to_owned(), key }
    }
}

impl<A: Application> Application for HeaderFix<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let value = environ.header(&self.from).filter(|value| !value.is_empty()).map(|value| value.into_bytes());
        // The server has checked the Host field that the client has sent.
        let value = value.filter(|value| self.key != "HTTP_HOST" || host_is_valid(value));
        if let Some(value) = value {
            environ.set(&self.key, value);
        }
        self.app.call(environ, start_response)
    }

    /// Not with another host than that of the head, by which the application may choose its code.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let changes_host = self.key == "HTTP_HOST" && head.get(&self.from).is_some();
        !changes_host && self.app.is_immediate(head, before_blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{run_wsgi_app, EnvironBuilder};

    #[test]
    fn a_field_is_replaced_if_the_other_one_was_sent() {
        let app = || request_app(|request| Ok(Response::text(request.host())));
        for (value, host) in [
            (Some("public.example"), "public.example"),
            (Some("public.example/a?b#c"), "localhost"),
            (Some(""), "localhost"),
            (None, "localhost"),
        ] {
            let mut builder = EnvironBuilder::new("/");
            if let Some(value) = value {
                builder = builder.field("X-FHost", value);
            }
            let mut owned = builder.build().unwrap();
            let response = run_wsgi_app(&HeaderFix::new(app(), "X-FHost", "Host"), &mut owned.environ()).unwrap();
            assert_eq!(response.body, host.as_bytes());
        }
        let app =
            HeaderFix::new(request_app(|request| Ok(Response::text(request.mimetype()))), "X-Type", "content-type");
        let mut owned = EnvironBuilder::new("/").field("X-Type", "a/b").build().unwrap();
        assert_eq!(run_wsgi_app(&app, &mut owned.environ()).unwrap().body, b"a/b");
    }
}
