//! Sockets: event loops, and three servers that run them in three ways.
//!
//! ```no_run
//! use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
//!
//! fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from("Hello world!\n"))
//! }
//!
//! let mut server = ThreadedWsgiServer::bind("localhost:5000", hello)?;
//! println!("http://{}/", server.local_addrs()[0]);
//! server.serve_forever()?;
//! # Ok::<(), amboss_core::ServeError>(())
//! ```
//!
//! # Platforms
//!
//! Everything here was run on Linux on x86-64, with epoll and with poll(2). On Linux on aarch64 it was run in an emulator
//! (QEMU), on Windows (x86-64) under Wine, where the same loop waits with `WSAPoll` and there is no forking, no Unix socket
//! and no inherited socket. The code for macOS and the BSDs, poll(2) and std's `accept`, is compiled and linted for macOS,
//! and has not been run.
// TODO glossary and call tree

// What only forking needs is unused where nothing forks.
#![cfg_attr(not(unix), allow(dead_code))]

mod body_store;
pub(crate) mod connection;
mod error;
mod event_loop;
#[cfg(test)]
mod fixtures;
mod handler;
mod handover;
mod hijack;
mod io;
pub(crate) mod listener;
mod log;
mod loop_group;
mod panics;
mod receiver;
mod run;
pub(crate) mod scheduler;
#[allow(clippy::module_inception)]
mod server;
pub(crate) mod service;
mod settings;
mod shutdown;
mod sync;
mod sys;
mod upgrade;

pub use error::ServeError;
pub use handler::{BodyMode, RequestHandler};
pub use handover::{IdleConnection, StoredBody};
pub use hijack::hijack;
pub use io::address::{Address, AddressError, LocalAddr};
#[doc(hidden)]
pub use io::poller::PollerKind;
pub use io::transport::{Handshake, Misplaced, Session, Socket, Transport, TransportLayer};
pub use listener::Listeners;
pub use log::{wants_color, AccessRecord, CloseReason, Log, LogFormat, NoLog, TextLog};
pub use receiver::Receiver;
pub use server::{
    make_server, make_server_from_systemd, make_server_on, BaseWsgiServer, Concurrency, ForkingWsgiServer, Server,
    ThreadedWsgiServer,
};
pub use settings::{Fork, Limits, MayHandOver, Settings, Timeouts};
pub use shutdown::ShutdownHandle;
pub use upgrade::{on_upgrade, Upgraded};
