//! Serving without hand-over: one request at a time, in the thread that asked for it.

use std::io;
use std::time::{Duration, Instant};

use super::connection::{Alone, Connection, Permission, Step, Turn};
use super::crew::upgrade;
use super::looping::{Loop, Next, Token};
use super::service::Service;
use super::shutdown::ShutdownHandle;

/// How long a call has to take, in milliseconds, before the loop reads what has come meanwhile first: by then clients may
/// have left, and others wait.
const AWAY: u64 = 100;

/// Serves until the server is told to stop.
///
/// After a call that took long, the requests that have come meanwhile are read, and wait in a queue from then on, before
/// the next one runs. So those are not run whose clients have left, or that have waited for too long.
pub(super) fn serve(lead: &mut Loop, shutdown: &ShutdownHandle) -> io::Result<()> {
    /// The first reads what has come, the second hears whose clients have left since.
    const LOOKS: u64 = 2;
    let mut reads_first = false;
    // The next of the batch is one that has waited.
    let mut resumed = false;
    let mut looks_before = lead.looks;
    loop {
        match lead.next(reads_first.then_some(Duration::ZERO))? {
            Next::Work { token, connection, readable } if reads_first && !resumed => {
                advance(lead, token, connection, readable, &mut Reader);
            }
            Next::Work { token, connection, readable } => {
                let began = lead.now;
                work(lead, token, connection, readable);
                reads_first |= lead.now.saturating_sub(began) >= AWAY;
                (resumed, looks_before) = (false, lead.looks);
            }
            Next::Discard(discarded) => drop(discarded),
            Next::Look => lead.take_mail(),
        }
        if reads_first && !resumed && lead.rest_of_batch() == 0 && lead.looks >= looks_before + LOOKS {
            resumed = lead.resume_waiting(1) > 0;
            reads_first = resumed;
        }
        if stop_if_asked(lead, shutdown) {
            return Ok(());
        }
    }
}

/// Reads requests while none may run.
struct Reader;

impl Turn for Reader {
    fn permission(&mut self) -> Permission {
        Permission::Wait
    }
}

/// Advances one connection; true when it has a request that was answered or is being answered.
pub(super) fn work(lead: &mut Loop, token: Token, connection: Box<Connection>, readable: bool) -> bool {
    advance(lead, token, connection, readable, &mut Alone)
}

fn advance(
    lead: &mut Loop,
    token: Token,
    mut connection: Box<Connection>,
    readable: bool,
    turn: &mut dyn Turn,
) -> bool {
    let service = lead.service.clone();
    let before = connection.answered;
    let step = connection.guarded(&service, |it| it.advance(&service, turn, readable, lead.now));
    lead.answered += connection.answered - before;
    let has_request = connection.answered > before || connection.is_answering();
    // The deadlines of those that were there all the time begin when somebody can look at them.
    lead.now = service.now();
    if step == Step::Turn {
        // It may have arrived while the application ran in this thread.
        connection.queued_earlier(lead.socket(token).and_then(|socket| socket.since_data()));
    }
    if step == Step::Upgrade {
        lead.vacate(token);
        upgrade(connection, turn, &service);
        lead.now = service.now();
    } else {
        lead.put_back(token, connection, step);
    }
    has_request
}

/// Begins to stop when that was asked for; true when nothing is left to do.
pub(super) fn stop_if_asked(lead: &mut Loop, shutdown: &ShutdownHandle) -> bool {
    if has_failed(&lead.service) {
        shutdown.shutdown();
    }
    if shutdown.is_requested() && !lead.is_stopping() {
        lead.begin_stop(shutdown);
    }
    if !lead.is_stopping() {
        return false;
    }
    if lead.is_past_stop() {
        lead.cut_all();
        return true;
    }
    lead.open() == 0
}

fn has_failed(service: &Service) -> bool {
    service.settings.passthrough_errors
        && service.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some()
}

/// Serves one request, and returns when its answer is out; false when none came in time.
pub(super) fn serve_one(lead: &mut Loop, patience: Duration, shutdown: &ShutdownHandle) -> io::Result<bool> {
    // Connections that have something to say while another one is being answered: theirs is the next call.
    let mut later = Vec::new();
    let result = answer_one(lead, patience, shutdown, &mut later);
    for (token, connection) in later {
        lead.put_back(token, connection, Step::Again);
    }
    result
}

fn answer_one(
    lead: &mut Loop,
    patience: Duration,
    shutdown: &ShutdownHandle,
    later: &mut Vec<(Token, Box<Connection>)>,
) -> io::Result<bool> {
    // Beyond the clock's end there is no deadline.
    let deadline = Instant::now().checked_add(patience);
    let before = lead.answered;
    let mut busy: Option<Token> = None;
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() && busy.is_none() {
            return Ok(false);
        }
        // Once there is a request, the deadlines of its connection bound the wait.
        let wait = if busy.is_some() { Duration::MAX } else { left.max(Duration::from_millis(1)) };
        match lead.next(Some(wait))? {
            Next::Work { token, connection, .. } if busy.is_some_and(|busy| busy != token) => {
                later.push((token, connection));
            }
            Next::Work { token, connection, readable } => {
                if work(lead, token, connection, readable) {
                    busy = Some(token);
                }
            }
            Next::Discard(discarded) => drop(discarded),
            Next::Look => lead.take_mail(),
        }
        if let Some(token) = busy {
            // The answer, and the client's end of the conversation.
            lead.write_answers();
            if lead.has_parted(token) {
                if lead.answered > before {
                    return Ok(true);
                }
                // It left before it had its answer.
                busy = None;
                for (token, connection) in later.drain(..) {
                    lead.put_back(token, connection, Step::Again);
                }
            }
        }
        if has_failed(&lead.service) || stop_if_asked(lead, shutdown) {
            return Ok(lead.answered > before);
        }
    }
}
