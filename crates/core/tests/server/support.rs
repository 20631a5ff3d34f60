//! What the tests of this binary share: servers in threads ([`Setup`], [`TestServer`]), their logs and applications.
//!
//! Clients, temporary folders and waiting for conditions come from `amboss_testkit`.

mod apps;
mod layers;
mod log;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_core::{
    make_server, Address, Application, BodyMode, Concurrency, LocalAddr, Log, NoLog, PollerKind, ServeError, Settings,
    ShutdownHandle,
};
#[cfg(unix)]
pub use amboss_testkit::skip;
pub use amboss_testkit::{find, poll_until, wait_until, Client, Response, TempDir, DEADLINE};

pub use apps::{blocking_app, stress_app, test_app, Semaphore};
pub use layers::{connect_masked, MaskingLayer, ProbeLayer, UnmaskingStream, CLOSING_MESSAGE, HANDSHAKE};
pub use log::RecordingLog;

/// One millisecond, for durations such as `50 * MS`.
pub const MS: Duration = Duration::from_millis(1);

/// Returns a lock that is held by tests with hundreds of connections, so that the descriptors of this process suffice.
pub fn lock_many_connections() -> MutexGuard<'static, ()> {
    static MANY_CONNECTIONS: Mutex<()> = Mutex::new(());
    MANY_CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the default settings without a log.
pub fn settings_without_log() -> Settings {
    let mut settings = Settings::default();
    settings.log = Arc::new(NoLog);
    settings
}

/// Lets applications read request bodies as they arrive.
pub fn stream_bodies(settings: &mut Settings) {
    settings.body_mode = BodyMode::Stream;
}

/// What a [`TestServer`] is started with.
#[derive(Clone)]
pub struct Setup {
    pub concurrency: Concurrency,
    pub settings: Settings,
    pub addresses: Vec<Address>,
}

impl Setup {
    /// Returns the setup of a server on a free port of 127.0.0.1 with the default settings.
    pub fn new(concurrency: Concurrency) -> Setup {
        let addresses = vec![Address::new("127.0.0.1", 0)];
        Setup { concurrency, settings: Settings::default(), addresses }
    }

    pub fn threaded() -> Setup {
        Setup::new(Concurrency::Threads)
    }

    pub fn single() -> Setup {
        Setup::new(Concurrency::Single)
    }

    /// Changes the settings.
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Setup {
        change(&mut self.settings);
        self
    }

    /// Listens on these addresses instead.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub fn on(mut self, addresses: &[&str]) -> Setup {
        self.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self
    }

    /// Starts the server in a thread of its own.
    pub fn start(self, app: impl Application + 'static) -> TestServer {
        self.start_logging(app, |log| log)
    }

    /// Starts the server with the log that `wrap` makes of the recording one.
    pub fn start_logging(
        mut self,
        app: impl Application + 'static,
        wrap: impl FnOnce(Arc<RecordingLog>) -> Arc<dyn Log>,
    ) -> TestServer {
        let log = Arc::new(RecordingLog::default());
        self.settings.log = wrap(log.clone());
        let mut server = make_server(&self.addresses, app, self.concurrency, self.settings).unwrap();
        let local = server.local_addrs().to_vec();
        let handle = server.shutdown_handle();
        let thread = std::thread::spawn(move || server.serve_forever());
        TestServer { local, handle, log, thread: Some(thread) }
    }
}

/// Runs `test` with each kind of server that runs in this process, and with each poller.
pub fn for_each_server<A: Application + 'static>(app: A, test: impl Fn(&TestServer)) {
    for_each_server_with(|_| {}, app, test);
}

/// Runs `test` as [`for_each_server`] does, with changed settings.
pub fn for_each_server_with<A: Application + 'static>(
    change: impl Fn(&mut Settings),
    app: A,
    test: impl Fn(&TestServer),
) {
    let app = Arc::new(app);
    for concurrency in [Concurrency::Single, Concurrency::Threads] {
        for poller in [PollerKind::Auto, PollerKind::Poll] {
            let setup = Setup::new(concurrency).with(&change).with(|settings| settings.runtime.poller = poller);
            test(&setup.start(app.clone()));
        }
    }
}

/// A server in a thread. Dropping the value stops the server and joins the thread.
pub struct TestServer {
    pub local: Vec<LocalAddr>,
    pub handle: ShutdownHandle,
    pub log: Arc<RecordingLog>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TestServer {
    /// Returns the server's first address, which has to be TCP.
    pub fn addr(&self) -> SocketAddr {
        match &self.local[0] {
            LocalAddr::Tcp(address) => *address,
            other => panic!("{other} is not a TCP address"),
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// Sends one request on a connection of its own, and returns the response.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().with_fields("Connection: close\r\n").get(path)
    }

    /// Asserts that requests succeed, each within two seconds.
    #[track_caller]
    pub fn assert_responsive(&self, requests: usize) {
        for _ in 0..requests {
            let start = Instant::now();
            assert_eq!(self.get("/").text(), "hello");
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        }
    }

    /// Asserts that a request on a connection of its own gets `status`, and that the server then closes the connection.
    /// With `half_closes`, the client ends its side behind the request.
    #[track_caller]
    pub fn assert_refuses(&self, name: &str, request: &str, half_closes: bool, status: u16) {
        let mut client = self.connect();
        client.send(request);
        if half_closes {
            client.finish_sending();
        }
        let response = client.response();
        assert_eq!((response.status, response.field("Connection")), (status, Some("close")), "{name}");
        client.finish_sending();
        assert!(client.at_end(), "{name}");
    }

    /// Whether `serve_forever` has returned.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until `serve_forever` returns without being told to, and returns its result.
    #[track_caller]
    pub fn join(mut self) -> std::thread::Result<Result<(), ServeError>> {
        wait_until("serve_forever has returned", || self.is_finished());
        self.thread.take().unwrap().join()
    }

    /// Stops the server, and returns how long that took.
    #[track_caller]
    pub fn stop(self) -> Duration {
        let start = Instant::now();
        self.handle.shutdown();
        self.join().unwrap().unwrap();
        start.elapsed()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.shutdown();
        if std::thread::panicking() {
            // The test has failed already; a server that hangs as well must not hide why.
            let deadline = Instant::now() + DEADLINE;
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(MS);
            }
            return;
        }
        wait_until("the server has stopped", || thread.is_finished());
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
