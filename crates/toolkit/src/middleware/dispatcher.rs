//! [`Dispatcher`].

use std::fmt;
use std::sync::Arc;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use crate::head_path::decoded_path;
use crate::prefix::can_match;

/// Middleware that passes requests to applications by the prefix of their path, as Werkzeug's `DispatcherMiddleware`.
///
/// The longest prefix decides, in whole segments: `/apis` is not below `/api`. The prefix moves from `PATH_INFO` to the
/// end of `SCRIPT_NAME`. Requests below no prefix go to the application that the dispatcher was made with.
pub struct Dispatcher<A> {
    app: A,
    /// The longest prefixes first.
    mounts: Vec<(String, Arc<dyn Application>)>,
}

impl<A: Application> Dispatcher<A> {
    /// Makes a dispatcher that passes every request to `app`.
    pub fn new(app: A) -> Dispatcher<A> {
        Dispatcher { app, mounts: Vec::new() }
    }

    /// Passes requests below a prefix, which is compared with the percent-decoded path, to another application.
    ///
    /// # Errors
    /// A prefix that does not begin with a slash, that ends with one or has a part that no path has, or that is taken.
    pub fn mount(mut self, prefix: &str, app: impl Application + 'static) -> Result<Dispatcher<A>, PrefixError> {
        let is_taken = self.mounts.iter().any(|(taken, _)| taken == prefix);
        if !can_match(prefix) || prefix.ends_with('/') || is_taken {
            return Err(PrefixError { prefix: prefix.to_owned(), is_taken });
        }
        let position = self.mounts.partition_point(|(other, _)| other.len() >= prefix.len());
        self.mounts.insert(position, (prefix.to_owned(), Arc::new(app)));
        Ok(self)
    }
}

impl<A> Dispatcher<A> {
    fn find(&self, path: &[u8]) -> Option<&(String, Arc<dyn Application>)> {
        self.mounts.iter().find(|(prefix, _)| {
            path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}

impl<A: Application> Application for Dispatcher<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let Some((prefix, app)) = self.find(&environ.path()) else { return self.app.call(environ, start_response) };
        let script_name = [&environ.get("SCRIPT_NAME").unwrap_or_default()[..], prefix.as_bytes()].concat();
        let rest = environ.path()[prefix.len()..].to_vec();
        environ.set("SCRIPT_NAME", script_name);
        environ.set("PATH_INFO", rest);
        app.call(environ, start_response)
    }

    /// Only the default application is asked: a mounted one knows paths without the prefix, which the head still has.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        decoded_path(&head).is_some_and(|path| self.find(&path).is_none())
            && self.app.is_immediate(head, before_blocking)
    }
}

impl<A> fmt::Debug for Dispatcher<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.mounts.iter().map(|(prefix, _)| prefix)).finish()
    }
}

/// A prefix that no application can be mounted at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError {
    prefix: String,
    is_taken: bool,
}

impl PrefixError {
    pub(super) fn malformed(prefix: &str) -> PrefixError {
        PrefixError { prefix: prefix.to_owned(), is_taken: false }
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = &self.prefix;
        if self.is_taken {
            return write!(f, "there is an application at the prefix {prefix:?} already");
        }
        write!(
            f,
            "the prefix {prefix:?} is not a path that begins with a slash and does not end with one: write \"/api\""
        )
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::http::{HeadOptions, HeadParser};
    use amboss_core::{create_environ, run_wsgi_app};

    fn says(name: &'static str) -> impl Application {
        request_app(move |request| Ok(Response::text(format!("{name} {} {}", request.root_path(), request.path()))))
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_decides() {
        let app = Dispatcher::new(says("site")).mount("/api", says("api")).unwrap();
        let app = app.mount("/api/v2", says("v2")).unwrap().mount("/ä", says("umlaut")).unwrap();
        for (path, base, body) in [
            ("/", "http://a", "site  /"),
            ("/api", "http://a", "api /api "),
            ("/api/", "http://a", "api /api /"),
            ("/apis", "http://a", "site  /apis"),
            ("/api/v2/x%2Fy", "http://a", "v2 /api/v2 /x/y"),
            ("/api/v1", "http://a", "api /api /v1"),
            ("/%C3%A4/x", "http://a", "umlaut /ä /x"),
            ("/api/x", "http://a/root", "api /root/api /x"),
        ] {
            let mut owned = create_environ(path, base).unwrap();
            let response = run_wsgi_app(&app, &mut owned.environ()).unwrap();
            assert_eq!(String::from_utf8(response.body).unwrap(), body);
        }
    }

    /// Otherwise a client could have more of these requests run at once than there are threads for them.
    #[test]
    fn a_request_for_a_mounted_application_is_never_immediate() {
        let app = Dispatcher::new(Immediate(says("site"))).mount("/slow", says("slow")).unwrap();
        for (target, expected) in [
            ("/other", true),
            ("/slower", true),
            ("/slow", false),
            ("/slow/x", false),
            ("//slow/x", false),
            ("/sl%6fw/x", false),
            ("http://localhost/slow/x", false),
            ("http://localhost/other", true),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
            let mut parser = HeadParser::new(HeadOptions::default());
            parser.parse(&head, head.len()).unwrap();
            assert_eq!(app.is_immediate(parser.head(&head), &mut || {}), expected, "{target}");
        }
    }

    /// An application such as a folder, which says of all requests that they are immediate.
    struct Immediate<A>(A);

    impl<A: Application> Application for Immediate<A> {
        fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
            self.0.call(environ, start_response)
        }

        fn is_immediate(&self, _: Head<'_>, _: &mut dyn FnMut()) -> bool {
            true
        }
    }

    #[test]
    fn a_prefix_that_cannot_match_is_refused() {
        for prefix in ["api", "/api/", "/", "", "/a//b", "/a/../b", "/a?b"] {
            let error = Dispatcher::new(says("a")).mount(prefix, says("b")).unwrap_err();
            assert!(error.to_string().contains("begins with a slash"), "{error}");
        }
        let error = Dispatcher::new(says("a")).mount("/b", says("b")).unwrap().mount("/b", says("c")).unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
    }
}
