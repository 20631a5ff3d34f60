//! tiny_http: the library reads with a thread per connection, and worker threads here take requests from its queue.

use super::config::{Mode, PeerConfig, BODY, SLEEP};
use std::io;
use tiny_http::{Header, Request, Response, Server};

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let server = Server::http(config.address()).map_err(io::Error::other)?;
    let threads = match config.mode {
        // More threads than sleeping connections, because handlers sleep in these threads.
        Mode::Slow => 16,
        Mode::Hello | Mode::Close | Mode::Tls | Mode::Upload | Mode::Files => config.workers,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    // Fails when the client has disconnected.
                    let _ = hello(request);
                }
            });
        }
    });
    Ok(())
}

fn hello(request: Request) -> io::Result<()> {
    if request.url() == "/slow" {
        std::thread::sleep(SLEEP);
    }
    let plain =
        Header::from_bytes("Content-Type", "text/plain").map_err(|()| io::Error::other("the header is not ASCII"))?;
    request.respond(Response::from_data(BODY).with_header(plain))
}
