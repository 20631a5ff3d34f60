//! One block a second, as server-sent events; each block is sent at once.
//! `cargo run -p amboss-core --example streaming [address] [milliseconds]`, then `curl -N http://localhost:5000/`

use std::thread;
use std::time::Duration;

use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};

/// An iterator that counts down. It is dropped exactly once, even if the client closes the connection.
struct Countdown {
    left: u32,
    pause: Duration,
}

impl Iterator for Countdown {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        thread::sleep(self.pause);
        Some(format!("data: {}\n\n", self.left).into_bytes())
    }
}

impl Drop for Countdown {
    fn drop(&mut self) {
        println!("closed with {} to go", self.left);
    }
}

fn main() -> Result<(), amboss_core::ServeError> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "localhost:5000".into());
    let pause = Duration::from_millis(arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1000));

    let app = move |_: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        start_response.start("200 OK", &[("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])?;
        Ok(Body::iter(Countdown { left: 10, pause }))
    };
    let mut server = ThreadedWsgiServer::bind(&address, app)?;
    println!("listening on {}", server.local_addrs()[0]);
    server.serve_forever()
}
