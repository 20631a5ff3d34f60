//! A process for each request: the loop that forks when a head is complete.
//!
//! The parent accepts, reads heads and waits; the child runs the application and answers. At its end the child sends a
//! [`Report`]. When the client keeps the connection, or has yet to close it, the report says so, and the parent, which has
//! held its own descriptor all the while, waits for that: a connection that waits holds no process. The report also
//! says whether the application has stopped the server, or failed in a way that is to end it. A child that ends without
//! a report takes its connection along and nothing else. Over TLS, whose state can't be in two processes, the child's
//! answer is the connection's last.

mod report;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::alone;
use report::{FailureText, Report};

use super::connection::{Connection, Permission, Step, Turn};
use super::descriptors::{self, Noted};
use super::fleet::Fleet;
use super::looping::children::Left;
use super::looping::{Loop, Next, Token};
use super::panics;
use super::shutdown::ShutdownHandle;
use super::sys::{self, Forked};
use super::wake::Wake;

/// A child's exit code. What became of its request stands in its report.
const EXIT_CODE: i32 = 0;

struct Child {
    pid: i32,
    token: Token,
    /// Where the child's connection is, without what stood in its buffer.
    connection: Option<Box<Connection>>,
    /// Readable when the child has sent its report, or ended without one.
    alive: UnixStream,
    number: u64,
    /// Keeps a second place in the file table, if the sockets came from the [`Reserve`], until both can go back there.
    _place: Option<UnixStream>,
}

/// The sockets of one more child, so that a full file table alone never keeps all requests from running. Whoever waits then
/// waits for the child that has them.
struct Reserve(Option<(UnixStream, UnixStream)>);

impl Reserve {
    fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = UnixStream::pair().ok();
        }
    }
}

/// A request asks for a process of its own.
struct Parent;

impl Turn for Parent {
    fn permission(&mut self) -> Permission {
        Permission::Fork
    }
}

/// Serves until the server is told to stop.
pub(super) fn serve(lead: &mut Loop, shutdown: &ShutdownHandle) -> io::Result<()> {
    let mut children: Vec<Child> = Vec::new();
    let mut numbers = 0;
    let mut reserve = Reserve(UnixStream::pair().ok());
    // A child could not be had while others ran: the request waits until one of those has ended.
    let mut stalled = false;
    let result = loop {
        match lead.next(None) {
            Ok(Next::Work { token, mut connection, readable }) => {
                let service = lead.service.clone();
                let step = connection.guarded(&service, |it| it.advance(&service, &mut Parent, readable, lead.now));
                lead.put_back(token, connection, step);
            }
            // The applications run elsewhere.
            Ok(Next::Discard(discarded)) => drop(discarded),
            Ok(Next::Look) => lead.take_mail(),
            Err(error) => break Err(error),
        }
        for number in std::mem::take(&mut lead.ended_children) {
            if let Some(index) = children.iter().position(|child| child.number == number) {
                take_back(lead, children.swap_remove(index), shutdown);
                stalled = false;
            }
        }
        reserve.refill();
        while !stalled && children.len() < lead.service.settings.processes.max(1) {
            let Some(token) = lead.pop_waiting() else { break };
            let Some(connection) = lead.take(token) else { continue };
            numbers += 1;
            match give_away(lead, token, connection, numbers, &mut children, &mut reserve, shutdown) {
                Some(child) => children.push(child),
                None => stalled = !children.is_empty(),
            }
        }
        if alone::stop_if_asked(lead, shutdown) {
            break Ok(());
        }
    };
    for child in children {
        // The deadline for running requests is over: what still runs is ended, and nothing is left as a zombie. A child
        // that has ended may have been collected by others, and its number may be another process's.
        if !sys::is_hung_up(child.alive.as_fd()) {
            sys::kill_child(child.pid);
        }
        let _ = sys::reap(child.pid, true);
    }
    result
}

/// Forks, and goes on as the parent; without a child when the system gives none. Then the request waits for those that
/// run, and if there are none, the client is told so.
fn give_away(
    lead: &mut Loop,
    token: Token,
    mut connection: Box<Connection>,
    number: u64,
    others: &mut Vec<Child>,
    reserve: &mut Reserve,
    shutdown: &ShutdownHandle,
) -> Option<Child> {
    // What is gathered in the log would otherwise be written by both.
    lead.service.settings.log.sync();
    let error = match sign_of_life(lead, number, reserve, !others.is_empty()) {
        Ok(((alive, held), reserved)) => match fork(lead) {
            Ok(Forked::Child) => {
                // Copies of descriptors that would keep other clients from seeing their connections close.
                drop(alive);
                others.clear();
                reserve.0 = None;
                // A panic must not unwind into what belongs to the parent.
                let noted = Noted::new(held.as_raw_fd());
                let left = panics::catch(|| in_child(lead, token, connection)).unwrap_or(Left::Nothing);
                let failure = lead.service.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
                let failure = failure.and_then(|failure| panics::catch(|| FailureText::new(&failure)).ok());
                let report = Report { left, shutdown: shutdown.is_requested(), failure };
                // The parent is gone, or takes a child without a report for one that was killed.
                let _ = report.send(&held);
                drop((noted, held));
                sys::exit_now(EXIT_CODE);
            }
            Ok(Forked::Parent(pid)) => {
                connection.forget_request();
                drop(held);
                let _place = if reserved { alive.try_clone().ok() } else { None };
                return Some(Child { pid, token, connection: Some(connection), alive, number, _place });
            }
            Err(error) => {
                lead.forget_child(alive.as_raw_fd());
                error
            }
        },
        Err(error) => error,
    };
    lead.service.settings.log.error(&format!("can't start a process for a request: {error}"));
    if !others.is_empty() {
        lead.put_back(token, connection, Step::Fork);
        return None;
    }
    connection.refuse_unavailable(&lead.service);
    lead.put_back(token, connection, Step::Flush);
    None
}

fn fork(lead: &Loop) -> io::Result<Forked> {
    descriptors::keep_in_child(|| match &lead.service.settings.fork {
        None => sys::fork_process(),
        Some(fork) => fork().map(|pid| if pid == 0 { Forked::Child } else { Forked::Parent(pid) }),
    })
}

/// Two sockets: the first is readable when the second has been written to or closed, and is watched from now on. True when
/// they are those of the reserve. `runs` says whether there are other children.
fn sign_of_life(
    lead: &mut Loop,
    number: u64,
    reserve: &mut Reserve,
    runs: bool,
) -> io::Result<((UnixStream, UnixStream), bool)> {
    let (pair, reserved) = match UnixStream::pair() {
        Ok(pair) => (pair, false),
        Err(error) => match reserve.0.take() {
            Some(pair) => (pair, true),
            // The request waits for another one that runs.
            None if runs => return Err(error),
            None => {
                // In a full file table, two idle connections make room for a request.
                lead.shed(0);
                lead.shed(0);
                (UnixStream::pair()?, false)
            }
        },
    };
    lead.watch_child(pair.0.as_raw_fd(), number)?;
    Ok((pair, reserved))
}

/// Serves the one connection until the parent can see to it, or it is closed; never returns to the caller's loop.
fn in_child(lead: &mut Loop, token: Token, connection: Box<Connection>) -> Left {
    let service = lead.service.clone();
    let Some(socket) = lead.abandon_but(token) else { return Left::Nothing };
    if !connection.is_plain() {
        service.last_request.store(true, Ordering::Relaxed);
    }
    let Ok(wake) = Wake::new() else { return Left::Nothing };
    let Ok(mut own) = Loop::new(service.clone(), Fleet::single(Vec::new()), 0, Arc::new(wake), false) else {
        return Left::Nothing;
    };
    own.insert(socket, connection);
    while own.open() > 0 {
        match own.next(None) {
            Ok(Next::Work { token, connection, readable }) => {
                alone::work(&mut own, token, connection, readable);
            }
            Ok(Next::Discard(discarded)) => drop(discarded),
            Ok(Next::Look) => {}
            Err(_) => return Left::Nothing,
        }
        let left = own.left();
        if left != Left::Nothing {
            service.settings.log.sync();
            return left;
        }
    }
    service.settings.log.sync();
    Left::Nothing
}

/// A child has ended: its connection waits for another request, or is over.
fn take_back(lead: &mut Loop, mut child: Child, shutdown: &ShutdownHandle) {
    lead.forget_child(child.alive.as_raw_fd());
    let report = Report::receive(&child.alive);
    // Where SIGCHLD is ignored, or the application waits for every child, it has been collected already.
    let code = sys::reap(child.pid, true).ok().flatten().flatten();
    let Some(Report { left, shutdown: stop, failure }) = report else {
        if code.is_none() {
            let log = &lead.service.settings.log;
            log.error(&format!("the process {} of a request was killed; its client was cut off", child.pid));
        }
        lead.vacate(child.token);
        return;
    };
    if let Some(failure) = failure {
        lead.service.pass_through(|| failure.into_failure());
    }
    if stop {
        shutdown.shutdown();
    }
    match (child.connection.take(), left) {
        (Some(mut connection), Left::Idle) => {
            connection.begin_idle(lead.now);
            // Nobody has looked for the next request yet.
            lead.put_back(child.token, connection, Step::Again);
        }
        (Some(mut connection), Left::Lingering { announced }) => {
            let Some(socket) = lead.socket(child.token) else { return };
            connection.linger_after_another(socket, announced, lead.now);
            lead.put_back(child.token, connection, Step::Again);
        }
        _ => lead.vacate(child.token),
    }
}
