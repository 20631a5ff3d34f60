//! TLS below the HTTP client of `amboss_testkit`, under the test's control.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use amboss_testkit::{Client, End};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

/// Both versions of TLS that the server speaks.
pub const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client configuration that accepts any certificate. Real clients test the verification of certificates.
pub fn config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    config_with(ring::default_provider(), versions)
}

pub fn config_with(provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(versions).unwrap();
    builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate)).with_no_client_auth()
}

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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client over TLS.
pub type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// Connects and performs the handshake.
#[track_caller]
pub fn connect_tls(addr: SocketAddr, config: ClientConfig) -> TlsClient {
    connect_tls_to("localhost", addr, config)
}

/// As [`connect_tls`], and asks for this name.
#[track_caller]
pub fn connect_tls_to(name: &'static str, addr: SocketAddr, config: ClientConfig) -> TlsClient {
    let mut client = without_handshake_to(name, addr, config);
    let StreamOwned { conn, sock } = &mut client.stream;
    while conn.is_handshaking() {
        conn.complete_io(sock).unwrap();
    }
    client
}

/// Connects and leaves the handshake to the test.
#[track_caller]
pub fn without_handshake(addr: SocketAddr, config: ClientConfig) -> TlsClient {
    without_handshake_to("localhost", addr, config)
}

#[track_caller]
fn without_handshake_to(name: &'static str, addr: SocketAddr, config: ClientConfig) -> TlsClient {
    let connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    Client::on(StreamOwned::new(connection, Client::connect(addr).stream))
}

/// Announces that the client sends no more, and leaves the socket open.
pub fn send_close_notify(client: &mut TlsClient) {
    let StreamOwned { conn, sock } = &mut client.stream;
    conn.send_close_notify();
    while conn.wants_write() {
        conn.write_tls(sock).unwrap();
    }
}

/// Reads until the peer ends the connection. Returns what has arrived, and how the peer ended the connection: with TLS,
/// `End::Orderly` is a close_notify.
#[track_caller]
pub fn rest_and_end<S: Read + Write>(client: &mut Client<S>) -> (Vec<u8>, End) {
    let rest = client.rest();
    (rest, client.end().unwrap())
}
