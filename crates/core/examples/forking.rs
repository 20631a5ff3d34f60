//! A process for each request: a crash does not affect other requests.
//! `cargo run -p amboss-core --example forking [address]`

use amboss_core::{AppError, Body, Environ, ForkingWsgiServer, StartResponse};

fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if environ.path() == "/crash" {
        std::process::abort();
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    let multiprocess = environ.text("wsgi.multiprocess").into_owned();
    Ok(Body::from(format!("process {}, multiprocess {multiprocess}\n", std::process::id())))
}

fn main() -> Result<(), amboss_core::ServeError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let mut server = ForkingWsgiServer::bind(&address, app)?;
    println!("listening on {}", server.local_addrs()[0]);
    server.serve_forever()
}
