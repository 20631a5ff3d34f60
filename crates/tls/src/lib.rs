//! TLS for amboss: certificates made, read and renewed, and handshakes that hold no thread.
//!
//! ```no_run
//! use amboss_core::{make_server, Address, AppError, Body, Concurrency, Environ, Settings, StartResponse};
//! use amboss_tls::SslContext;
//!
//! fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from("Hello over TLS!\n"))
//! }
//!
//! let mut settings = Settings::default();
//! settings.transport = Some(SslContext::adhoc()?.layer());
//! make_server(&[Address::new("localhost", 5000)], hello, Concurrency::Threads, settings)?.serve_forever()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`SslContext`]: what a server speaks TLS with; made by itself ([`adhoc`](SslContext::adhoc)), from files that are
//!   read again when they change, or from a rustls configuration.
//! - [`make_ssl_devcert`]: a certificate and its key in two files.
//! - [`LocalCa`]: an authority of this user's own, to be trusted once, and certificates from it.
//!
//! Inside, from the bottom up: `records` (rustls, in memory) → `transport` (sockets) → `context`; `session` says what a
//! handshake led to. Certificates are made in `make`, `adhoc` and `ca`, read in `read` and `cert_info`, renewed in `renew`.
#![warn(missing_docs)]

mod adhoc;
mod ca;
mod cert_info;
mod context;
mod error;
mod files;
mod host;
mod make;
mod plain_http;
mod read;
mod records;
mod renew;
mod session;
mod transport;

pub use ca::LocalCa;
pub use context::{ClientCertificates, SslContext};
pub use error::{SslError, SslErrorKind};
pub use make::make_ssl_devcert;
pub use plain_http::PlainHttpPolicy;
pub use rustls;
