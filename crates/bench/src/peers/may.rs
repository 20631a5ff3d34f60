//! may_minihttp: stackful coroutines, one per connection. It never closes a connection of its own accord, so in close mode it
//! announces the close and leaves it to the client.

use super::{Mode, Site, BODY, NAP};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use std::io;

#[derive(Clone)]
struct Hello {
    mode: Mode,
}

impl HttpService for Hello {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if request.path() == "/slow" {
            may::coroutine::sleep(NAP);
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
pub fn serve(site: &Site) -> io::Result<()> {
    may::config().set_workers(site.workers);
    let server = HttpServer(Hello { mode: site.mode }).start(site.address())?;
    server.join().map_err(|_| io::Error::other("the accepting coroutine panicked"))
}
