//! What the tests of this workspace share: one way to wait, one HTTP client, one guard for processes.
//!
//! | module | holds |
//! |---|---|
//! | `wait` | [`DEADLINE`], [`wait_until`], [`wait_for`]: waiting for a condition, never for a fixed time |
//! | `http`, `response` | [`Client`] and [`Response`]: an HTTP/1.1 client over any stream, down to single bytes |
//! | `process` | [`Process`]: a child process that cannot outlive its test, and what it prints |
//! | `system` | signals, children and states of other processes, by process id (Unix) |
//! | `program` | [`run`], [`curl`], [`python`], [`find_chromium`]: programs of the machine; a missing one is a [`skip`] |
//! | `files` | [`TempDir`] and [`write_atomically`] |
//! | `fuzz` | [`replay_seeds`], [`replay_mutated_seeds`]: fuzz targets without a fuzzer |
//! | `test_binary` | [`rerun`]: starts the running test binary again as a fixture |
//!
//! All functions are meant for tests: they panic when something goes wrong, with a message that says what was awaited
//! and what happened instead. Functions whose name begins with `try_` return an error.
//!
//! ```
//! use std::net::TcpListener;
//! use amboss_testkit::{wait_until, Client};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = std::thread::spawn(move || {
//!     let (stream, _) = listener.accept().unwrap();
//!     let mut peer = Client::on(stream);
//!     peer.until("\r\n\r\n");
//!     peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! });
//! let response = Client::connect(address).get("/");
//! assert_eq!((response.status, response.text().as_str()), (200, "hello"));
//! wait_until("the server has exited", || server.is_finished());
//! # Ok::<(), std::io::Error>(())
//! ```

// Panics are how a test fails, so each function would carry the same section.
#![allow(clippy::missing_panics_doc)]

mod files;
mod fuzz;
mod http;
mod process;
mod program;
mod response;
#[cfg(unix)]
mod system;
mod test_binary;
mod wait;

pub use files::{write_atomically, TempDir};
pub use fuzz::{check_target_files, replay_mutated_seeds, replay_seeds, FuzzTarget};
pub use http::{find, Client, End};
pub use process::{OnDrop, Process};
pub use program::{curl, find_chromium, is_installed, python, run, run_with_timeout, skip, try_curl, Output};
pub use response::Response;
#[cfg(unix)]
pub use system::{
    child_processes, group_is_alive, is_alive, proc_entries, send_signal, send_signal_to_group, PausedProcess,
};
pub use test_binary::{rerun, rerun_arguments};
pub use wait::{poll_until, wait_for, wait_until, wait_until_within, DEADLINE};
