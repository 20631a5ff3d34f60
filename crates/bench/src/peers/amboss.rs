//! The subject: `amboss-core`'s threaded server with default settings and no log.

use super::{Site, BODY, NAP};
use amboss_core::{AppError, Body, Environ, NoLog, Settings, StartResponse, ThreadedWsgiServer};
use std::io;
use std::sync::Arc;

/// Serves until the process is killed.
#[allow(clippy::field_reassign_with_default)]
pub fn serve(site: &Site) -> io::Result<()> {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    let mut server = ThreadedWsgiServer::with_settings(&site.address(), hello, settings).map_err(io::Error::other)?;
    server.serve_forever().map_err(io::Error::other)
}

fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    if *environ.path() == *b"/slow" {
        std::thread::sleep(NAP);
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(Body::from(BODY))
}
