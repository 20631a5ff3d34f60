//! `--timeout` and `--max-requests`: when a worker has served long enough, or not come back, its supervisor is asked for
//! a successor.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use amboss::cli::AppConfig;
use amboss::{ShutdownHandle, Worker};
use pyo3::prelude::*;

use crate::application;
use crate::raw::attach;
use crate::Log;

/// How long requests that wait for the interpreter are waited for then: many times what it gives each thread.
const INTERPRETER: Duration = Duration::from_secs(2);

/// How long the loop may take to answer the requests that still wait for a thread with 503.
const REFUSE: Duration = Duration::from_secs(1);

/// Looks after the requests of a process.
pub(crate) struct Overseer {
    timeout: Option<Duration>,
    /// How long a worker whose request does not come back goes on with its others once a successor has taken over: what
    /// running requests have when a server stops.
    leave: Duration,
    /// Requests until a successor is asked for; 0 is without end.
    requests: u64,
    served: AtomicU64,
    running: Mutex<Running>,
    begun: Condvar,
    worker: Mutex<Option<Worker>>,
}

#[derive(Default)]
struct Running {
    next: u64,
    requests: HashMap<u64, Request>,
    /// The thread that watches waits for something to watch.
    resting: bool,
}

struct Request {
    /// When it began, later by the time for which its client was waited for.
    since: Instant,
    /// Since when it waits for its client, in its input or in `write`.
    waits_since: Option<Instant>,
    /// It has the connection's socket, on which nobody can tell waiting for the client from anything else.
    has_socket: bool,
    /// Python's number of the thread.
    thread: u64,
}

impl Request {
    /// When the application will have been running for too long, unless its client is waited for meanwhile.
    fn due(&self, timeout: Duration) -> Option<Instant> {
        (self.waits_since.is_none() && !self.has_socket).then_some(self.since + timeout)
    }
}

/// A request that is running; over when it is dropped.
pub(crate) struct Attended<'a> {
    overseer: &'a Arc<Overseer>,
    number: Option<u64>,
}

impl Attended<'_> {
    /// For the code that waits for the client; `None` when requests are not timed.
    pub(crate) fn client_time(&self) -> Option<ClientTime> {
        self.number.map(|number| ClientTime { overseer: self.overseer.clone(), number })
    }
}

/// Keeps the time for which a request's client is waited for out of the application's time.
pub(crate) struct ClientTime {
    overseer: Arc<Overseer>,
    number: u64,
}

impl ClientTime {
    /// The client is waited for until this is dropped.
    pub(crate) fn begin(&self) -> ClientWait<'_> {
        self.change(|request| request.waits_since = Some(Instant::now()));
        ClientWait(self)
    }

    /// From now on all of it is the client's: the application has the connection's socket.
    pub(crate) fn give_up(&self) {
        self.change(|request| request.has_socket = true);
    }

    fn change(&self, change: impl FnOnce(&mut Request)) {
        if let Some(request) = self.overseer.running().requests.get_mut(&self.number) {
            change(request);
        }
    }
}

pub(crate) struct ClientWait<'a>(&'a ClientTime);

impl Drop for ClientWait<'_> {
    fn drop(&mut self) {
        self.0.change(|request| {
            if let Some(since) = request.waits_since.take() {
                request.since += since.elapsed();
            }
        });
    }
}

impl Overseer {
    /// `None` when nothing is to be looked after.
    pub(crate) fn new(told: &AppConfig) -> Option<Overseer> {
        let jitter = if told.max_requests_jitter == 0 { 0 } else { random() % (told.max_requests_jitter + 1) };
        let requests = told.max_requests.map_or(0, |requests| requests + jitter);
        (requests > 0 || told.timeout.is_some()).then(|| Overseer {
            timeout: told.timeout,
            leave: told.options.settings.timeouts.shutdown,
            requests,
            served: AtomicU64::new(0),
            running: Mutex::default(),
            begun: Condvar::new(),
            worker: Mutex::new(None),
        })
    }

    /// Watches from now on.
    pub(crate) fn begin(self: &Arc<Overseer>, worker: Worker, log: Log, shutdown: Arc<OnceLock<ShutdownHandle>>) {
        *self.worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(worker);
        if let Some(timeout) = self.timeout {
            let overseer = self.clone();
            let watching = thread::Builder::new()
                .name("amboss-timeout".into())
                .spawn(move || overseer.watch(timeout, &log, &shutdown));
            if let Err(error) = watching {
                let _ = writeln!(std::io::stderr(), "amboss: requests are not timed: {error}");
            }
        }
    }

    /// A request begins in this thread.
    pub(crate) fn attend<'a>(self: &'a Arc<Overseer>, py: Python<'_>) -> Attended<'a> {
        if self.requests > 0 && self.served.fetch_add(1, Ordering::Relaxed) + 1 == self.requests {
            self.ask();
        }
        self.timed(py)
    }

    /// A request goes on in this thread: its next block is asked for.
    pub(crate) fn timed<'a>(self: &'a Arc<Overseer>, py: Python<'_>) -> Attended<'a> {
        if self.timeout.is_none() {
            return Attended { overseer: self, number: None };
        }
        let thread = thread_number(py);
        let mut running = self.running();
        let number = running.next;
        running.next += 1;
        running
            .requests
            .insert(number, Request { since: Instant::now(), waits_since: None, has_socket: false, thread });
        if running.resting {
            running.resting = false;
            self.begun.notify_one();
        }
        Attended { overseer: self, number: Some(number) }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn ask(&self) {
        if let Some(worker) = &*self.worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            worker.ask_to_be_replaced();
        }
    }

    /// Sleeps until a request might have run too long; nothing ticks while none runs.
    fn watch(&self, timeout: Duration, log: &Log, shutdown: &OnceLock<ShutdownHandle>) {
        let thread = {
            let mut running = self.running();
            loop {
                let due = |request: &Request| request.due(timeout).map(|due| (due, request.thread));
                match running.requests.values().filter_map(due).min() {
                    Some((due, thread)) if due <= Instant::now() => break thread,
                    Some((due, _)) => {
                        // Not to be woken by each request: the oldest decides, and is looked at again then.
                        drop(running);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        running = self.running();
                    }
                    // All of them wait for their clients, or may.
                    None if !running.requests.is_empty() => {
                        drop(running);
                        thread::sleep(timeout / 4);
                        running = self.running();
                    }
                    None => {
                        running.resting = true;
                        running = self.begun.wait(running).unwrap_or_else(|poisoned| poisoned.into_inner());
                    }
                }
            }
        };
        let seconds = timeout.as_secs_f64();
        log.error(&format!("a request has been running for {seconds} seconds (--timeout); this worker is replaced"));
        self.ask();
        // If the interpreter can be had: code that never lets go of its lock can't be looked at.
        let log = log.clone();
        let _ = thread::Builder::new().name("amboss-where".into()).spawn(move || {
            attach(|py| {
                if let Ok(place) = stack(py, thread) {
                    log.error(&format!("where it is:\n{place}"));
                }
            });
        });
        self.leave(timeout, shutdown);
    }

    /// Ends the process once a successor has taken over and only what is overdue still runs here.
    fn leave(&self, timeout: Duration, shutdown: &OnceLock<ShutdownHandle>) {
        // A look now and then, in a process that is about to end.
        const LOOK: Duration = Duration::from_millis(20);
        // Until there is a successor, it serves on.
        while !shutdown.get().is_some_and(ShutdownHandle::is_requested) {
            thread::sleep(LOOK);
        }
        // So many looks in a row: what others were answered has left by then.
        const QUIET: u32 = 3;
        let (until, until_then) = (Instant::now() + self.leave, Instant::now() + INTERPRETER);
        let mut quiet = 0;
        while Instant::now() < until && quiet < QUIET {
            thread::sleep(LOOK);
            let now = Instant::now();
            let (overdue, others) = {
                let running = self.running();
                let overdue = running
                    .requests
                    .values()
                    .filter(|request| request.due(timeout).is_some_and(|due| due <= now))
                    .count();
                (overdue, running.requests.len() - overdue)
            };
            // A connection without a request here has one that is still arriving, or an answer that is still leaving.
            let open = shutdown.get().map_or(0, ShutdownHandle::open_connections);
            let others = others.max(open.saturating_sub(overdue));
            // Those that wait for the interpreter run, too, and are not counted here yet; it may never be let go of.
            let waiting = application::running() > overdue + others && now < until_then;
            quiet = if others == 0 && !waiting { quiet + 1 } else { 0 };
        }
        // What no other process could take, since it came over TLS, and what no thread was left for.
        if let Some(shutdown) = shutdown.get() {
            shutdown.refuse_waiting(REFUSE);
        }
        std::process::exit(0);
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.overseer.running().requests.remove(&number);
        }
    }
}

fn thread_number(py: Python<'_>) -> u64 {
    let number = py.import("threading").and_then(|threading| threading.call_method0("get_ident")?.extract());
    number.unwrap_or(0)
}

/// Where a thread is, as Python's traceback shows it.
fn stack(py: Python<'_>, thread: u64) -> PyResult<String> {
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    let frame = frames.get_item(thread)?;
    let lines: Vec<String> = py.import("traceback")?.call_method1("format_stack", (frame,))?.extract()?;
    Ok(lines.concat())
}

/// Enough chance for workers not to go together.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
