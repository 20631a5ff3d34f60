//! khttp, in two variants: a thread per connection (the faster one with few connections), and an epoll loop with a
//! thread pool for requests. It obeys `Connection: close` without sending the field, which a load generator counts as
//! an error, so the handler sends it in close mode.

use super::config::{Mode, PeerConfig, BODY, SLEEP};
use khttp::{Headers, Method, Server, ServerBuilder};
use std::io;

/// Serves with a thread per connection, until the process is killed.
pub fn serve_threaded(config: &PeerConfig) -> io::Result<()> {
    builder(config)?.build().serve_threaded()
}

/// Serves with one epoll loop and a pool of threads, until the process is killed.
pub fn serve_epoll(config: &PeerConfig) -> io::Result<()> {
    let mut builder = builder(config)?;
    if config.mode == Mode::Slow {
        // More threads than sleeping connections, because handlers sleep in the pool. Other modes use the library's
        // default.
        builder.thread_count(16);
    }
    builder.build().serve_epoll()
}

fn builder(config: &PeerConfig) -> io::Result<ServerBuilder> {
    let mut builder = Server::builder(config.address())?;
    for path in ["/", "/fast", "/slow"] {
        let headers = headers(config.mode);
        builder.route(Method::Get, path, move |_, response| {
            if path == "/slow" {
                std::thread::sleep(SLEEP);
            }
            response.ok(&headers, BODY)
        });
    }
    Ok(builder)
}

fn headers(mode: Mode) -> Headers<'static> {
    let mut headers = match mode {
        Mode::Close => {
            let mut headers = Headers::new();
            headers.set_connection_close();
            headers
        }
        Mode::Hello | Mode::Slow | Mode::Tls | Mode::Upload | Mode::Files => Headers::new(),
    };
    headers.add("Content-Type", b"text/plain");
    headers
}
