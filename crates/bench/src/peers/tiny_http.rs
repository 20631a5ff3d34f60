//! tiny_http: its own thread per connection reads, a few threads of ours take requests from its queue and answer.

use super::{Mode, Site, BODY, NAP};
use std::io;
use tiny_http::{Header, Request, Response, Server};

/// Serves until the process is killed.
pub fn serve(site: &Site) -> io::Result<()> {
    let server = Server::http(site.address()).map_err(io::Error::other)?;
    let threads = match site.mode {
        // Handlers sleep on these threads: as many as could, and some to spare.
        Mode::Slow => 16,
        Mode::Hello | Mode::Close | Mode::Tls | Mode::Upload => site.workers,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    // The client may be gone: nothing to do about it.
                    let _ = hello(request);
                }
            });
        }
    });
    Ok(())
}

fn hello(request: Request) -> io::Result<()> {
    if request.url() == "/slow" {
        std::thread::sleep(NAP);
    }
    let plain =
        Header::from_bytes("Content-Type", "text/plain").map_err(|()| io::Error::other("the header is not ASCII"))?;
    request.respond(Response::from_data(BODY).with_header(plain))
}
