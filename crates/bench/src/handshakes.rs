//! A load generator for TLS handshakes: a new connection for each request, with a full or a resumed handshake. Common
//! load generators do not do this well. It uses blocking sockets, and a thread for each concurrent connection.
//!
//! The client verifies neither the certificate nor the signature, so that it uses less CPU time than the servers. It
//! offers one cipher suite for each version and requires X25519, so that all peers do the same computations.

use crate::http_client::HttpClient;
use crate::load_report::{LoadReport, CLIENT_CORE};
use crate::proc;
use crate::result::Result;
use amboss_tls::rustls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::Resumption;
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    version, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A kind of handshake.
#[derive(Clone, Copy, Debug)]
pub struct Handshakes {
    version: &'static SupportedProtocolVersion,
    kind: HandshakeKind,
}

impl Handshakes {
    #[allow(missing_docs)]
    pub const FULL_1_3: Self = Handshakes { version: &version::TLS13, kind: HandshakeKind::Full };
    #[allow(missing_docs)]
    pub const FULL_1_2: Self = Handshakes { version: &version::TLS12, kind: HandshakeKind::Full };
    #[allow(missing_docs)]
    pub const RESUMED_1_3: Self = Handshakes { version: &version::TLS13, kind: HandshakeKind::Resumed };
    #[allow(missing_docs)]
    pub const RESUMED_1_2: Self = Handshakes { version: &version::TLS12, kind: HandshakeKind::Resumed };

    /// Creates a client for this kind. A client that resumes sessions has performed a full handshake already.
    ///
    /// # Errors
    ///
    /// As for [`HandshakeClient::request`].
    pub fn client(self, port: u16) -> io::Result<HandshakeClient> {
        let client = HandshakeClient::new(port, self)?;
        if self.kind == HandshakeKind::Resumed {
            client.request_with(HandshakeKind::Full)?;
        }
        Ok(client)
    }

    /// Sends requests on this many concurrent connections until the time is over.
    ///
    /// # Errors
    ///
    /// When a thread cannot be pinned, or its first request fails.
    pub fn run(self, port: u16, connections: usize, duration: Duration, pinned: bool) -> Result<LoadReport> {
        let start = Instant::now();
        let deadline = start + duration;
        let (mut latencies, mut errors) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            let run_client = || self.run_client(port, deadline, pinned);
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(run_client)).collect();
            for thread in threads {
                let (more, failed) = thread.join().map_err(|_| "a thread of the client panicked")??;
                latencies.extend(more);
                errors += failed;
            }
            Ok::<(), String>(())
        })?;
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        Ok(LoadReport {
            responses: latencies.len() as u64,
            rate: latencies.len() as f64 / elapsed.as_secs_f64(),
            mib: 0.0,
            mib_rate: 0.0,
            p99: latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default(),
            errors,
        })
    }

    /// Sends requests one after the other. Returns the latencies and the number of errors.
    fn run_client(self, port: u16, deadline: Instant, pinned: bool) -> Result<(Vec<Duration>, u64)> {
        if pinned {
            proc::pin_thread(CLIENT_CORE)?;
        }
        let client = self.client(port).map_err(|error| format!("the first connection failed: {error}"))?;
        let (mut latencies, mut errors) = (Vec::new(), 0);
        let mut now = Instant::now();
        while now < deadline {
            let result = client.request();
            let after = Instant::now();
            match result {
                Ok(()) => latencies.push(after - now),
                Err(_) => errors += 1,
            }
            now = after;
        }
        Ok((latencies, errors))
    }
}

/// A client with a session store of its own.
pub struct HandshakeClient {
    port: u16,
    kind: HandshakeKind,
    config: Arc<ClientConfig>,
}

impl HandshakeClient {
    /// Creates a client without connecting it.
    ///
    /// # Errors
    ///
    /// When rustls rejects the configuration.
    pub fn new(port: u16, handshakes: Handshakes) -> io::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![
                ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
                ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ],
            // The second group is the certificate's curve. Without it, OpenSSL does not use the certificate in TLS 1.2.
            kx_groups: vec![ring::kx_group::X25519, ring::kx_group::SECP256R1],
            ..ring::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[handshakes.version])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
            .with_no_client_auth();
        config.resumption = match handshakes.kind {
            HandshakeKind::Resumed => Resumption::in_memory_sessions(1),
            _ => Resumption::disabled(),
        };
        Ok(HandshakeClient { port, kind: handshakes.kind, config: Arc::new(config) })
    }

    /// Opens a connection. The first request performs the handshake.
    ///
    /// # Errors
    ///
    /// When the connection fails.
    pub fn connect(&self) -> io::Result<HttpClient<StreamOwned<ClientConnection, TcpStream>>> {
        let socket = HttpClient::connect(self.port)?.stream;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        Ok(HttpClient::new(StreamOwned::new(connection, socket)))
    }

    /// Opens a connection, sends a request, reads the response, and waits for the end of the connection.
    ///
    /// # Errors
    ///
    /// When the connection fails, the response is wrong, or the handshake was of another kind.
    pub fn request(&self) -> io::Result<()> {
        self.request_with(self.kind)
    }

    fn request_with(&self, kind: HandshakeKind) -> io::Result<()> {
        let mut client = self.connect()?;
        client.send("/", "Connection: close\r\n", 1)?;
        client.receive()?;
        let actual = client.stream.conn.handshake_kind();
        if actual != Some(kind) {
            return Err(io::Error::other(format!("the handshake is not {kind:?}, but {actual:?}")));
        }
        // A resumed handshake of TLS 1.2 has no group.
        let group = client.stream.conn.negotiated_key_exchange_group().map(|group| group.name());
        if group.is_some_and(|group| group != NamedGroup::X25519) {
            return Err(io::Error::other(format!("the group is not X25519, but {group:?}")));
        }
        match client.is_closed() {
            true => Ok(()),
            false => Err(io::Error::other("the server does not close the connection with close_notify")),
        }
    }
}

/// Accepts any certificate and any signature.
#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{self, Certificate};
    use amboss_core::{make_server, Address, AppError, Body, Concurrency, Environ, LocalAddr, Settings, StartResponse};
    use amboss_tls::SslContext;
    use rustls::pki_types::{pem::PemObject, PrivateKeyDer};
    use rustls::server::NoServerSessionStorage;
    use rustls::ServerConfig;

    fn hello(_: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> std::result::Result<Body, AppError> {
        start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
        Ok(Body::from(crate::peers::BODY))
    }

    /// Runs `client` with the port of a server.
    fn with_server(context: &SslContext, client: impl FnOnce(u16)) {
        let mut settings = Settings::default();
        settings.log = Arc::new(amboss_core::NoLog);
        settings.transport = Some(context.layer());
        let mut server =
            make_server(&[Address::new("127.0.0.1", 0)], hello, Concurrency::Threads, settings).expect("listens");
        let LocalAddr::Tcp(address) = server.local_addrs()[0] else { panic!("no TCP address") };
        let handle = server.shutdown_handle();
        let thread = std::thread::spawn(move || server.serve_forever());
        client(address.port());
        handle.shutdown();
        thread.join().expect("no panic").expect("serves");
    }

    #[test]
    fn resumed_and_full_handshakes_are_distinguished() {
        let _certificate = Certificate::create().expect("writable");
        let (certificate, key) = certificate::files(&certificate::folder(std::process::id()));

        with_server(&SslContext::from_files(&certificate, Some(&key)).expect("usable"), |port| {
            for handshakes in
                [Handshakes::FULL_1_3, Handshakes::FULL_1_2, Handshakes::RESUMED_1_3, Handshakes::RESUMED_1_2]
            {
                let client = handshakes.client(port).expect("a response");
                for _ in 0..3 {
                    client.request().expect("a response");
                }
            }
        });

        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("PEM")];
        let mut without_sessions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).expect("PEM"))
            .expect("usable");
        without_sessions.session_storage = Arc::new(NoServerSessionStorage {});
        with_server(&SslContext::from_config(Arc::new(without_sessions)), |port| {
            for handshakes in [Handshakes::RESUMED_1_3, Handshakes::RESUMED_1_2] {
                let error = handshakes.client(port).expect("a response").request().expect_err("there is no session");
                assert!(error.to_string().contains("not Resumed"), "{error}");
            }
        });
    }
}
