//! What stands around a WSGI-shaped application on a server of [amboss](https://docs.rs/amboss-core): requests and
//! responses after Werkzeug's, forms and uploads, routing, middleware, static files, CGI in both directions, and a test
//! client. Everything is synchronous. Applications are ordinary functions and values: there are no macros.
//!
//! ```
//! use amboss_toolkit::client::Client;
//! use amboss_toolkit::routing::{RouteArgs, Router};
//! use amboss_toolkit::{request_app, HttpError, Response};
//!
//! let greet = request_app(|request| {
//!     let name = RouteArgs::of(request.environ()).str("name").to_owned();
//!     match request.args().get("times").unwrap_or("1").parse() {
//!         Ok(times @ 1..=9) => Ok(Response::text(format!("Hello {name}!\n").repeat(times))),
//!         _ => Err(HttpError::bad_request("Choose a number from 1 to 9.")),
//!     }
//! });
//! let app = Router::builder().get("/", Response::html("<h1>Hello</h1>")).get("/hello/<name>", greet).build()?;
//!
//! // A server serves the application: ThreadedWsgiServer::bind("localhost:5000", app)?.serve_forever()?
//! // A test calls it without a socket:
//! let client = Client::new(app);
//! assert_eq!(client.get("/hello/Ada?times=2").send()?.text(), "Hello Ada!\nHello Ada!\n");
//! assert_eq!(client.get("/hello/Ada?times=1000").send()?.status(), 400);
//! assert_eq!(client.post("/hello/Ada").send()?.header("Allow"), Some("GET, HEAD, OPTIONS"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contents
//!
//! Every part can be used without the others, since all of them meet at amboss-core's
//! [`Application`](amboss_core::Application) and [`Environ`](amboss_core::Environ).
//!
//! | module or type | contents |
//! |---|---|
//! | [`Request`], [`Response`], [`HttpError`] | the environ as a handler reads it, what a handler returns, and its early end with `?`; [`request_app`] makes an application of a handler |
//! | [`form`] | fields and files of forms, with limits on everything: urlencoded, and `multipart/form-data` |
//! | [`routing`] | rules with arguments after Werkzeug's, methods, hosts, routers inside routers, and URLs by name |
//! | [`middleware`] | allowed and virtual hosts, applications by prefix, proxies, health checks, timing, compression |
//! | [`files`] | folders and single files, with conditional requests, ranges, listings, and no way out of the folder |
//! | [`cgi`] | an application as a CGI script, and CGI scripts as an application |
//! | [`client`] | a test client, for applications and for running servers |
//! | `ReverseProxy` | an application that passes requests on to another server, behind the feature `proxy` |
//!
//! The examples are `api`, `upload`, `files`, `oauth_callback` and `cgi_hello`; the first lines of each say how to run it
//! and what to try. `cargo run -p amboss-toolkit --example upload` runs one; `api` and `oauth_callback` need
//! `--features json`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `json` | no | JSON by serde: `Request::json`, `Response::json`, and the same for the test client |
//! | `gzip` | no | `middleware::Gzip`, which compresses responses |
//! | `live` | no | `client::Client::live`, which sends the requests to a running server |
//! | `proxy` | no | `ReverseProxy`, an application that passes requests on to another server |
//! | `fuzzing` | no | the bodies of the fuzz targets, for this crate's own tests only; not part of the API |
#![warn(missing_docs)]

pub mod cgi;
pub mod client;
mod cookies;
mod error;
pub mod files;
pub mod form;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod head_path;
mod headers;
mod media_type;
pub mod middleware;
mod multi_dict;
mod negotiation;
mod percent;
mod prefix;
mod request;
mod response;
#[cfg(feature = "proxy")]
mod reverse_proxy;
pub mod routing;

pub use cookie;
pub use error::{abort, HttpError};
pub use headers::Headers;
pub use multi_dict::MultiDict;
pub use negotiation::{ByteRange, ByteRanges, ETag, ETags, Resolved};
pub use request::{request_app, Accept, Request, RequestApp};
pub use response::Response;
#[cfg(feature = "proxy")]
pub use reverse_proxy::{ReverseProxy, ReverseProxyError};

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
