//! Switches to another protocol: after a 101 response the connection echoes lines.
//! `cargo run -p amboss-core --example upgrade [address]`

use std::io::{BufRead, BufReader, Write};

use amboss_core::{on_upgrade, AppError, Body, Environ, Socket, StartResponse, ThreadedWsgiServer, Upgraded};

fn echo(connection: Upgraded) -> std::io::Result<()> {
    // The socket, and the bytes that the client has sent after its request.
    let Ok((Socket::Tcp(socket), ahead)) = connection.into_socket() else { return Ok(()) };
    let mut lines = BufReader::new(std::io::Read::chain(&ahead[..], &socket));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        (&socket).write_all(&line)?;
        line.clear();
    }
    Ok(())
}

fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if !environ.header("Upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"echo")) {
        start_response.start("426 Upgrade Required", &[("Content-Type", "text/plain")])?;
        return Ok(Body::from("Send Connection: Upgrade and Upgrade: echo.\n"));
    }
    on_upgrade(environ, |connection| {
        // In a thread of its own, so that the connection does not count as a running request.
        std::thread::spawn(move || echo(connection));
    });
    start_response.start("101 Switching Protocols", &[("Upgrade", "echo"), ("Connection", "Upgrade")])?;
    Ok(Body::empty())
}

fn main() -> Result<(), amboss_core::ServeError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".into());
    let mut server = ThreadedWsgiServer::bind(&address, app)?;
    println!("listening on {}", server.local_addrs()[0]);
    server.serve_forever()
}
