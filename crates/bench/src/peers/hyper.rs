//! hyper 1 on tokio: the HTTP/1 builder and one service function, without a router; with tokio-rustls for TLS.

use super::config::{Mode, PeerConfig, BODY, LARGE, SLEEP};
use crate::certificate;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let address = config.address();
    let acceptor = match config.mode {
        Mode::Tls => Some(acceptor(&config.folder).map_err(io::Error::other)?),
        _ => None,
    };
    let runtime = runtime(config.workers)?;
    // The accept loop is a task, so that it runs on a worker thread, as the connections do.
    let accepting = runtime.spawn(async move {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match acceptor.clone() {
                None => tokio::spawn(serve_connection(stream)),
                Some(acceptor) => tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve_connection(stream).await;
                    }
                }),
            };
        }
    });
    runtime.block_on(accepting).map_err(io::Error::other)?
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(hello)).await;
}

/// rustls with ring, set up as its documentation recommends, and with session tickets.
fn acceptor(folder: &Path) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let (certificate, key) = certificate::files(folder);
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// tokio's multi-thread runtime with a worker for each core. axum uses it, too.
pub fn runtime(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(SLEEP).await;
    }
    let body = match request.uri().path() == "/large" {
        true => &LARGE,
        false => BODY.as_bytes(),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
