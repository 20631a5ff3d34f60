//! The contract between server and application (PEP 3333), requirement by requirement.
//!
//! - `start_response`: `start`, `begin` and `write`; heads that are refused.
//! - `errors`: errors of the application, and what the client sees of them.
//! - `panics`: panics wherever application code runs.
//! - `panicking_log`: a log that panics.
//! - `panicking_drops`: panics when the server drops values of the application.
//! - `body`: blocks and lengths of a response body, and when it is dropped.
//! - `files`: response bodies that are files.
//! - `input`: the request body as the application reads it.
//! - `collected_bodies`: request bodies that are complete before the application is called.
//! - `expect`: when `100 Continue` is sent.
//! - `environ`: what middleware may change in it.
//! - `client`: connection extensions, detecting that the client has left, early hints.
//! - `middleware`: wrapped applications, and the request handler.

mod start_response;

mod errors;

pub mod panics;

#[cfg(unix)]
pub mod panicking_log;

mod panicking_drops;

mod body;

mod files;

mod collected_bodies;

mod input;

mod expect;

mod environ;

mod client;

mod middleware;

use amboss_core::{AppError, Body, Environ, StartResponse};

/// Gives a closure the type of an application, so that its parameters need no annotations.
fn app<F>(f: F) -> F
where
    F: Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> + Send + Sync,
{
    f
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
