//! A new TLS connection for each request, with a full handshake or a resumed one: what no usual load generator does well.
//! Blocking sockets, and a thread for each connection that is held at the same time.
//!
//! To make the client cheaper than the servers, their certificate and signature are not verified. Only one cipher suite of each
//! version is offered, and X25519 insisted on, so that all peers compute the same.

use crate::check::Client;
use crate::load::{Found, Load, CORE};
use crate::{proc, Result};
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

/// Which handshakes.
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

    /// A caller that is ready for them: when it is to resume, there is a session.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub fn caller(self, port: u16) -> io::Result<Caller> {
        let caller = Caller::new(port, self)?;
        if self.kind == HandshakeKind::Resumed {
            caller.call_for(HandshakeKind::Full)?;
        }
        Ok(caller)
    }

    /// Calls over and over, as many callers at the same time as the load has connections.
    ///
    /// # Errors
    ///
    /// When a thread cannot be pinned, or its first call fails.
    pub fn run(self, load: &Load<'_>) -> Result<Found> {
        let start = Instant::now();
        let until = start + Duration::from_secs(load.seconds.into());
        let one = || -> Result<(Vec<Duration>, u64)> {
            if load.pinned {
                proc::pin_thread(CORE)?;
            }
            let caller = self.caller(load.port).map_err(|error| format!("the first connection failed: {error}"))?;
            let (mut latencies, mut errors) = (Vec::new(), 0);
            let mut now = Instant::now();
            while now < until {
                let called = caller.call();
                let after = Instant::now();
                match called {
                    Ok(()) => latencies.push(after - now),
                    Err(_) => errors += 1,
                }
                now = after;
            }
            Ok((latencies, errors))
        };
        let (mut latencies, mut errors) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..load.connections).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                let (more, failed) = thread.join().map_err(|_| "a client's thread panicked")??;
                latencies.extend(more);
                errors += failed;
            }
            Ok::<(), String>(())
        })?;
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        Ok(Found {
            requests: latencies.len() as u64,
            rate: latencies.len() as f64 / elapsed.as_secs_f64(),
            p99: latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default(),
            errors,
        })
    }
}

/// One client with its own store of sessions.
pub struct Caller {
    port: u16,
    kind: HandshakeKind,
    config: Arc<ClientConfig>,
}

impl Caller {
    /// Connects to nobody yet.
    ///
    /// # Errors
    ///
    /// When rustls refuses the configuration.
    pub fn new(port: u16, handshakes: Handshakes) -> io::Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![
                ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
                ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ],
            // The second is the certificate's curve, without which OpenSSL does not use it in TLS 1.2.
            kx_groups: vec![ring::kx_group::X25519, ring::kx_group::SECP256R1],
            ..ring::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[handshakes.version])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth();
        config.resumption = match handshakes.kind {
            HandshakeKind::Resumed => Resumption::in_memory_sessions(1),
            _ => Resumption::disabled(),
        };
        Ok(Caller { port, kind: handshakes.kind, config: Arc::new(config) })
    }

    /// A new connection, whose handshake comes with the first request.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn connect(&self) -> io::Result<Client<StreamOwned<ClientConnection, TcpStream>>> {
        let socket = Client::connect(self.port)?.stream;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        Ok(Client::over(StreamOwned::new(connection, socket)))
    }

    /// A new connection, one request, its answer, and the connection's end.
    ///
    /// # Errors
    ///
    /// What the socket says, what is wrong with the answer, or that the handshake was of another kind.
    pub fn call(&self) -> io::Result<()> {
        self.call_for(self.kind)
    }

    fn call_for(&self, kind: HandshakeKind) -> io::Result<()> {
        let mut client = self.connect()?;
        client.send("/", "Connection: close\r\n", 1)?;
        client.receive()?;
        let found = client.stream.conn.handshake_kind();
        if found != Some(kind) {
            return Err(io::Error::other(format!("the handshake is not {kind:?}, but {found:?}")));
        }
        // There is none in a resumed handshake of TLS 1.2.
        let group = client.stream.conn.negotiated_key_exchange_group().map(|group| group.name());
        if group.is_some_and(|group| group != NamedGroup::X25519) {
            return Err(io::Error::other(format!("the group is not X25519, but {group:?}")));
        }
        match client.is_closed() {
            true => Ok(()),
            false => Err(io::Error::other("does not end the connection as TLS wants it")),
        }
    }
}

/// Accepts any certificate and any signature.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
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

    /// Serves while `client` runs with the port.
    fn serving(context: &SslContext, client: impl FnOnce(u16)) {
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
    fn a_resumed_handshake_is_told_from_a_full_one() {
        let _certificate = Certificate::make().expect("writable");
        let (certificate, key) = certificate::files(&certificate::folder(std::process::id()));

        serving(&SslContext::from_files(&certificate, Some(&key)).expect("usable"), |port| {
            for handshakes in
                [Handshakes::FULL_1_3, Handshakes::FULL_1_2, Handshakes::RESUMED_1_3, Handshakes::RESUMED_1_2]
            {
                let caller = handshakes.caller(port).expect("answered");
                for _ in 0..3 {
                    caller.call().expect("answered");
                }
            }
        });

        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("PEM")];
        let mut forgetful = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).expect("PEM"))
            .expect("usable");
        forgetful.session_storage = Arc::new(NoServerSessionStorage {});
        serving(&SslContext::from_config(Arc::new(forgetful)), |port| {
            for handshakes in [Handshakes::RESUMED_1_3, Handshakes::RESUMED_1_2] {
                let error = handshakes.caller(port).expect("answered").call().expect_err("there is no session");
                assert!(error.to_string().contains("not Resumed"), "{error}");
            }
        });
    }
}
