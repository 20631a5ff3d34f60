//! TLS for [amboss](https://docs.rs/amboss-core): HTTPS for a synchronous server, without a thread per handshake.
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
//! - [`SslContext`] holds the TLS settings of a server. Its certificate is generated ([`adhoc`](SslContext::adhoc)), or
//!   comes from PEM files that are loaded again when they change ([`from_files`](SslContext::from_files)), or from a
//!   rustls configuration ([`from_config`](SslContext::from_config)).
//!   [`with_certificate`](SslContext::with_certificate) adds certificates for clients that ask for their names.
//! - [`ClientCertificates`] says whether clients are asked for certificates, and [`PlainHttpPolicy`] what happens to
//!   plain HTTP on the same port.
//! - [`make_ssl_devcert`] writes a self-signed certificate and its key to two files, as Werkzeug's function of the same
//!   name does.
//! - [`LocalCa`] is a certificate authority of the user's own, which issues certificates for development.
//! - [`SslError`] says in one line why a certificate, a key or a setting cannot be used, and what to do.
//!
//! # Dependencies
//!
//! There is no async runtime and no OpenSSL. [rustls](https://docs.rs/rustls) with
//! [ring](https://docs.rs/ring) speaks TLS, [rcgen](https://docs.rs/rcgen) generates certificates, and
//! [pem](https://docs.rs/pem), [yasna](https://docs.rs/yasna) and [tempfile](https://docs.rs/tempfile) read and write
//! them. [`rustls`] is re-exported, so that a configuration for `from_config` has the same version. The crate has no
//! features. It needs Rust 1.88.
//!
//! # Modules
//!
//! Each module imports only modules below it:
//!
//! | module | purpose |
//! |---|---|
//! | `context` | the settings of a server |
//! | `resolver`, `cert_names` | which certificate a handshake uses |
//! | `reloading_cert`, `adhoc`, `local_ca` | where certificates come from: reloaded files, the cache folder, the local authority |
//! | `transport`, `encrypted_stream` | a connection: protocol detection and handshake, then reading and writing |
//! | `record_layer` | TLS records in memory, by rustls |
//! | `session`, `tls_error` | the variables after a handshake, and the log message when it fails |
//! | `generate`, `load`, `cert_info` | generating certificates, loading and checking PEM files, reading certificates |
//! | `host`, `files`, `plain_http`, `error` | values and files that the others share |
#![warn(missing_docs)]

mod adhoc;
mod cert_info;
mod cert_names;
mod context;
mod encrypted_stream;
mod error;
mod files;
mod generate;
mod host;
mod load;
mod local_ca;
mod plain_http;
mod record_layer;
mod reloading_cert;
mod resolver;
mod server_config;
mod session;
mod tls_error;
mod transport;

pub use context::{ClientCertificates, SslContext};
pub use error::{SslError, SslErrorKind};
pub use generate::make_ssl_devcert;
pub use local_ca::LocalCa;
pub use plain_http::PlainHttpPolicy;
pub use rustls;
pub use server_config::TlsVersion;
