//! The subject: the threaded server of `amboss-core` with default settings and without a log; with `amboss-tls` for
//! TLS, and with the toolkit's `Folder` for files.

use super::config::{Mode, PeerConfig, BODY, LARGE, SLEEP};
use crate::certificate;
use amboss::toolkit::files::Folder;
use amboss_core::{AppError, Body, Environ, NoLog, Settings, StartResponse, ThreadedWsgiServer};
use amboss_tls::SslContext;
use std::io::{self, Read};
use std::sync::Arc;

/// Serves until the process is killed.
#[allow(clippy::field_reassign_with_default)]
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    if config.mode == Mode::Tls {
        let (certificate, key) = certificate::files(&config.folder);
        let context = SslContext::from_files(certificate, Some(&key)).map_err(io::Error::other)?;
        settings.transport = Some(context.layer());
    }
    let mut server = match config.mode {
        Mode::Upload => ThreadedWsgiServer::with_settings(&config.address(), upload, settings),
        Mode::Files => {
            let folder = Folder::new(&config.folder).map_err(io::Error::other)?;
            ThreadedWsgiServer::with_settings(&config.address(), folder, settings)
        }
        _ => ThreadedWsgiServer::with_settings(&config.address(), hello, settings),
    }
    .map_err(io::Error::other)?;
    server.serve_forever().map_err(io::Error::other)
}

fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if *environ.path() == *b"/slow" {
        std::thread::sleep(SLEEP);
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(match *environ.path() == *b"/large" {
        true => Body::from(&LARGE[..]),
        false => Body::from(BODY),
    })
}

/// Reads the body in blocks, as the Python application does, and responds with its length.
fn upload(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let mut block = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match environ.input().read(&mut block)? {
            0 => break,
            count => length += count,
        }
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from(length.to_string()))
}
