//! The network side: listeners, event loops and connections, and three servers that differ in where the application
//! runs.
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
//! # The path of a request
//!
//! The calls that a `GET` over TCP causes in a [`ThreadedWsgiServer`], nested as they happen, each with the file that
//! defines the function. A unit test checks that every function exists.
//!
//! ```text
//! serve_forever                                server.rs                        Server
//! └── serve                                    run/threaded.rs                  one pool per loop
//!     └── start                                run/leader_pool/threads.rs       LeaderPool
//!         └── lead                             run/leader_pool/leader.rs        in its own thread, until the server stops
//!             ├── next                         event_loop/poll.rs               EventLoop: the next thing to do
//!             │   └── poll                     event_loop/poll.rs
//!             │       ├── wait                 io/poller.rs                     epoll_wait
//!             │       └── handle_event         event_loop/poll.rs               a listener is ready
//!             │           └── accept       event_loop/accepting.rs
//!             │               └── accept_some  event_loop/accepting.rs
//!             │                   ├── accept   event_loop/acceptor.rs           makes a Connection
//!             │                   └── place    event_loop/accepting.rs          here, or in another loop
//!             │                       └── insert  event_loop/connections.rs     into the slab and the ready queue
//!             ├── serve                        run/leader_pool/leader.rs        Next::Work: the connection's turn
//!             │   ├── advance                  connection/drive.rs              Connection
//!             │   │   ├── read_head            connection/drive.rs              read(2)
//!             │   │   ├── parse_head           connection/drive.rs              http::HeadParser
//!             │   │   └── dispatch             connection/dispatch.rs
//!             │   │       ├── check_head       connection/dispatch.rs           http::Framing, http::Target
//!             │   │       ├── admit            run/leader_pool/scheduler.rs     PoolThread
//!             │   │       │   └── begin_call   loop_group/admission.rs          takes a slot
//!             │   │       └── run_application  connection/dispatch.rs
//!             │   │           ├── enter_blocking  run/leader_pool/scheduler.rs  from now on the monitor may claim the loop
//!             │   │           ├── call         ../wsgi/application.rs           the application, which calls
//!             │   │           │   └── begin    connection/response_writer.rs    start_response
//!             │   │           ├── exit_blocking  run/leader_pool/scheduler.rs
//!             │   │           └── finish_call  connection/dispatch.rs
//!             │   │               └── begin_response  connection/response.rs    head and body into the write buffer
//!             │   │                   └── end_buffered_response  connection/response.rs
//!             │   │                       └── end_exchange  connection/mod.rs   keep-alive: State::Head
//!             │   ├── reclaim                  run/leader_pool/scheduler.rs     takes the loop back
//!             │   └── return_connection        event_loop/connections.rs        Step::Flush
//!             │       └── flush_later          event_loop/connections.rs
//!             └── next                         event_loop/poll.rs               the batch is done
//!                 └── flush_responses          event_loop/connections.rs
//!                     ├── flush                connection/flush.rs              write(2), access log
//!                     └── return_connection    event_loop/connections.rs        Step::Read
//!                         └── watch            event_loop/connections.rs        until the next request arrives
//! ```
//!
//! When the application is slow, the monitor claims the loop between `enter_blocking` and `exit_blocking` and becomes
//! the leader. The thread that runs the application then writes the response itself and returns the connection to the
//! new leader (`complete_connection` in `run/leader_pool/leader.rs`).
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | admission | the decision whether the application may run now, based on the number of free slots |
//! | batch | the connections that one poll has found ready; their responses are written together |
//! | connection | one client's TCP or Unix connection, and the state machine that serves it |
//! | detached request | a request whose application answers after its call has returned, in a task of another event loop |
//! | detached thread | a pool thread that runs a request while another thread has the loop |
//! | dispatch | to route a request with a complete head to the application; with `Step::Dispatch`, in another thread |
//! | drain | to read and discard the part of a request body that the application has not read |
//! | driver | the code that runs a loop and decides where the application runs: `run/{single,threaded,forking,guest}` |
//! | event loop | waits for sockets and deadlines, returns connections that are ready; one thread at a time owns it |
//! | exchange | a request and its response |
//! | flush | to send the contents of the write buffer |
//! | guest | a server whose loop is driven by another event loop, which it never blocks |
//! | hand over | to transfer a connection to another process (the *successor*), or a loop to another thread |
//! | leader | the thread that owns the loop: it polls, reads, and runs the application |
//! | leader pool | the threads of one loop: a leader, a monitor, detached threads and idle threads |
//! | linger | to read and discard input after the last response, until the client closes |
//! | loop group | all event loops of a server, and the state that they share |
//! | monitor | the thread that claims the loop when an application call is slow |
//! | park | to put a connection back into the slab until its socket is ready or its deadline has passed |
//! | origin | what the PROXY header of a connection says about its client |
//! | queue | to hold a complete request until the application may run for it |
//! | scheduler | the interface between a connection and its driver: admission, and announcing calls that block |
//! | slab, token | the table of a loop's connections; the key of one connection in it |
//! | slot | a permit to run one request; there are [`Runtime::threads`] of them (a `Slot` of the slab is another thing) |
//! | step | what a connection waits for next, as returned when it is advanced |
//! | yield | to let other connections go first |
//!
//! # Platforms
//!
//! Tested on Linux x86-64 with epoll and with poll(2), on Linux aarch64 in an emulator (QEMU), and on Windows x86-64
//! under Wine. On Windows the same loop waits with `WSAPoll`, and there is no forking server, no Unix socket and no
//! inherited socket. The code for macOS and the BSDs, which uses poll(2) and std's `accept`, is compiled and linted for
//! macOS but has not been run.

// Items that only the forking server uses are dead code on platforms without `fork`.
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
mod proxies;
mod receiver;
mod request_id;
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

pub use connection::detached::WriteProgress;
pub use error::{ServeError, ServeErrorKind};
pub use handler::{BodyMode, RequestHandler};
pub use handover::{IdleConnection, StoredBody};
pub use hijack::hijack;
pub use io::address::{Address, AddressError, LocalAddr};
pub use io::poller::PollerKind;
pub use io::socket::Socket;
pub use io::transport::{Handshake, HandshakeInfo, PlainHttpPolicy, Transport, TransportLayer, TransportWaker};
pub use listener::Listeners;
pub use log::{
    wants_color, AccessFormat, AccessFormatError, AccessRecord, CloseReason, Log, LogFormat, NoLog, TextLog,
};
pub use panics::{catch_panic, CaughtPanic};
pub use proxies::{ProxyOrigin, ProxyProtocol, ProxySettings, TrustedPeers, TrustedPeersError};
pub use receiver::Receiver;
pub use request_id::RequestId;
#[cfg(unix)]
pub use run::guest::{Guest, GuestEvents};
pub use server::{
    make_server, make_server_from_systemd, make_server_on, BaseWsgiServer, Concurrency, ForkingWsgiServer, Server,
    ThreadedWsgiServer,
};
pub use settings::{Fork, Limits, MayHandOver, Runtime, Settings, Timeouts};
pub use shutdown::ShutdownHandle;
pub use sys::Interest;
pub use upgrade::{on_upgrade, Upgraded};

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_way_of_a_request_names_functions_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server");
        let tree = include_str!("mod.rs").lines().filter(|line| line.starts_with("//! ") && line.contains(".rs  "));
        let mut lines = 0;
        for line in tree {
            let mut words = line.trim_start_matches(|part: char| !part.is_ascii_alphabetic()).split_whitespace();
            let (function, file) = (words.next().unwrap(), words.next().unwrap());
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let exists = [format!("fn {function}("), format!("fn {function}<")].iter().any(|it| source.contains(it));
            assert!(exists, "{file} has no {function}: {line}");
            lines += 1;
        }
        assert!(lines > 25, "{lines} lines found");
    }
}
