//! Pages that explain failures: an error or a panic of an application in Rust, an exception of an application in another
//! language, and a build or a start that failed. All three have one model, [`FailureReport`], and one design.
//!
//! ```no_run
//! use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
//! use amboss_debugger::DebugPages;
//!
//! fn app(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from(std::fs::read("anvil.txt")?))
//! }
//!
//! ThreadedWsgiServer::bind("localhost:5000", DebugPages::new(app))?.serve_forever()?;
//! # Ok::<(), amboss_core::ServeError>(())
//! ```
//!
//! | source | constructor |
//! |---|---|
//! | an error and its causes | [`FailureReport::from_error`] |
//! | a panic with its backtrace | [`FailureReport::from_panic`] |
//! | an exception that another runtime has collected | [`FailureReport::from_json`] |
//! | the output of a failed build or start | [`FailureReport::from_output`] |
//!
//! [`Page::render`] makes the response: HTML for browsers, plain text for terminals, JSON for programs, as [`negotiate`]
//! chooses by the `Accept` field. [`DebugPages`] does all of this for an application in Rust.
//!
//! # Safety
//!
//! A report is for developers: it shows source code, the request and the environ. Passwords, tokens, cookies and other
//! values whose names say that they are secret are masked when the report is made, but a message or a source line can
//! contain one. [`DebugPages`] responds only to clients on this machine, unless it is told otherwise. The HTML page
//! escapes everything, loads nothing from elsewhere, and its Content-Security-Policy allows only its own style and script.
#![warn(missing_docs)]

mod ansi;
mod backtrace;
mod editor;
mod frame;
mod html;
mod json;
mod middleware;
mod negotiate;
mod output;
mod page;
mod project;
mod render;
mod report;
mod request;
mod secrets;
mod text;
mod visible;

pub use editor::Editor;
pub use frame::Frame;
pub use json::JsonError;
pub use middleware::{explain_error, is_from_this_machine, DebugPages, Explain};
pub use negotiate::{negotiate, Format};
pub use page::Page;
pub use project::Project;
pub use render::Rendered;
pub use report::FailureReport;
pub use request::RequestInfo;
