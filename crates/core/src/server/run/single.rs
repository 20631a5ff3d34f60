//! The driver with one thread: one request at a time, in the thread that waits.

use std::io;
use std::time::{Duration, Instant};

use crate::server::connection::upgrade::run_upgrade;
use crate::server::connection::{Connection, Step};
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::scheduler::{Admission, Scheduler, SingleThread};
use crate::server::shutdown::ShutdownHandle;

/// How long a call has to take, in milliseconds, before the loop first reads what has arrived meanwhile: clients may have
/// left by then, and others wait.
const SLOW_CALL: u64 = 100;

/// Serves until the server is told to stop.
///
/// After a slow call, the requests that have arrived meanwhile are read, and wait in the queue from then on, before the
/// next one runs. So requests do not run whose clients have left, or that have waited too long.
pub(crate) fn serve(event_loop: &mut EventLoop, shutdown: &ShutdownHandle) -> io::Result<()> {
    /// The first poll reads what has arrived, the second one hears which clients have left since.
    const POLLS: u64 = 2;
    let mut reads_first = false;
    // Whether the next connection of the batch is one whose request has waited in the queue.
    let mut resumed = false;
    let mut polls_before = event_loop.polls;
    loop {
        match event_loop.next(reads_first.then_some(Duration::ZERO))? {
            Next::Work { token, connection, readable } if reads_first && !resumed => {
                advance(event_loop, token, connection, readable, &mut ReadOnly);
            }
            Next::Work { token, connection, readable } => {
                let started = event_loop.now;
                serve_connection(event_loop, token, connection, readable);
                reads_first |= event_loop.now.saturating_sub(started) >= SLOW_CALL;
                (resumed, polls_before) = (false, event_loop.polls);
            }
            Next::Discard(remains) => drop(remains),
            Next::Notified => event_loop.receive_connections(),
        }
        let has_read = event_loop.batch_left() == 0 && event_loop.polls >= polls_before + POLLS;
        if reads_first && !resumed && has_read {
            resumed = event_loop.resume_queued(1) > 0;
            reads_first = resumed;
        }
        if event_loop.stop_if_requested(shutdown, 0) {
            return Ok(());
        }
    }
}

/// Reads requests and runs none: each waits in the queue.
struct ReadOnly;

impl Scheduler for ReadOnly {
    fn admit(&mut self) -> Admission {
        Admission::Queue
    }
}

/// Advances one connection. True when a request on it was answered, or is being answered.
pub(crate) fn serve_connection(
    event_loop: &mut EventLoop,
    token: Token,
    connection: Box<Connection>,
    readable: bool,
) -> bool {
    advance(event_loop, token, connection, readable, &mut SingleThread)
}

fn advance(
    event_loop: &mut EventLoop,
    token: Token,
    mut connection: Box<Connection>,
    readable: bool,
    scheduler: &mut dyn Scheduler,
) -> bool {
    let service = event_loop.service.clone();
    let before = connection.answered();
    let step = connection.catch_panic(&service, |it| it.advance(&service, scheduler, readable, event_loop.now));
    let answered = connection.answered() - before;
    event_loop.answered += answered;
    let has_request = answered > 0 || connection.is_responding();
    // The deadlines of connections that waited for this call begin when the loop can look at them again.
    event_loop.now = service.now();
    if step == Step::Queued {
        // The request may have arrived while the application ran in this thread.
        connection.queued_earlier(event_loop.socket(token).and_then(|socket| socket.time_since_data()));
    }
    if step == Step::Upgrade {
        event_loop.remove(token);
        run_upgrade(connection, scheduler, &service);
        event_loop.now = service.now();
    } else {
        event_loop.return_connection(token, connection, step);
    }
    has_request
}

/// Serves one request, and returns when its response is out. False when none came in time.
pub(crate) fn serve_one(event_loop: &mut EventLoop, timeout: Duration, shutdown: &ShutdownHandle) -> io::Result<bool> {
    // Connections that have something to say while another one is being answered: the next call serves them.
    let mut deferred = Vec::new();
    let result = answer_one(event_loop, timeout, shutdown, &mut deferred);
    for (token, connection) in deferred {
        event_loop.return_connection(token, connection, Step::Yield);
    }
    result
}

fn answer_one(
    event_loop: &mut EventLoop,
    timeout: Duration,
    shutdown: &ShutdownHandle,
    deferred: &mut Vec<(Token, Box<Connection>)>,
) -> io::Result<bool> {
    // A timeout beyond the clock's end is none.
    let deadline = Instant::now().checked_add(timeout);
    let before = event_loop.answered;
    let mut busy: Option<Token> = None;
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() && busy.is_none() {
            return Ok(false);
        }
        // Once there is a request, the deadlines of its connection bound the wait.
        let wait = if busy.is_some() { Duration::MAX } else { left.max(Duration::from_millis(1)) };
        match event_loop.next(Some(wait))? {
            Next::Work { token, connection, .. } if busy.is_some_and(|busy| busy != token) => {
                deferred.push((token, connection));
            }
            Next::Work { token, connection, readable } => {
                if serve_connection(event_loop, token, connection, readable) {
                    busy = Some(token);
                }
            }
            Next::Discard(remains) => drop(remains),
            Next::Notified => event_loop.receive_connections(),
        }
        if let Some(token) = busy {
            event_loop.flush_responses();
            if event_loop.has_closed(token) {
                if event_loop.answered > before {
                    return Ok(true);
                }
                // The client left before it had its response.
                busy = None;
                for (token, connection) in deferred.drain(..) {
                    event_loop.return_connection(token, connection, Step::Yield);
                }
            }
        }
        if event_loop.service.has_failed() || event_loop.stop_if_requested(shutdown, 0) {
            return Ok(event_loop.answered > before);
        }
    }
}
