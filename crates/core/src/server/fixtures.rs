//! Fixtures of the server's unit tests: a service, connections over an in-memory transport or a socket pair, and waiting.

use std::collections::VecDeque;
use std::io;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::read_buffer::ReadBuffer;
use super::connection::Connection;
#[cfg(unix)]
use super::event_loop::EventLoop;
use super::io::socket::Socket;
use super::io::transport::Transport;
use super::listener::Endpoint;
use super::log::NoLog;
use super::scheduler::{Admission, Scheduler};
use super::service::Service;
use super::settings::Settings;
use super::sync::lock;
use super::sys::Interest;
use crate::wsgi::{AppError, Body, Environ, Peer, ServerInfo, StartResponse};

/// An application that responds with the path of the request. `/panic` panics, `/fail` returns an error, `/large`
/// responds with 1 MiB.
pub(crate) fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    let path = environ.text("PATH_INFO").into_owned();
    match path.as_str() {
        "/panic" => panic!("as asked"),
        "/fail" => return Err("as asked".into()),
        _ => {}
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")])?;
    Ok(if path == "/large" { Body::from(vec![b'x'; 1 << 20]) } else { Body::from(path) })
}

/// Returns a service that runs [`app`] and does not log.
pub(crate) fn service(change: impl FnOnce(&mut Settings)) -> Arc<Service> {
    let mut settings = Settings { log: Arc::new(NoLog), ..Settings::default() };
    change(&mut settings);
    let info = ServerInfo {
        software: String::new(),
        shutdown: Box::new(|| {}),
        multithread: false,
        multiprocess: false,
        run_once: false,
    };
    Arc::new(Service::new(Arc::new(app), settings, info))
}

/// What a client sends, and how much it receives.
#[derive(Default)]
pub(crate) struct Script {
    /// The result of each read. An empty piece is the end of the stream; after the last piece, reads return
    /// `WouldBlock`.
    pub(crate) input: VecDeque<Vec<u8>>,
    pub(crate) output: Vec<u8>,
    /// How many more bytes the client accepts; `None` for any number.
    pub(crate) takes: Option<usize>,
    pub(crate) write_shut_down: bool,
}

#[derive(Clone, Default)]
pub(crate) struct ScriptedTransport(pub(crate) Arc<Mutex<Script>>);

impl ScriptedTransport {
    pub(crate) fn send(&self, bytes: &[u8]) {
        lock(&self.0).input.push_back(bytes.to_vec());
    }

    /// What the client has received so far.
    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0).output).into_owned()
    }
}

impl Transport for ScriptedTransport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = lock(&self.0);
        let Some(mut piece) = script.input.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            script.input.push_front(piece.split_off(count));
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut script = lock(&self.0);
        let count = script.takes.map_or(bytes.len(), |takes| takes.min(bytes.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        script.takes = script.takes.map(|takes| takes - count);
        script.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn wait(&mut self, _: Interest, _: Duration) -> io::Result<bool> {
        Ok(false)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        lock(&self.0).write_shut_down = true;
        Ok(())
    }
}

/// Returns a connection over the transport.
pub(crate) fn connection(service: &Service, transport: &ScriptedTransport) -> Box<Connection> {
    let endpoint = Arc::new(Endpoint { name: "test".into(), port: "80".into() });
    let presence = std::sync::Weak::<Socket>::new();
    let mut connection = Connection::new(Box::new(transport.clone()), presence, endpoint, Peer::Local, service.now());
    connection.attach_buffer(|| ReadBuffer::with_settings(&service.settings));
    Box::new(connection)
}

/// A driver that queues every request.
pub(crate) struct Busy;

impl Scheduler for Busy {
    fn admit(&mut self) -> Admission {
        Admission::Queue
    }
}

/// How long a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a condition holds. Fails with `what` after [`DEADLINE`].
///
/// The unit tests do not use `amboss_testkit`, because the published package contains them but not that crate.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Adds a connection to a loop. Returns the client's end.
#[cfg(unix)]
pub(crate) fn connect(event_loop: &mut EventLoop) -> UnixStream {
    let (near, client) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let socket = Arc::new(Socket::Unix(near));
    let endpoint = Arc::new(Endpoint { name: "test".into(), port: "0".into() });
    let now = event_loop.service.now();
    let connection = Connection::new(Box::new(socket.clone()), socket.presence(), endpoint, Peer::Local, now);
    event_loop.insert(socket, Box::new(connection));
    client
}
