//! Waits for one callback, as a command-line tool does for OAuth, and exits.
//! `cargo run -p amboss-core --example token_callback [address]`, then open `/callback?token=…` at the address that it
//! prints.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use amboss_core::{AppError, BaseWsgiServer, Body, Environ, StartResponse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let (sender, received) = mpsc::channel();

    let app = move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| -> Result<Body, AppError> {
        let query = environ.query().to_string();
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        match token {
            Some(token) if environ.path() == "/callback" => {
                sender.send(token.to_owned())?;
                start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
                Ok(Body::from("Thank you. You can close this window.\n"))
            }
            // A browser requests its icon as well.
            _ => {
                start_response.start("404 Not Found", &[("Content-Type", "text/plain")])?;
                Ok(Body::from("Not here: /callback?token=...\n"))
            }
        }
    };

    let mut server = BaseWsgiServer::bind(&address, app)?;
    println!("listening on {}", server.local_addrs()[0]);
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if !server.handle_request(left)? {
            return Err("no callback arrived within two minutes".into());
        }
        if let Ok(token) = received.try_recv() {
            drop(server); // the response has been sent; this frees the port
            println!("token: {token}");
            return Ok(());
        }
    }
}
