//! The contract between server and application: PEP 3333 in Rust.
//!
//! An [`Application`] is called once for each request, with an [`Environ`] that describes it and a [`StartResponse`]
//! that takes status and header fields, and returns a [`Body`]. A plain function is an application, and middleware is
//! an application that holds one:
//!
//! ```
//! use amboss_core::{AppError, Application, Body, Environ, StartResponse};
//!
//! fn hello(_environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from("Hello world!\n"))
//! }
//!
//! /// Answers a health check itself, and passes everything else on.
//! struct Health<A>(A);
//!
//! impl<A: Application> Application for Health<A> {
//!     fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!         if environ.path() == &b"/health"[..] {
//!             start_response.start("204 No Content", &[])?;
//!             return Ok(Body::empty());
//!         }
//!         self.0.call(environ, start_response)
//!     }
//! }
//!
//! let app = Health(hello);
//! # fn is_application(_: impl Application) {}
//! # is_application(app);
//! ```
//!
//! What PEP 3333 asks of a server is kept by this crate's servers: the head is sent with the first non-empty block, a
//! body is dropped (PEP 3333's `close()`) exactly once, an error after the head cuts the connection.

mod application;
mod body;
mod client;
mod environ;
mod input;
mod start_response;

pub use application::{AppError, Application};
pub use body::Body;
pub(crate) use body::{Blocks, FileBlocks, Kind, OnClose};
pub use client::Client;
pub(crate) use client::Presence;
pub(crate) use environ::{ConnectionInfo, ServerInfo};
pub use environ::{Environ, Extensions, Peer};
pub(crate) use input::Source;
pub use input::{Collected, Input, InputError};
pub use start_response::{StartError, StartResponse};
