//! [`RootPath`].

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::dispatcher::PrefixError;
use crate::head_path::decoded_path;
use crate::prefix::can_match;

/// Middleware for an application that clients find below a path, such as `/shop`, because a proxy passes on only what is
/// below it.
///
/// `SCRIPT_NAME` becomes that path, so that the application builds its links with it. It does not matter whether the
/// proxy removes the path from the target: from a path that begins with it, `PATH_INFO` loses it, and another path stays
/// as it is. If a trusted proxy has named a prefix itself (`X-Forwarded-Prefix`), that one counts.
#[derive(Debug)]
pub struct RootPath<A> {
    app: A,
    path: String,
}

impl<A: Application> RootPath<A> {
    /// Makes the middleware for an application below this percent-decoded path. A slash at its end has no meaning.
    ///
    /// # Errors
    /// A path that does not begin with a slash, or that has a part that no path has.
    pub fn new(app: A, path: &str) -> Result<RootPath<A>, PrefixError> {
        if !can_match(path) {
            return Err(PrefixError::malformed(path));
        }
        Ok(RootPath { app, path: path.trim_end_matches('/').to_owned() })
    }

    /// Returns what follows the root path in a path that is below it.
    fn rest<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        path.strip_prefix(self.path.as_bytes()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl<A: Application> Application for RootPath<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        if environ.get("SCRIPT_NAME").is_none_or(|name| name.is_empty()) {
            environ.set("SCRIPT_NAME", self.path.as_bytes().to_vec());
            if let Some(rest) = self.rest(&environ.path()).map(<[u8]>::to_vec) {
                environ.set("PATH_INFO", rest);
            }
        }
        self.app.call(environ, start_response)
    }

    /// An application knows paths without the root path, which the head may still have.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        decoded_path(&head).is_some_and(|path| self.rest(&path).is_none())
            && self.app.is_immediate(head, before_blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{request_app, Response};
    use amboss_core::{create_environ, run_wsgi_app};

    #[test]
    fn the_root_path_counts_whether_or_not_a_proxy_has_removed_it() {
        let app = request_app(|request| Ok(Response::text(format!("{} {}", request.root_path(), request.path()))));
        let app = RootPath::new(app, "/shop/").unwrap();
        for (path, base, body) in [
            ("/shop/cart", "http://a", "/shop /cart"),
            ("/cart", "http://a", "/shop /cart"),
            ("/shop", "http://a", "/shop "),
            ("/shopping", "http://a", "/shop /shopping"),
            ("/cart", "http://a/other", "/other /cart"),
        ] {
            let mut owned = create_environ(path, base).unwrap();
            let response = run_wsgi_app(&app, &mut owned.environ()).unwrap();
            assert_eq!(String::from_utf8(response.body).unwrap(), body);
        }
        let refused = RootPath::new(request_app(|_| Ok(Response::text(""))), "shop");
        assert!(refused.err().is_some_and(|error| error.to_string().contains("\"shop\"")));
    }
}
