//! A synchronous HTTP/1.1 server with a WSGI-shaped application interface, for programs that embed a server: tools that
//! wait for a callback, local web interfaces, and other servers that are built on top of this one. The crate depends on
//! `std` only.
//!
//! ```no_run
//! use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
//!
//! fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
//!     Ok(Body::from(format!("Hello {}!\n", environ.text("REMOTE_ADDR"))))
//! }
//!
//! fn main() -> Result<(), amboss_core::ServeError> {
//!     ThreadedWsgiServer::bind("localhost:5000", hello)?.serve_forever()
//! }
//! ```
//!
//! # Layers
//!
//! | layer | purpose |
//! |---|---|
//! | `server` | sockets and event loops: [`ThreadedWsgiServer`], [`BaseWsgiServer`] (one request at a time), [`ForkingWsgiServer`] (a process for each running request) |
//! | `wsgi` | the contract between server and application, PEP 3333 in Rust: [`Application`], [`Environ`], [`StartResponse`], [`Body`] |
//! | [`http`] | a sans-I/O parser and writer for HTTP/1.1 (RFC 9112): no sockets, no clock, no threads |
//!
//! Each layer knows only those below it. [`http`] can be used alone; the names of the other two are listed below. The
//! first lines of `src/server/mod.rs` show the path of a request through the crate as a call tree, with a glossary.
//!
//! TLS is the crate `amboss-tls`, which plugs into [`Settings::transport`]. The crate `amboss` adds `run_simple`, a
//! command, reloading and worker processes.
//!
//! # What the server does
//!
//! - **Threads:** a thread exists for each request that runs. Idle connections, incomplete heads, slow uploads and slow
//!   readers take a few hundred bytes to a few KiB each, and no thread. While the server is idle, it does not wake up.
//!   With many connections, several event loops share them, so short requests use all cores.
//! - **Connections:** keep-alive and pipelining, with responses in order. An unread body is drained up to a
//!   [limit](Limits::drain). Before it closes a connection, the server waits for the client to receive the response
//!   ([`Timeouts::linger`]).
//! - **Request bodies:** by default complete before the application is called, in memory or in a temporary file, within
//!   [`Limits`]. A chunked body then has a `CONTENT_LENGTH`, and an incomplete one never reaches the application. With
//!   [`BodyMode::Stream`] the application reads the body as it arrives.
//! - **Responses:** bytes, iterators whose blocks are each sent at once, or files, which Linux sends with
//!   `sendfile(2)`. A body is dropped exactly once, as PEP 3333's `close()`.
//! - **Addresses:** `host:port`, `localhost` on IPv4 and IPv6, Unix sockets, `fd://N`, and systemd's `LISTEN_FDS`
//!   ([`make_server_from_systemd`]); several at once.
//! - **Proxies:** `X-Forwarded-*` or `Forwarded`, and the PROXY protocol, from [trusted peers](ProxySettings) only.
//! - **Faults:** a panic becomes a 500 response, with a backtrace in the log. When the file table is full, the server
//!   closes idle connections. Every wait for a client has a deadline ([`Timeouts`]), and every refusal says why.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `fuzzing` | no | the bodies of the fuzz targets, for this crate's own tests only; not part of the API |
#![warn(missing_docs)]

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod server;
mod wsgi;

pub use server::{
    catch_panic, hijack, make_server, make_server_from_systemd, make_server_on, on_upgrade, wants_color, AccessFormat,
    AccessFormatError, AccessRecord, Address, AddressError, BaseWsgiServer, BodyMode, CaughtPanic, CloseReason,
    Concurrency, Fork, ForkingWsgiServer, Handshake, HandshakeInfo, IdleConnection, Interest, Limits, Listeners,
    LocalAddr, Log, LogFormat, MayHandOver, NoLog, PlainHttpPolicy, PollerKind, ProxyOrigin, ProxyProtocol,
    ProxySettings, Receiver, RequestHandler, RequestId, Runtime, ServeError, ServeErrorKind, Server, Settings,
    ShutdownHandle, Socket, StoredBody, TextLog, ThreadedWsgiServer, Timeouts, Transport, TransportLayer,
    TransportWaker, TrustedPeers, TrustedPeersError, Upgraded, WriteProgress,
};
#[cfg(unix)]
pub use server::{Guest, GuestEvents};
pub use wsgi::{
    create_environ, run_wsgi_app, AppError, AppResponse, Application, Body, ByteStr, Client, Collected, DetachedId,
    Environ, EnvironBuilder, EnvironError, EnvironErrorKind, Extensions, FailureResponse, ForwardedHops,
    ForwardedHopsError, Input, InputError, InputErrorKind, OwnedEnviron, Peer, ResponseFilter, RunAppError,
    RunAppErrorKind, StartError, StartErrorKind, StartResponse,
};
