//! Sockets: one loop, three servers.
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
//! The life of a request, each stop a file: `looping` (accept, wait, deadlines) → `connection` (head, framing, answer)
//! → `wire` (start_response), `body_store` and `streamed_body` (the body) → the application → `looping` again. Who runs the loop is told
//! in `alone`, `crew` and `forking`.
//!
//! What has run where: everything here was run on Linux on x86-64, with epoll and with poll(2). On Linux on aarch64 it was
//! run in an emulator (QEMU), on Windows (x86-64) under Wine, where the same loop waits with `WSAPoll` and there is no
//! forking, no Unix socket and no inherited one. The code for macOS and the BSDs, poll(2) and std's `accept`, is
//! compiled and linted for macOS, and has not been run.

pub(crate) mod address;
mod alone;
mod base;
mod body_memory;
mod body_store;
pub(crate) mod buffer;
mod color;
// What only forking needs is unused where nothing forks.
#[cfg_attr(not(unix), allow(dead_code))]
pub(crate) mod connection;
mod crew;
mod descriptors;
mod fleet;
#[cfg(unix)]
mod forking;
mod handler;
mod handover;
pub(crate) mod hijack;
pub(crate) mod listener;
mod log;
#[cfg_attr(not(unix), allow(dead_code))]
mod looping;
mod panics;
mod poller;
pub(crate) mod service;
mod settings;
mod shutdown;
mod streamed_body;
mod sys;
mod transport;
mod upgrade;
mod wake;
mod wire;

pub use address::{Address, AddressError, LocalAddr};
pub use base::{
    make_server, make_server_from_systemd, make_server_on, BaseWsgiServer, Concurrency, ForkingWsgiServer, ServeError,
    Server, ThreadedWsgiServer,
};
pub use color::wants_color;
pub use handler::RequestHandler;
pub use handover::{Arrivals, Waiting, WaitingBody};
pub use hijack::hijack;
pub use listener::Listeners;
pub use log::{AccessRecord, CloseReason, Log, LogFormat, NoLog, TextLog};
#[doc(hidden)]
pub use poller::PollerKind;
pub use settings::{BodyMode, Fork, Limits, MayHandOver, Settings, Timeouts};
pub use shutdown::ShutdownHandle;
pub use transport::{Handshake, Misplaced, Session, Socket, Transport, TransportLayer};
pub use upgrade::{on_upgrade, Upgraded};
