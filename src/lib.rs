//! A server in one line: [`run_simple`], as in `werkzeug.serving`.
//!
//! ```no_run
//! use amboss::{run_simple, AppError, Body, Environ, RunOptions, StartResponse};
//!
//! fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from("Hello world!\n"))
//! }
//!
//! run_simple("localhost", 5000, hello, RunOptions::default())?;
//! # Ok::<(), amboss::RunError>(())
//! ```
//!
//! Everything of `amboss-core` is here, too, and with the feature `tls` (on by default) what `amboss-tls` has:
//! applications need only this crate.

/// Says a line on stderr, if somebody is there to read it: a reader that has left keeps no server from what it is about to
/// do.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($word)*);
    }};
}

mod banner;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod dev_app;
mod host;
mod live_reload;
#[cfg(all(unix, feature = "reload"))]
mod reload;
mod run;

pub use amboss_core::*;
#[cfg(feature = "tls")]
pub use amboss_tls::{make_ssl_devcert, ClientCertificates, LocalCa, PlainHttp, SslContext, SslError, SslErrorKind};
pub use banner::banner;
#[cfg(feature = "cli")]
pub use dev_app::DevApp;
pub use host::{Host, Worker};
#[cfg(all(unix, feature = "reload"))]
pub use reload::{exec_as_child, is_running_from_reloader, BrokenSave, ForkWith, Forked, ReloaderType};
#[cfg(all(unix, feature = "reload"))]
pub use run::run_forked;
pub use run::{make_run_server, make_run_server_on, run_host, run_on, run_simple, RunError, RunOptions};
