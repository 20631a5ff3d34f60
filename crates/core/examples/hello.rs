//! The shortest server: `cargo run --release -p amboss-core --example hello [address]`

use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};

fn hello(_environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from("Hello, World!"))
}

fn main() -> Result<(), amboss_core::ServeError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let mut server = ThreadedWsgiServer::bind(&address, hello)?;
    for address in server.local_addrs() {
        println!("listening on {address}");
    }
    server.serve_forever()
}
