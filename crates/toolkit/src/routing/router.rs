//! The router as an application.

use std::sync::Arc;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use super::args::RouteArgs;
use super::error::RouteError;
use super::routes::{Lookup, Routes};
use super::url::location;
use crate::error::HttpError;
use crate::head_path::decoded_path;
use crate::response::Response;

/// An application that passes each request to the application of the rule that matches; see the
/// [module](crate::routing) for the rules. Cloning it is cheap: the clones share one table.
#[derive(Clone, Debug)]
pub struct Router {
    pub(super) routes: Arc<Routes>,
}

/// What a router does with a request, without what the environ lends.
enum Step<'r> {
    Call { app: &'r dyn Application, args: RouteArgs, moved: Option<Moved> },
    Redirect(Vec<u8>),
    Options(Option<String>),
    NotAllowed(String),
    NotFound,
}

/// The SCRIPT_NAME and PATH_INFO of a mounted application.
type Moved = (Vec<u8>, Vec<u8>);

impl Router {
    /// Finds what matches a request: the host (the value of the field, if there is one), the method, and the path,
    /// percent-decoded. Does not ask the routers inside.
    ///
    /// ```
    /// use amboss_toolkit::routing::{Lookup, Router};
    /// use amboss_toolkit::Response;
    ///
    /// let router = Router::builder().get("/user/<int:id>", Response::text("a user")).build()?;
    /// let Lookup::Found(found) = router.find(None, "GET", "/user/42") else { panic!("the rule matches") };
    /// assert_eq!((found.rule(), found.get("id")), ("/user/<int:id>", Some("42")));
    /// assert!(matches!(router.find(None, "GET", "/user/ada"), Lookup::NotFound));
    /// # Ok::<(), amboss_toolkit::routing::RouteError>(())
    /// ```
    pub fn find<'p>(&self, host: Option<&str>, method: &str, path: &'p str) -> Lookup<'_, 'p> {
        match host.and_then(|host| self.routes.find_host(host)) {
            Some(found) => Lookup::Found(found),
            None => self.routes.find(method, path),
        }
    }

    /// Builds the path of a rule by its name, percent-encoded, and with the values that the rule does not take as the
    /// query. The path begins at the router: inside a request, [`RouteArgs::url_for`] knows where the router is mounted.
    ///
    /// A rule of a router that is mounted with a name has the names of both, joined by a dot.
    ///
    /// ```
    /// use amboss_toolkit::routing::Router;
    /// use amboss_toolkit::Response;
    ///
    /// let api = Router::builder().get("/user/<name>", Response::text("a user")).name("user").build()?;
    /// let router = Router::builder().mount("/api", api).name("api").build()?;
    /// assert_eq!(router.url_for("api.user", &[("name", "ä b"), ("page", "2")])?, "/api/user/%C3%A4%20b?page=2");
    /// assert!(router.url_for("api.user", &[("name", "a/b")]).is_err());
    /// # Ok::<(), amboss_toolkit::routing::RouteError>(())
    /// ```
    ///
    /// # Errors
    /// The name is unknown, or a value is missing or not one that the rule matches.
    pub fn url_for(&self, name: &str, values: &[(&str, &str)]) -> Result<String, RouteError> {
        self.routes.url_for(b"", name, values)
    }

    fn step(&self, environ: &Environ<'_>) -> Step<'_> {
        let script_name = environ.get("SCRIPT_NAME").unwrap_or_default();
        let host = environ.header("Host");
        if let Some(found) = host.as_ref().and_then(|host| self.routes.find_host(host.to_str().ok()?)) {
            return Step::Call {
                app: found.app(),
                args: RouteArgs::new(&self.routes, &script_name, &found),
                moved: None,
            };
        }
        let (method, path) = (environ.method(), environ.path());
        // `OPTIONS *` concerns the server as a whole (RFC 9110 §9.3.7).
        if method == "OPTIONS" && path.is_empty() && script_name.is_empty() {
            return Step::Options(None);
        }
        let (Ok(method), Ok(path)) = (method.to_str(), path.to_str()) else { return Step::NotFound };
        match self.routes.find(method, path) {
            Lookup::Found(found) => {
                let moved = found.prefix.map(|at| {
                    let (prefix, rest) = path.as_bytes().split_at(at);
                    ([&script_name, prefix].concat(), rest.to_vec())
                });
                Step::Call { app: found.app(), args: RouteArgs::new(&self.routes, &script_name, &found), moved }
            }
            Lookup::Redirect(path) => Step::Redirect(location(&script_name, &path, &environ.query())),
            Lookup::MethodNotAllowed(allowed) if method == "OPTIONS" => Step::Options(Some(allowed.join(", "))),
            Lookup::MethodNotAllowed(allowed) => Step::NotAllowed(allowed.join(", ")),
            Lookup::NotFound => Step::NotFound,
        }
    }
}

impl Application for Router {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match self.step(environ) {
            Step::Call { app, args, moved } => {
                if let Some((script_name, path)) = moved {
                    environ.set("SCRIPT_NAME", script_name);
                    environ.set("PATH_INFO", path);
                }
                match environ.extensions_mut().get_mut::<RouteArgs>() {
                    Some(outer) => outer.append(args),
                    None => environ.extensions_mut().insert(args),
                }
                app.call(environ, start_response)
            }
            Step::Redirect(location) => Response::empty(308).with_header("Location", location).respond(start_response),
            Step::Options(allowed) => {
                let response = Response::empty(204);
                match allowed {
                    Some(allowed) => response.with_header("Allow", allowed).respond(start_response),
                    None => response.respond(start_response),
                }
            }
            Step::NotAllowed(allowed) => HttpError::new(405)
                .with_description(format!("This address accepts {allowed} only."))
                .with_header("Allow", allowed)
                .respond(start_response),
            Step::NotFound => HttpError::new(404)
                .with_description("There is nothing at this address. Check its spelling.")
                .respond(start_response),
        }
    }
    /// Redirects and refusals are immediate. Of a rule, its application decides; that of a mount is not asked, since the
    /// head still has the prefix.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let host = std::str::from_utf8(head.host()).ok();
        let (Some(path), Ok(method)) = (decoded_path(&head), std::str::from_utf8(head.method())) else { return false };
        let Ok(path) = std::str::from_utf8(&path) else { return true };
        match self.find(host, method, path) {
            Lookup::Found(found) => {
                found.prefix.is_none_or(|at| at == 0) && found.app().is_immediate(head, before_blocking)
            }
            Lookup::Redirect(_) | Lookup::MethodNotAllowed(_) | Lookup::NotFound => true,
        }
    }
}
