//! The contract between server and application (PEP 3333), sentence by sentence.
//!
//! - `start_response`: `start`, `begin` and `write`; heads that are refused.
//! - `errors`: what an application's error costs, and what the client sees of it.
//! - `panics`: the same for panics, wherever application code runs.
//! - `drops`: what the server drops for the application.
//! - `body`: blocks, lengths, and the one drop.
//! - `files`: bodies that are files.
//! - `input`: the request's body as the application reads it.
//! - `collect`: bodies that are complete before the application is called.
//! - `expect`: when `100 Continue` is sent.
//! - `environ`: what may be changed in it.
//! - `client`: what is kept with its connection, whether it has left, what it is told ahead.
//! - `middleware`: applications around applications, and the request handler.

mod start_response;

mod errors;

pub mod panics;

#[cfg(unix)]
pub mod panicking_log;

mod drops;

mod body;

mod files;

mod collect;

mod input;

mod expect;

mod environ;

mod client;

mod middleware;

use amboss_core::{AppError, Body, Environ, StartResponse};

/// Pins down the shape of a closure, so that it needs no annotations.
fn app<F>(f: F) -> F
where
    F: Fn(&mut Environ<'_>, &mut dyn StartResponse) -> Result<Body, AppError> + Send + Sync,
{
    f
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
