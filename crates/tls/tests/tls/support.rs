//! Starting servers, speaking TLS to them under control, and waiting for conditions.

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

/// Nothing in these tests takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A log that keeps what it is told.
#[derive(Default)]
pub struct Captured(Mutex<Vec<String>>);

impl Captured {
    pub fn errors(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits for an entry that contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.errors().contains(text) {
            assert!(Instant::now() < until, "not in the log: {text}\n{}", self.errors());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Log for Captured {
    fn access(&self, _: &AccessRecord<'_>) {}

    fn error(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// A context with a certificate made for the test.
pub fn context() -> SslContext {
    SslContext::adhoc_in(&temp_dir("context").0, &[]).unwrap()
}

/// What a server is started with.
pub struct Setup {
    pub concurrency: Concurrency,
    pub settings: Settings,
}

impl Setup {
    pub fn threaded() -> Setup {
        Setup { concurrency: Concurrency::Threads, settings: Settings::default() }
    }

    pub fn base() -> Setup {
        Setup { concurrency: Concurrency::Single, settings: Settings::default() }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Setup {
        change(&mut self.settings);
        self
    }

    /// Serves the fixture in a thread of its own.
    pub fn start(self, context: &SslContext) -> Running {
        self.start_app(context, fixture)
    }

    pub fn start_app(mut self, context: &SslContext, app: impl Application + 'static) -> Running {
        let log = Arc::new(Captured::default());
        self.settings.log = log.clone();
        self.settings.transport = Some(context.clone().log(log.clone()).layer());
        let mut server = make_server(&[Address::new("127.0.0.1", 0)], app, self.concurrency, self.settings).unwrap();
        let LocalAddr::Tcp(addr) = server.local_addrs()[0] else { panic!("no TCP address") };
        let handle = server.shutdown_handle();
        let thread = std::thread::spawn(move || server.serve_forever());
        Running { addr, handle, log, thread: Some(thread) }
    }
}

/// A server in a thread; stopped and joined when dropped.
pub struct Running {
    pub addr: SocketAddr,
    pub handle: ShutdownHandle,
    pub log: Arc<Captured>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
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

    /// Stops the server and says how long that took.
    #[track_caller]
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.handle.shutdown();
        eventually("serve_forever returns", || self.thread.as_ref().is_none_or(JoinHandle::is_finished));
        self.thread.take().unwrap().join().unwrap().unwrap();
        began.elapsed()
    }
}

impl Drop for Running {
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

/// A client's configuration that takes any certificate: who vouches for what is tested with real clients.
pub fn config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    config_with(ring::default_provider(), versions)
}

pub fn config_with(provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(versions).unwrap();
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth()
}

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

/// One answer, taken apart.
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
    /// As TLS wants it.
    Clean,
    /// Without a word, or by a reset.
    Cut,
}

/// A client over TLS, or over anything.
pub struct Client<S = StreamOwned<ClientConnection, TcpStream>> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl Client {
    /// Shakes hands.
    #[track_caller]
    pub fn new(stream: TcpStream, config: ClientConfig) -> Client {
        let mut client = Client::unshaken(stream, config);
        let StreamOwned { conn, sock } = &mut client.stream;
        while conn.is_handshaking() {
            conn.complete_io(sock).unwrap();
        }
        client
    }

    pub fn unshaken(stream: TcpStream, config: ClientConfig) -> Client {
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        Client::on(StreamOwned::new(connection, stream))
    }

    /// Says that nothing more will come, and leaves the socket open.
    pub fn say_goodbye(&mut self) {
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

    /// Reads some more, or says how the stream ended.
    #[track_caller]
    fn more(&mut self) -> Option<End> {
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
            Err(error) => panic!("no answer: {error}; so far: {}", self.buffer.escape_ascii()),
        }
    }

    /// Everything until the end, and how that was.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.more() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert_eq!(self.more(), None, "ended after {}", self.buffer.escape_ascii());
        }
        self.buffer.drain(..count).collect()
    }

    #[track_caller]
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.buffer.drain(..at + 4).collect()).unwrap();
            }
            assert_eq!(self.more(), None, "ended after {}", self.buffer.escape_ascii());
        }
    }

    /// An answer with a length.
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

/// Bytes of which any piece can be told from any other.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// `/environ` lists the environ, `/echo` gives the body back, `/large/N` has N bytes of [`pattern`], `/blocks/N` the
/// same in blocks of many sizes, `/file/N` as a file, `/upgrade` echoes whatever comes, `/cut` fails in the middle;
/// everything else says hello.
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
                // TLS stands between the application and the socket.
                let mut connection = connection.into_socket().expect_err("no socket");
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

/// A directory that goes with the test.
pub struct TempDir(pub std::path::PathBuf);

impl TempDir {
    pub fn join(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    /// The same as text, for command lines.
    pub fn path(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
