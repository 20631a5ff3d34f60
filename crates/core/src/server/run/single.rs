//! The driver with a single thread, which polls and runs one request at a time.

use std::io;
use std::time::{Duration, Instant};

use crate::server::connection::upgrade::run_upgrade;
use crate::server::connection::{Connection, Step};
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::scheduler::{Admission, Scheduler, SingleThread};
use crate::server::shutdown::ShutdownHandle;

/// How long a call has to take, in milliseconds, before the loop reads all pending input ahead of the next request.
/// During such a call clients may have left, and requests have had to wait.
const SLOW_CALL: u64 = 100;

/// Serves until the server is told to stop.
///
/// After a slow call, all requests that have arrived during it are read and queued before the next one runs. A request
/// whose client has left, or that has waited too long, is thus dropped or refused instead of run.
pub(crate) fn serve(event_loop: &mut EventLoop, shutdown: &ShutdownHandle) -> io::Result<()> {
    /// The number of polls before a queued request runs: the first one reads the requests that have arrived, the second
    /// one detects which of their clients have left.
    const POLLS: u64 = 2;
    let mut reads_first = false;
    // Whether a request from the queue has been put into the batch and runs next.
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

/// A driver that reads requests and queues each of them.
struct ReadOnly;

impl Scheduler for ReadOnly {
    fn admit(&mut self) -> Admission {
        Admission::Queue
    }
}

/// Advances one connection. Returns true if a request was answered, or its response is being sent.
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
    // Deadlines that begin now count from the end of the call.
    event_loop.now = service.now();
    if step == Step::Queued {
        // The request may have arrived while this thread was inside the application.
        connection.backdate_queueing(event_loop.socket(token).and_then(|socket| socket.time_since_data()));
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

/// Serves one request, and returns when its response has been sent. Returns false if no request arrived in time.
pub(crate) fn serve_one(event_loop: &mut EventLoop, timeout: Duration, shutdown: &ShutdownHandle) -> io::Result<bool> {
    // Connections that became ready while another one was being answered. The next call serves them.
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
    // A timeout beyond the range of the clock means no timeout.
    let deadline = Instant::now().checked_add(timeout);
    let before = event_loop.answered;
    let mut busy: Option<Token> = None;
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() && busy.is_none() {
            return Ok(false);
        }
        // Once there is a request, the deadlines of its connection limit the wait.
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
                // The client left before it had received its response.
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
