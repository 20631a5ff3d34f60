//! A TLS and HTTP client under the test's control.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

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

/// A parsed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With close_notify.
    Clean,
    /// Without close_notify, or with a reset.
    Cut,
}

/// An HTTP client on a TLS connection, or on any other stream.
pub struct Client<S = StreamOwned<ClientConnection, TcpStream>> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl Client {
    /// Performs the handshake.
    #[track_caller]
    pub fn new(stream: TcpStream, config: ClientConfig) -> Client {
        let mut client = Client::without_handshake(stream, config);
        let StreamOwned { conn, sock } = &mut client.stream;
        while conn.is_handshaking() {
            conn.complete_io(sock).unwrap();
        }
        client
    }

    pub fn without_handshake(stream: TcpStream, config: ClientConfig) -> Client {
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        Client::on(StreamOwned::new(connection, stream))
    }

    /// Announces that the client sends no more, and leaves the socket open.
    pub fn send_close_notify(&mut self) {
        let StreamOwned { conn, sock } = &mut self.stream;
        conn.send_close_notify();
        while conn.wants_write() {
            conn.write_tls(sock).unwrap();
        }
    }
}

impl<S: Read + Write> Client<S> {
    pub fn on(stream: S) -> Client<S> {
        Client { stream, buffer: Vec::new() }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.response()
    }

    /// Reads into the buffer. Returns how the stream ended, if it did.
    #[track_caller]
    fn fill(&mut self) -> Option<End> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Some(End::Clean),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                Some(End::Cut)
            }
            Err(error) => panic!("no response: {error}; so far: {}", self.buffer.escape_ascii()),
        }
    }

    /// Reads until the end of the stream. Returns what was read, and how the stream ended.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.fill() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert_eq!(self.fill(), None, "ended after {}", self.buffer.escape_ascii());
        }
        self.buffer.drain(..count).collect()
    }

    #[track_caller]
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.buffer.drain(..at + 4).collect()).unwrap();
            }
            assert_eq!(self.fill(), None, "ended after {}", self.buffer.escape_ascii());
        }
    }

    /// Reads a response with a Content-Length.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let head = self.head();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let mut response = Response { status, head, body: Vec::new() };
        let length = response.field("Content-Length").map_or(0, |length| length.parse().unwrap());
        response.body = self.exactly(length);
        response
    }
}
