//! The contract between server and application: PEP 3333 in Rust.
//!
//! A server calls an [`Application`] once for each request. The application receives an [`Environ`], which describes
//! the request, and a [`StartResponse`], which takes the status and the header fields, and it returns a [`Body`]. A
//! plain function is an application. Middleware is an application that holds another one:
//!
//! ```
//! use amboss_core::{AppError, Application, Body, Environ, StartResponse};
//!
//! fn hello(_environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from("Hello world!\n"))
//! }
//!
//! /// Responds to health checks, and passes every other request to the application.
//! struct Health<A>(A);
//!
//! impl<A: Application> Application for Health<A> {
//!     fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!         if environ.path() == "/health" {
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
//! The servers of this crate fulfil what PEP 3333 requires of a server: the head is sent with the first non-empty
//! block, a body is dropped (PEP 3333's `close()`) exactly once, and an error after the head aborts the connection.

mod application;
mod body;
mod byte_str;
mod client;
mod environ;
mod error;
mod extensions;
mod input;
mod peer;
mod server_info;
mod start_response;

pub use application::Application;
pub use body::Body;
pub(crate) use body::{Blocks, FileBlocks, Kind, OnClose};
pub use byte_str::ByteStr;
pub use client::Client;
pub(crate) use client::Presence;
pub use environ::Environ;
pub use error::{AppError, InputError, InputErrorKind, StartError, StartErrorKind};
pub use extensions::Extensions;
pub(crate) use input::Source;
pub use input::{Collected, Input};
pub use peer::Peer;
pub(crate) use server_info::{ConnectionInfo, ServerInfo};
pub use start_response::StartResponse;
