//! A program as the application of a host: it gets a listening socket of its own, and requests are passed on to it.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use amboss_reload::{EventHandler, Program, Protocol, Supervisor, SupervisorHandle, SupervisorOptions, WorkerFailure};

use crate::sync::lock;
use crate::toolkit::{HttpError, ReverseProxy};
use crate::{AppError, Application, Body, Environ, StartResponse};

/// How long a program may take to end when the server does.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The programs that this process has started.
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

/// The supervisor of a program.
struct Running {
    handle: SupervisorHandle,
    thread: JoinHandle<()>,
    /// The process that has started it. A fork of this process inherits the value, and not the thread.
    process: u32,
}

/// Ends the programs that this process has started, before it ends itself.
pub(crate) fn end_programs() {
    let mut running = std::mem::take(&mut *lock(&RUNNING));
    running.retain(|program| program.process == std::process::id());
    running.iter().for_each(|program| program.handle.stop());
    running.into_iter().for_each(|program| drop(program.thread.join()));
}

/// An application that passes requests on to a program. The program is started with the first request, by the process
/// that serves: a supervisor, which only checks its options, starts none.
pub(crate) struct HostProgram {
    host: String,
    argv: Vec<OsString>,
    exec_wrapper: Option<Vec<OsString>>,
    /// `None` until the program could be started.
    proxy: Mutex<Option<Arc<ReverseProxy>>>,
    state: Arc<State>,
}

/// Whether the program serves.
#[derive(Default)]
struct State {
    /// `None` until the program has been started for the first time, or that has failed.
    is_ready: Mutex<Option<bool>>,
    changed: Condvar,
}

impl State {
    fn set(&self, is_ready: bool) {
        *lock(&self.is_ready) = Some(is_ready);
        self.changed.notify_all();
    }

    /// Waits until the program has been started, and returns whether it serves.
    fn wait(&self) -> bool {
        let is_ready = self.changed.wait_while(lock(&self.is_ready), |is_ready| is_ready.is_none());
        is_ready.unwrap_or_else(PoisonError::into_inner).unwrap_or(false)
    }
}

/// Keeps the state, and prints what the supervisor says.
struct Events {
    host: String,
    state: Arc<State>,
}

impl EventHandler for Events {
    fn ready(&mut self, _: u64) {
        self.state.set(true);
    }

    fn failed(&mut self, failure: &WorkerFailure) {
        if !failure.serving {
            self.state.set(false);
        }
    }

    fn stopping(&mut self) {
        self.state.set(false);
    }

    fn log(&mut self, line: &str) {
        say!(" * {}: {line}", self.host);
    }
}

impl HostProgram {
    /// Makes an application of a command line. `exec_wrapper`: the command that executes a program as a child of a
    /// supervisor.
    pub(crate) fn new(host: &str, argv: Vec<OsString>, exec_wrapper: Option<Vec<OsString>>) -> HostProgram {
        HostProgram { host: host.to_owned(), argv, exec_wrapper, proxy: Mutex::new(None), state: Arc::default() }
    }

    /// The way to the program, which is started if it was not. `None` if the system refuses a socket or a thread for it.
    fn proxy(&self) -> Option<Arc<ReverseProxy>> {
        let mut proxy = lock(&self.proxy);
        if proxy.is_none() {
            match self.start() {
                Ok(started) => *proxy = Some(Arc::new(started)),
                Err(error) => say!("amboss: the program for {} can't be started: {error}", self.host),
            }
        }
        proxy.clone()
    }

    /// Starts the program on a socket of its own, under a supervisor that starts it again when it dies.
    fn start(&self) -> io::Result<ReverseProxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let Some((path, arguments)) = self.argv.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut program = Program::new(path);
        program.args = arguments.to_vec();
        program.exec_wrapper.clone_from(&self.exec_wrapper);
        program.kill_with_parent = true;
        let mut options = SupervisorOptions::default();
        options.handle_signals = false;
        options.protocol = Protocol::Detect { ready_after: Protocol::READY_AFTER };
        (options.drain_timeout, options.kill_timeout) = (END_TIMEOUT, END_TIMEOUT);
        let events = Events { host: self.host.clone(), state: self.state.clone() };
        let supervisor = Supervisor::new(program, vec![listener.into()], options, Box::new(events));
        let handle = supervisor.handle();
        let run = move || {
            supervisor.run();
        };
        let mut running = lock(&RUNNING);
        let thread = thread::Builder::new().name("amboss-program".into()).spawn(run)?;
        running.push(Running { handle, thread, process: std::process::id() });
        drop(running);
        ReverseProxy::new(&url).map_err(io::Error::other)
    }
}

impl Application for HostProgram {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match self.proxy() {
            Some(proxy) if self.state.wait() => proxy.call(environ, start_response),
            _ => HttpError::new(502)
                .with_description("The program of this host can't be started. The log of the server says why.")
                .respond(start_response),
        }
    }
}
