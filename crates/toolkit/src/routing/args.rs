//! The arguments of the rules that a request matched.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use amboss_core::Environ;

use super::error::{RouteError, RouteErrorKind};
use super::routes::{Found, Place, Routes};
use super::segment::Span;

/// The arguments of the rule that a request matched, and of the prefixes and the host that led to it. A router puts them
/// into the extensions of the environ.
///
/// ```
/// use amboss_core::{AppError, Body, Environ, StartResponse};
/// use amboss_toolkit::routing::{RouteArgs, Router};
/// use amboss_toolkit::Response;
///
/// fn user(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     let args = RouteArgs::of(environ);
///     let id = args.int("id").unwrap_or_default();
///     let next = args.url_for("user", &[("id", &(id + 1).to_string())])?;
///     Response::text(format!("User {id}; the next one is at {next}\n")).respond(start_response)
/// }
///
/// let router = Router::builder().get("/user/<int:id>", user).name("user").build()?;
/// # Ok::<(), amboss_toolkit::routing::RouteError>(())
/// ```
///
/// Values are text, percent-decoded. If a nested rule has an argument with the same name as one of the rules around it,
/// the nested one counts.
#[derive(Default)]
pub struct RouteArgs {
    /// The outermost router is first.
    frames: Vec<Frame>,
}

/// What one router found.
struct Frame {
    routes: Arc<Routes>,
    /// The SCRIPT_NAME of the router.
    script_name: Box<[u8]>,
    place: Place,
    text: Box<str>,
    spans: Box<[Span]>,
}

static NONE: RouteArgs = RouteArgs { frames: Vec::new() };

impl RouteArgs {
    /// The arguments of a request; without any if no router was asked.
    pub fn of<'e>(environ: &'e Environ<'_>) -> &'e RouteArgs {
        environ.extensions().get().unwrap_or(&NONE)
    }

    /// The value of an argument.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of an argument; empty if there is no such argument.
    pub fn str(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The value of an argument as a number. An argument `<int:…>` always has one.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.parse(name)
    }

    /// The value of an argument as another type, for example `u64` or `bool`.
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// The names and values of all arguments: those of the innermost rule first, each from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.frames.iter().rev().flat_map(|frame| {
            let values = frame.spans.iter().map(|&(first, end)| &frame.text[first as usize..end as usize]);
            frame.routes.names(frame.place).iter().map(String::as_str).zip(values)
        })
    }

    /// Builds the path of a rule by its name, as a client requests it: with the SCRIPT_NAME of the router,
    /// percent-encoded, and with the values that the rule does not take as the query.
    ///
    /// The names are those of the router that called the application, as in [`Router::url_for`](super::Router::url_for),
    /// then those of the routers around it.
    ///
    /// # Errors
    /// The name is unknown, or a value is missing or not one that the rule matches.
    pub fn url_for(&self, name: &str, values: &[(&str, &str)]) -> Result<String, RouteError> {
        for frame in self.frames.iter().rev() {
            match frame.routes.url_for(&frame.script_name, name, values) {
                Err(error) if error.kind() == RouteErrorKind::UnknownName => {}
                result => return result,
            }
        }
        let message = format!("no rule of the routers that called this application has the name {name:?}");
        Err(RouteError::new(RouteErrorKind::UnknownName, message))
    }

    /// The arguments that one router found.
    pub(super) fn new(routes: &Arc<Routes>, script_name: &[u8], found: &Found<'_, '_>) -> RouteArgs {
        let (text, spans) = found.arguments();
        let (routes, place) = (Arc::clone(routes), found.place);
        let frame = Frame { routes, script_name: script_name.into(), place, text: text.into(), spans: spans.into() };
        RouteArgs { frames: vec![frame] }
    }

    /// Adds the arguments of a nested router.
    pub(super) fn append(&mut self, mut nested: RouteArgs) {
        self.frames.append(&mut nested.frames);
    }
}

impl fmt::Debug for RouteArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
