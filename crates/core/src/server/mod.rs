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
//! # The way of a request
//!
//! The calls that a `GET` over TCP causes in a [`ThreadedWsgiServer`], nested as they happen, each with its file. A unit test
//! checks that the functions are there.
//!
//! ```text
//! serve_forever                                server.rs                        Server
//! └── serve                                    run/threaded.rs                  a pool for each loop
//!     └── start                                run/leader_pool/threads.rs       LeaderPool
//!         └── lead                             run/leader_pool/leader.rs        in a thread of its own, until the end
//!             ├── next                         event_loop/poll.rs               EventLoop: what is there to do?
//!             │   └── poll                     event_loop/poll.rs
//!             │       ├── wait                 io/poller.rs                     epoll_wait
//!             │       └── handle_event         event_loop/poll.rs               a listener is ready
//!             │           └── accept_some      event_loop/accepting.rs
//!             │               ├── accept       event_loop/acceptor.rs           makes a Connection
//!             │               └── place        event_loop/accepting.rs          here, or in another loop
//!             │                   └── insert   event_loop/connections.rs        into the slab and the batch
//!             ├── serve                        run/leader_pool/leader.rs        Next::Work: the connection's turn
//!             │   ├── advance                  connection/drive.rs              Connection
//!             │   │   ├── read_head            connection/drive.rs              read(2)
//!             │   │   ├── parse_head           connection/drive.rs              http::HeadParser
//!             │   │   └── dispatch             connection/dispatch.rs
//!             │   │       ├── check_head       connection/dispatch.rs           http::Framing, http::Target
//!             │   │       ├── admit            run/leader_pool/scheduler.rs     PoolThread
//!             │   │       │   └── begin_call   loop_group/admission.rs          takes a slot
//!             │   │       └── run_application  connection/dispatch.rs
//!             │   │           ├── enter_blocking  run/leader_pool/scheduler.rs  the monitor may claim the loop now
//!             │   │           ├── call         ../wsgi/application.rs           the application, which calls
//!             │   │           │   └── begin    connection/response_writer.rs    start_response
//!             │   │           ├── exit_blocking  run/leader_pool/scheduler.rs
//!             │   │           └── finish_call  connection/dispatch.rs
//!             │   │               └── begin_response  connection/response.rs    head and body into the write buffer
//!             │   │                   └── end_exchange  connection/mod.rs       keep-alive: State::Head
//!             │   ├── reclaim                  run/leader_pool/scheduler.rs     the loop is this thread's again
//!             │   └── return_connection        event_loop/connections.rs        Step::Flush
//!             │       └── flush_later          event_loop/connections.rs
//!             └── next                         event_loop/poll.rs               the batch is done
//!                 └── flush_responses          event_loop/connections.rs
//!                     ├── flush                connection/flush.rs              write(2), access log
//!                     └── return_connection    event_loop/connections.rs        Step::Read
//!                         └── watch            event_loop/connections.rs        until the next request
//! ```
//!
//! When the application is slow, the monitor claims the loop between `enter_blocking` and `exit_blocking`, and leads on in
//! its own thread; this thread then writes the response itself, and gives the connection back
//! (`complete_connection` in `run/leader_pool/leader.rs`).
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | admission | the decision whether an application may run now, by the number of free slots |
//! | batch | the connections that one wait has found ready; their responses are written together |
//! | connection | one client's TCP or Unix connection, and the state machine that serves it |
//! | detached thread | a thread of a pool that has lost its loop while it runs a request |
//! | dispatch | to take a complete head to the application; `Step::Dispatch`: in another thread |
//! | drain | to read and discard what the application has left of a request body |
//! | driver | what runs a loop and decides where applications run: `run/single`, `run/threaded`, `run/forking` |
//! | event loop | waits for sockets and deadlines, and hands out connections; belongs to one thread at a time |
//! | exchange | a request and its response |
//! | flush | to send what stands in the write buffer |
//! | hand over | to give a connection to another process (the *successor*), or a loop to another thread |
//! | leader | the thread that has the loop: it waits, reads, and runs applications |
//! | leader pool | the threads of one loop: a leader, a monitor, detached and idle ones |
//! | linger | to read and discard after the last response, until the client closes |
//! | loop group | all event loops of a server, and what they share |
//! | monitor | the thread that claims the loop when a call of the application is slow |
//! | park | to put a connection back into its slot until its socket is ready or its deadline has passed |
//! | queue | to let a complete request wait until an application may run for it |
//! | scheduler | what a connection may ask of its driver |
//! | slab, token | the connections of a loop by number; the number of one |
//! | slot | one of [`Runtime::threads`] requests that may run at once |
//! | step | what a connection waits for after it was advanced |
//! | yield | to let other connections go first |
//!
//! # Platforms
//!
//! Everything here was run on Linux on x86-64, with epoll and with poll(2). On Linux on aarch64 it was run in an emulator
//! (QEMU), on Windows (x86-64) under Wine, where the same loop waits with `WSAPoll` and there is no forking, no Unix socket
//! and no inherited socket. The code for macOS and the BSDs, poll(2) and std's `accept`, is compiled and linted for macOS,
//! and has not been run.

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

pub use error::{ServeError, ServeErrorKind};
pub use handler::{BodyMode, RequestHandler};
pub use handover::{IdleConnection, StoredBody};
pub use hijack::hijack;
pub use io::address::{Address, AddressError, LocalAddr};
pub use io::poller::PollerKind;
pub use io::socket::Socket;
pub use io::transport::{Handshake, HandshakeInfo, PlainHttpPolicy, Transport, TransportLayer};
pub use listener::Listeners;
pub use log::{wants_color, AccessRecord, CloseReason, Log, LogFormat, NoLog, TextLog};
pub use receiver::Receiver;
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
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server");
        let tree = include_str!("mod.rs").lines().filter(|line| line.starts_with("//! ") && line.contains(".rs  "));
        let mut lines = 0;
        for line in tree {
            let mut words = line.trim_start_matches(|part: char| !part.is_ascii_alphabetic()).split_whitespace();
            let (function, file) = (words.next().unwrap(), words.next().unwrap());
            let source = std::fs::read_to_string(here.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let is_there = [format!("fn {function}("), format!("fn {function}<")].iter().any(|it| source.contains(it));
            assert!(is_there, "{file} has no {function}: {line}");
            lines += 1;
        }
        assert!(lines > 25, "{lines} lines found");
    }
}
