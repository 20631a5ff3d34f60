//! Serve an application with one call: [`run_simple`], as in `werkzeug.serving`.
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
//! Applications need only this crate: it re-exports the items of `amboss-core` and, with the feature `tls`, of
//! `amboss-tls` that they use. A program that needs only a server and wants no other dependency uses `amboss-core`
//! alone.
//!
//! # Architecture
//!
//! ```text
//!   the command `amboss`          Python: `amboss.run_simple`, `python -m amboss`
//!          │                                      │
//!          ▼                                      ▼
//!   cli, config, ops (feature `cli`)       crates/python (PyO3)
//!          │                                      │
//!          └──────────────┬───────────────────────┘
//!                         ▼
//!   ServerBuilder, run_simple                     this crate
//!          │
//!          ├── supervise (feature `reload`) ──► amboss-reload: watch, build, processes, supervisor
//!          ├── live_reload                        a script in HTML responses
//!          ├── SslContext (feature `tls`) ────► amboss-tls: rustls below HTTP, certificates
//!          ├── debugger (feature `debugger`) ─► amboss-debugger: pages that explain failures
//!          ├── toolkit (feature `toolkit`) ───► amboss-toolkit: requests, routing, files, middleware, CGI, test client
//!          ▼
//!   amboss-core (std only)
//!          ├── server   event loops, drivers, connections; sockets, deadlines, logs
//!          ├── wsgi     the contract between server and application (PEP 3333)
//!          └── http     bytes in, messages out: heads, framing, chunked coding
//! ```
//!
//! `cli` parses the command line; `config` has the table of settings, from which flags, environment variables, files and
//! their documentation are made; `ops` has the tools around a server. Each layer knows only those below it. The first lines of `crates/core/src/server/mod.rs` show the path of a request
//! through `amboss-core` as a call tree, with a glossary.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `cli` | yes | the binary `amboss`; clap, ctrlc, signal-hook |
//! | `tls` | yes | HTTPS; rustls, rcgen |
//! | `toolkit` | with `cli` | [`toolkit`]: requests and responses, routing, forms, middleware, files, CGI, a test client |
//! | `debugger` | with `cli` | [`debugger`]: pages that explain failures; with `toolkit` |
//! | `reload` | yes | reloading and worker processes, on Unix; notify |
//!
//! With `default-features = false`, `run_simple` and the rest of this crate depend on `amboss-core` alone.

/// Writes a line to stderr. An error is ignored: a closed stderr must not stop the server.
macro_rules! say {
    ($($word:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($word)*);
    }};
}

mod app_loader;
mod assemble;
mod banner;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "debugger")]
mod debug_pages;
#[cfg(feature = "cli")]
mod dev_app;
mod error;

#[cfg(all(unix, feature = "reload", feature = "cli"))]
mod host_program;
#[cfg(all(unix, feature = "reload"))]
mod launch_plan;
mod live_reload;
#[cfg(feature = "cli")]
mod ops;
mod option_checks;
mod options;
#[cfg(all(unix, feature = "cli"))]
mod pid_file;
#[cfg(all(unix, feature = "reload"))]
mod reload_options;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod run_as;
mod server_builder;
#[cfg(all(unix, feature = "reload"))]
mod supervise;
#[cfg(feature = "toolkit")]
mod surroundings;
#[cfg(any(feature = "cli", all(unix, feature = "reload")))]
mod sync;
mod worker;

pub use amboss_core::http::{HeadLimits, Leniency};
pub use amboss_core::{
    hijack, make_server, make_server_from_systemd, make_server_on, on_upgrade, wants_color, AccessFormat,
    AccessFormatError, AccessRecord, Address, AddressError, AppError, Application, BaseWsgiServer, Body, BodyMode,
    Client, CloseReason, Collected, Concurrency, DetachedId, Environ, Extensions, FailureResponse, ForkingWsgiServer,
    ForwardedHops, ForwardedHopsError, Handshake, HandshakeInfo, IdleConnection, Input, InputError, InputErrorKind,
    Interest, Limits, Listeners, LocalAddr, Log, LogFormat, NoLog, Peer, ProxyOrigin, ProxyProtocol, ProxySettings,
    Receiver, RequestHandler, RequestId, ResponseFilter, Runtime, ServeError, ServeErrorKind, Server, Settings,
    ShutdownHandle, Socket, StartError, StartErrorKind, StartResponse, StoredBody, TextLog, ThreadedWsgiServer,
    Timeouts, Transport, TransportLayer, TransportWaker, TrustedPeers, TrustedPeersError, Upgraded, WriteProgress,
};
#[cfg(unix)]
pub use amboss_core::{Guest, GuestEvents};
#[cfg(feature = "tls")]
pub use amboss_tls::{
    make_ssl_devcert, ClientCertificates, LocalCa, PlainHttpPolicy, SslContext, SslError, SslErrorKind, TlsVersion,
};
pub use app_loader::{AppLoader, ServeEnd, StaticApp};
pub use banner::banner;
#[cfg(feature = "cli")]
pub use dev_app::DevApp;
pub use error::{RunError, RunErrorKind};
#[cfg(all(unix, feature = "reload"))]
pub use launch_plan::{ForkWith, LaunchPlan, SourceKnowledge};
pub use options::RunOptions;
#[cfg(all(unix, feature = "reload"))]
pub use reload_options::{OnLoadFailure, ReloaderType};
#[cfg(all(target_os = "linux", feature = "cli"))]
pub use run_as::RunAs;
pub use server_builder::{run_simple, ServerBuilder};
#[cfg(all(unix, feature = "reload"))]
pub use supervise::{exec_as_child, is_running_from_reloader, report_files_before_exit, Forked};
pub use worker::Worker;

/// Requests and responses, forms, routing, middleware, static files, CGI and a test client: the crate `amboss-toolkit`.
#[cfg(feature = "toolkit")]
pub use amboss_toolkit as toolkit;

/// Pages that explain failures, and the middleware that responds with them: the crate `amboss-debugger`.
#[cfg(feature = "debugger")]
pub use amboss_debugger as debugger;
