//! may_minihttp: a stackful coroutine per connection. It never closes a connection itself, so in close mode it sends
//! `Connection: close` and leaves it to the client to close.

use super::config::{Mode, PeerConfig, BODY, SLEEP};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use std::io;

#[derive(Clone)]
struct Hello {
    mode: Mode,
}

impl HttpService for Hello {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if request.path() == "/slow" {
            may::coroutine::sleep(SLEEP);
        }
        response.header("Content-Type: text/plain");
        if self.mode == Mode::Close {
            response.header("Connection: close");
        }
        response.body(BODY);
        Ok(())
    }
}

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    may::config().set_workers(config.workers);
    let server = HttpServer(Hello { mode: config.mode }).start(config.address())?;
    server.join().map_err(|_| io::Error::other("the accepting coroutine panicked"))
}
