//! Test servers and their log. Waiting, temporary folders and the HTTP client come from `amboss_testkit`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amboss_core::{
    make_server, AccessRecord, Address, Application, Concurrency, LocalAddr, Log, ServeError, Settings, ShutdownHandle,
};
use amboss_testkit::poll_until;
pub use amboss_testkit::{wait_for, wait_until, Client, End, Process, TempDir, DEADLINE};
use amboss_tls::SslContext;

pub use crate::fixture::*;
pub use crate::tls_client::*;

/// A log that keeps its error messages. It is not in `amboss_testkit`, which depends on no other crate and so cannot
/// implement [`Log`].
#[derive(Default)]
pub struct CapturingLog(Mutex<Vec<String>>);

impl CapturingLog {
    pub fn errors(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits for a message that contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let poll = || self.errors().contains(text).then_some(());
        poll_until(DEADLINE, poll, || format!("waiting for {text:?} in the log:\n{}", self.errors()));
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
    SslContext::adhoc_in(TempDir::new("context").path(), &[]).unwrap()
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
    /// Returns a connection without TLS.
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    #[track_caller]
    pub fn client(&self) -> TlsClient {
        connect_tls(self.addr, config(&BOTH))
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    /// Stops the server, and returns how long that took.
    #[track_caller]
    pub fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.handle.shutdown();
        wait_until("serve_forever has returned", || self.thread.as_ref().is_none_or(JoinHandle::is_finished));
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
