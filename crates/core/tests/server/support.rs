//! Starting servers, speaking to them byte by byte ([`Client`]), and waiting for conditions.

mod client;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_core::{
    make_server, AccessRecord, Address, AppError, Application, Body, BodyMode, Concurrency, Environ, LocalAddr, Log,
    NoLog, PollerKind, ServeError, Settings, ShutdownHandle, StartResponse,
};

pub use client::*;

/// Nothing in these tests takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const MS: Duration = Duration::from_millis(1);

/// Held by tests with hundreds of connections, so that one process has room for them.
pub static HUNDREDS: Mutex<()> = Mutex::new(());

/// Settings without a log.
pub fn quiet() -> Settings {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    settings
}

/// Request bodies are read as they arrive.
pub fn streamed(settings: &mut Settings) {
    settings.body_mode = BodyMode::Stream;
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says aloud that a part the test needs is missing on this machine.
pub fn skipped(what: &str) {
    eprintln!("skipped: {what}");
}

/// A log that keeps what it is told.
#[derive(Default)]
pub struct Captured {
    pub access: Mutex<Vec<(String, u16, u64)>>,
    pub errors: Mutex<Vec<String>>,
}

impl Captured {
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().join("\n")
    }

    /// Waits for an error entry that contains `text`.
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
    fn access(&self, record: &AccessRecord<'_>) {
        let line = record.request_line.escape_ascii().to_string();
        self.access.lock().unwrap().push((line, record.status, record.bytes));
    }

    fn error(&self, message: &str) {
        self.errors.lock().unwrap().push(message.to_owned());
    }
}

/// What a server is started with.
#[derive(Clone)]
pub struct Setup {
    pub concurrency: Concurrency,
    pub settings: Settings,
    pub addresses: Vec<Address>,
}

impl Setup {
    pub fn new(concurrency: Concurrency) -> Setup {
        let addresses = vec![Address::new("127.0.0.1", 0)];
        Setup { concurrency, settings: Settings::default(), addresses }
    }

    pub fn threaded() -> Setup {
        Setup::new(Concurrency::Threads)
    }

    pub fn base() -> Setup {
        Setup::new(Concurrency::Single)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Setup {
        change(&mut self.settings);
        self
    }

    #[cfg_attr(not(unix), allow(dead_code))]
    pub fn on(mut self, addresses: &[&str]) -> Setup {
        self.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self
    }

    /// Serves in a thread of its own.
    pub fn start(self, app: impl Application + 'static) -> Running {
        self.start_logging(app, |log| log)
    }

    /// With something around the log that keeps what it is told.
    pub fn start_logging(
        mut self,
        app: impl Application + 'static,
        around: impl FnOnce(Arc<Captured>) -> Arc<dyn Log>,
    ) -> Running {
        let log = Arc::new(Captured::default());
        self.settings.log = around(log.clone());
        let mut server = make_server(&self.addresses, app, self.concurrency, self.settings).unwrap();
        let local = server.local_addrs().to_vec();
        let handle = server.shutdown_handle();
        let thread = std::thread::spawn(move || server.serve_forever());
        Running { local, handle, log, thread: Some(thread) }
    }
}

/// Both servers that run in this process, each with both ways of waiting.
pub fn everywhere<A: Application + 'static>(app: A, test: impl Fn(&Running)) {
    everywhere_with(|_| {}, app, test);
}

pub fn everywhere_with<A: Application + 'static>(change: impl Fn(&mut Settings), app: A, test: impl Fn(&Running)) {
    let app = Arc::new(app);
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        for poller in [PollerKind::Auto, PollerKind::Poll] {
            let setup = Setup::new(concurrency).with(&change).with(|settings| settings.runtime.poller = poller);
            test(&setup.start(app.clone()));
        }
    }
}

/// A server in a thread; stopped and joined when dropped.
pub struct Running {
    pub local: Vec<LocalAddr>,
    pub handle: ShutdownHandle,
    pub log: Arc<Captured>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        match &self.local[0] {
            LocalAddr::Tcp(address) => *address,
            other => panic!("{other} is no TCP address"),
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.response()
    }

    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for `serve_forever` to return by itself.
    #[track_caller]
    pub fn join(mut self) -> std::thread::Result<Result<(), ServeError>> {
        eventually("serve_forever returns", || self.is_finished());
        self.thread.take().unwrap().join()
    }

    /// Stops the server and says how long that took.
    #[track_caller]
    pub fn stop(self) -> Duration {
        let began = Instant::now();
        self.handle.shutdown();
        self.join().unwrap().unwrap();
        began.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.shutdown();
        let until = Instant::now() + DEADLINE;
        while !thread.is_finished() {
            if Instant::now() > until {
                if !std::thread::panicking() {
                    panic!("the server does not stop");
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Err(panic) = thread.join() {
            if !std::thread::panicking() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Answers as text without the two fields that differ from run to run.
pub fn without_date_and_server(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("Date: ") && !line.starts_with("Server: amboss/")).collect()
}

/// An application that shows what it was asked: `/environ` lists the environ and then the body, `/echo` gives the body
/// back, `/status/N` answers with that status, everything else says hello.
pub fn fixture(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    if let Some(status) = path.strip_prefix("/status/") {
        start_response.start(status, &[])?;
        return Ok(Body::from("a body"));
    }
    match path.as_str() {
        "/environ" => {
            let mut lines: Vec<String> =
                environ.iter().map(|(key, value)| format!("{key}={}\n", value.escape_ascii())).collect();
            lines.sort();
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            lines.push(format!("body={}\n", body.escape_ascii()));
            start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
            Ok(Body::from(lines.concat()))
        }
        "/echo" => {
            let mut body = Vec::new();
            environ.input().read_to_end(&mut body)?;
            start_response.start("200 OK", &[])?;
            Ok(Body::from(body))
        }
        "/stream" => {
            start_response.start("200 OK", &[])?;
            Ok(Body::iter(["one", "", "two"].map(|block| block.as_bytes().to_vec()).into_iter().chain([])))
        }
        _ => {
            start_response.start("200 OK", &[])?;
            Ok(Body::from("hello"))
        }
    }
}

/// A block that is not there yet: the test decides when the application may go on.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, std::sync::Condvar)>);

impl Gate {
    /// Lets one waiter through.
    pub fn open(&self) {
        *self.0 .0.lock().unwrap() += 1;
        self.0 .1.notify_all();
    }

    pub fn pass(&self) {
        let guard = self.0 .0.lock().unwrap();
        let (mut guard, timeout) = self.0 .1.wait_timeout_while(guard, DEADLINE, |open| *open == 0).unwrap();
        assert!(!timeout.timed_out(), "the gate was never opened");
        *guard -= 1;
    }
}

/// The fixture, whose `/gate` waits for the gate, and counts in `begun` how often it was called.
pub fn gated(gate: &Gate, begun: &Arc<AtomicUsize>) -> impl Application + 'static {
    let (gate, begun) = (gate.clone(), begun.clone());
    move |environ: &mut Environ<'_>, start_response: &mut dyn StartResponse| {
        if environ.path() == &b"/gate"[..] {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.pass();
        }
        fixture(environ, start_response)
    }
}

pub fn temp_dir(name: &str) -> TempDir {
    let unique = format!("amboss-{name}-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(unique.replace(['(', ')'], ""));
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
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
