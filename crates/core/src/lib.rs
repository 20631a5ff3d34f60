//! A synchronous HTTP/1.1 server with a WSGI-shaped application interface. Nothing but std.
//!
//! ```no_run
//! use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
//!
//! fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from(format!("Hello {}!\n", environ.text("REMOTE_ADDR"))))
//! }
//!
//! fn main() -> Result<(), amboss_core::ServeError> {
//!     ThreadedWsgiServer::bind("localhost:5000", hello)?.serve_forever()
//! }
//! ```
//!
//! Three layers, each usable without the one above it:
//!
//! - [`http`]: bytes in, messages out; no sockets, no clock, no threads.
//! - [`wsgi`]: the contract between server and application (PEP 3333 in Rust).
//! - [`server`]: sockets; one loop, three servers.
#![warn(missing_docs)]

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod server;
pub mod wsgi;

pub use server::*;
pub use wsgi::{
    AppError, Application, Body, ByteStr, Client, Collected, Environ, Extensions, Input, InputError, InputErrorKind,
    Peer, StartError, StartErrorKind, StartResponse,
};
