//! Routing: an application that passes each request to the application of the rule that matches, with the syntax of
//! Werkzeug's rules. Werkzeug's `float`, `fixed_digits`, `signed`, defaults, several arguments in one segment and
//! converters of one's own are left out; a rule that has them is an error.
//!
//! ```
//! use amboss_core::{AppError, Body, Environ, StartResponse};
//! use amboss_toolkit::routing::{RouteArgs, Router};
//! use amboss_toolkit::Response;
//!
//! fn user(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     let args = RouteArgs::of(environ);
//!     Response::text(format!("User {} in {}\n", args.str("id"), args.str("lang"))).respond(start_response)
//! }
//!
//! let router = Router::builder()
//!     .get("/", Response::text("Hello!\n"))
//!     .get("/<any(de,en):lang>/user/<int:id>", user)
//!     .name("user")
//!     .build()?;
//!
//! assert_eq!(router.url_for("user", &[("lang", "de"), ("id", "42"), ("tab", "a b")])?, "/de/user/42?tab=a+b");
//! # fn is_application(_: impl amboss_core::Application) {}
//! # is_application(router);
//! # Ok::<(), amboss_toolkit::routing::RouteError>(())
//! ```
//!
//! # Rules
//!
//! A rule is a path with arguments, `<name>` or `<converter:name>`. A segment holds at most one argument, and may have
//! text around it (`/v<int:major>.html`). A rule matches the percent-decoded path; a path that is not UTF-8 is not
//! found.
//!
//! | converter | accepts |
//! |---|---|
//! | `string`, the default | one segment with at least one character; `string(length=2)`, `string(minlength=2,maxlength=8)` |
//! | `int` | digits, a number up to `i64::MAX`; `int(min=1,max=99)` |
//! | `uuid` | a UUID |
//! | `any(de,en)` | one of these texts |
//! | `path` | one or more segments, without a slash at the beginning; once in a rule |
//!
//! If several rules match, the most specific one counts, whatever their order: from left to right, static text before
//! arguments with text around them, `int`, `uuid` and `any`, then `string`, then `path`, then mounted applications.
//! Among equals, the first one counts. A rule that does not take the method does not hide a less specific one that does.
//!
//! # Responses of the router
//!
//! | request | response |
//! |---|---|
//! | no rule matches | 404 |
//! | no rule takes the method | 405 with Allow |
//! | HEAD | the handler of GET, whose body the server drops, unless a rule takes HEAD |
//! | OPTIONS | 204 with Allow, unless a rule takes OPTIONS |
//! | `/a`, and the rule is `/a/` | 308 to `/a/`, with the query; the reverse is 404 |
//! | `/a//b`, and the rule is `/a/b` | 308 to `/a/b`, with the query |
//!
//! # Routers inside routers, and hosts
//!
//! [`mount`](RouterBuilder::mount) passes everything below a prefix to another application, which may be a router;
//! [`host`](RouterBuilder::host) passes all requests for a host. The response of that application counts, also if it is
//! 404. The arguments of all rules on the way are in [`RouteArgs`]. `url_for` knows the names of a router that is mounted
//! itself, and not inside of middleware.
//!
//! ```
//! use amboss_toolkit::routing::Router;
//! use amboss_toolkit::Response;
//!
//! let api = Router::builder().get("/user/<int:id>", Response::text("a user\n")).name("user").build()?;
//! let admin = Router::builder().get("/", Response::text("admin\n")).build()?;
//! let router = Router::builder()
//!     .get("/", Response::text("Hello!\n"))
//!     .mount("/api/<version>", api)
//!     .name("api")
//!     .host("admin.localhost", admin)
//!     .build()?;
//! assert_eq!(router.url_for("api.user", &[("version", "v1"), ("id", "42")])?, "/api/v1/user/42");
//! # Ok::<(), amboss_toolkit::routing::RouteError>(())
//! ```

mod args;
mod builder;
mod converter;
mod error;
mod host;
mod index;
mod router;
mod routes;
mod rule;
mod segment;
#[cfg(test)]
mod tests;
mod url;

pub use args::RouteArgs;
pub use builder::RouterBuilder;
pub use error::{RouteError, RouteErrorKind};
pub use router::Router;
pub use routes::{Found, Lookup};
