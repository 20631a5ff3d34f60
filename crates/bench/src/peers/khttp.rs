//! khttp, twice: a thread per connection (its fastest way with few connections), and its epoll loop that hands each request to
//! a pool. It obeys `Connection: close` without announcing it, which a load generator counts as an error, so in close mode the
//! handler announces it.

use super::{Mode, Site, BODY, NAP};
use khttp::{Headers, Method, Server, ServerBuilder};
use std::io;

/// Serves with a thread per connection, until the process is killed.
pub fn serve_threaded(site: &Site) -> io::Result<()> {
    builder(site)?.build().serve_threaded()
}

/// Serves with one epoll loop and a pool of threads, until the process is killed.
pub fn serve_epoll(site: &Site) -> io::Result<()> {
    let mut builder = builder(site)?;
    if site.mode == Mode::Slow {
        // Handlers sleep on the pool's threads: as many as could, and some to spare. Otherwise the library's own choice.
        builder.thread_count(16);
    }
    builder.build().serve_epoll()
}

fn builder(site: &Site) -> io::Result<ServerBuilder> {
    let mut builder = Server::builder(site.address())?;
    for path in ["/", "/fast", "/slow"] {
        let headers = headers(site.mode);
        builder.route(Method::Get, path, move |_, response| {
            if path == "/slow" {
                std::thread::sleep(NAP);
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
        Mode::Hello | Mode::Slow | Mode::Tls | Mode::Upload => Headers::new(),
    };
    headers.add("Content-Type", b"text/plain");
    headers
}
