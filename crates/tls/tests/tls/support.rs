//! Test servers, a TLS client under the test's control, and waiting for conditions.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_core::{
    make_server, on_upgrade, AccessRecord, Address, AppError, Application, Body, Concurrency, Environ, LocalAddr, Log,
    ServeError, Settings, ShutdownHandle, StartResponse,
};
use amboss_tls::SslContext;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

/// How long a step of a test can take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A log that keeps its error messages.
#[derive(Default)]
pub struct CapturingLog(Mutex<Vec<String>>);

impl CapturingLog {
    pub fn errors(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits for a message that contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.errors().contains(text) {
            assert!(Instant::now() < until, "not in the log: {text}\n{}", self.errors());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Log for CapturingLog {
    fn access(&self, _: &AccessRecord<'_>) {}

    fn error(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// A context with a certificate that is generated for the test.
pub fn context() -> SslContext {
    SslContext::adhoc_in(&temp_dir("context").0, &[]).unwrap()
}

/// The settings of a test server.
pub struct Setup {
    pub concurrency: Concurrency,
    pub settings: Settings,
}

impl Setup {
    pub fn threaded() -> Setup {
        Setup { concurrency: Concurrency::Threads, settings: Settings::default() }
    }

    pub fn single_threaded() -> Setup {
        Setup { concurrency: Concurrency::Single, settings: Settings::default() }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Setup {
        change(&mut self.settings);
        self
    }

    /// Serves [`fixture`] in a thread.
    pub fn start(self, context: &SslContext) -> TestServer {
        self.start_app(context, fixture)
    }

    pub fn start_app(mut self, context: &SslContext, app: impl Application + 'static) -> TestServer {
        let log = Arc::new(CapturingLog::default());
        self.settings.log = log.clone();
        self.settings.transport = Some(context.clone().log(log.clone()).layer());
        let mut server = make_server(&[Address::new("127.0.0.1", 0)], app, self.concurrency, self.settings).unwrap();
        let LocalAddr::Tcp(addr) = server.local_addrs()[0] else { panic!("no TCP address") };
        let handle = server.shutdown_handle();
        let thread = std::thread::spawn(move || server.serve_forever());
        TestServer { addr, handle, log, thread: Some(thread) }
    }
}

/// A server in a thread, which is stopped and joined when dropped.
pub struct TestServer {
    pub addr: SocketAddr,
    pub handle: ShutdownHandle,
    pub log: Arc<CapturingLog>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TestServer {
    pub fn connect(&self) -> TcpStream {
        connect(self.addr)
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.connect(), config(&BOTH))
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    /// Stops the server, and returns how long that took.
    #[track_caller]
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.handle.shutdown();
        wait_until("serve_forever returns", || self.thread.as_ref().is_none_or(JoinHandle::is_finished));
        self.thread.take().unwrap().join().unwrap().unwrap();
        began.elapsed()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.shutdown();
        if !std::thread::panicking() {
            thread.join().unwrap().unwrap();
        }
    }
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

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
    /// Without close_notify, or by a reset.
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

/// Pseudorandom bytes, so that a missing or misplaced piece is noticed.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// The application of the test servers: `/environ` lists the environ, `/echo` returns the request body, `/large/N`
/// returns N bytes of [`pattern`], `/blocks/N` the same in blocks of many sizes, `/file/N` the same as a file,
/// `/upgrade` echoes everything after the upgrade, `/cut` fails in the middle of its response, and every other path
/// returns `hello`.
pub fn fixture(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    let length = path.rsplit('/').next().and_then(|last| last.parse::<usize>().ok()).unwrap_or(0);
    let ok = |start_response: &mut dyn StartResponse| start_response.start("200 OK", &[]);
    match path.split('/').nth(1).unwrap_or_default() {
        "environ" => {
            let mut lines: Vec<String> =
                environ.iter().map(|(key, value)| format!("{key}={}\n", value.escape_ascii())).collect();
            lines.sort();
            ok(start_response)?;
            Ok(Body::from(lines.concat()))
        }
        "echo" => {
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            ok(start_response)?;
            Ok(Body::from(body))
        }
        "large" => {
            ok(start_response)?;
            Ok(Body::from(pattern(length)))
        }
        "blocks" => {
            start_response.start("200 OK", &[("Content-Length", length.to_string().as_str())])?;
            let (bytes, mut sent, mut size) = (pattern(length), 0, 1);
            Ok(Body::iter(std::iter::from_fn(move || {
                let block = bytes[sent..].iter().take(size).copied().collect::<Vec<u8>>();
                (sent, size) = (sent + block.len(), size * 3 % 100_003);
                (!block.is_empty()).then_some(block)
            })))
        }
        "file" => {
            let folder = temp_dir("file");
            std::fs::write(folder.join("f"), pattern(length))?;
            ok(start_response)?;
            Ok(Body::file(std::fs::File::open(folder.join("f"))?))
        }
        "upgrade" => {
            on_upgrade(environ, |connection| {
                // The application cannot have the socket itself, because the connection is encrypted.
                let mut connection = connection.into_socket().expect_err("the connection is encrypted");
                let mut piece = [0; 1000];
                while let Ok(count @ 1..) = connection.read(&mut piece) {
                    connection.write_all(&piece[..count]).unwrap();
                }
            });
            start_response.start("101 Switching Protocols", &[("Upgrade", "x"), ("Connection", "Upgrade")])?;
            Ok(Body::empty())
        }
        "cut" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::try_iter([Ok(b"half".to_vec()), Err("the rest is missing".into())]))
        }
        _ => {
            ok(start_response)?;
            Ok(Body::from("hello"))
        }
    }
}

pub fn temp_dir(name: &str) -> TempDir {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("amboss-tls-{name}-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    TempDir(path)
}

/// A directory that is removed at the end of the test.
pub struct TempDir(pub std::path::PathBuf);

impl TempDir {
    pub fn join(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    /// As [`join`](TempDir::join), as text for command lines.
    pub fn path(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
