//! Hello over TLS: `cargo run -p amboss-tls --example https_hello [address [certificate [key]]]`. Without a
//! certificate, it generates one and stores it for the next time.

use std::path::Path;

use amboss_core::{make_server, Address, AppError, Body, Concurrency, Environ, Settings, StartResponse};
use amboss_tls::SslContext;

fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from(format!("Hello over {} with {}!\n", environ.text("SSL_PROTOCOL"), environ.text("SSL_CIPHER"))))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().as_deref().unwrap_or("localhost:5000").parse()?;
    let context = match arguments.next() {
        Some(certificate) => SslContext::from_files(certificate, arguments.next().as_deref().map(Path::new))?,
        None => SslContext::adhoc()?,
    };
    let mut settings = Settings::default();
    settings.transport = Some(context.layer());
    let mut server = make_server(&[address], hello, Concurrency::Threads, settings)?;
    println!("listening on https://{}", server.local_addrs()[0]);
    println!("certificate {}", context.fingerprint().unwrap_or_default());
    Ok(server.serve_forever()?)
}
