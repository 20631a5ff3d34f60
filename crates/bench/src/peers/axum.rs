//! axum: a router with two handlers, on the same runtime as hyper.

use super::config::{PeerConfig, BODY, SLEEP};
use axum::http::header::{HeaderName, CONTENT_TYPE};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::Router;
use std::io;

type Hello = ([(HeaderName, &'static str); 1], &'static str);

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let address = config.address();
    let runtime = super::hyper::runtime(config.workers)?;
    let serving = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let app = Router::new().route("/", get(hello)).route("/fast", get(hello)).route("/slow", get(slow));
        axum::serve(listener, app).await
    });
    runtime.block_on(serving).map_err(io::Error::other)?
}

async fn hello() -> Hello {
    ([(CONTENT_TYPE, "text/plain")], BODY)
}

async fn slow() -> Hello {
    tokio::time::sleep(SLEEP).await;
    hello().await
}
