//! The driver with processes: it forks a child for each complete request.
//!
//! The parent accepts connections and reads requests; the child runs the application and sends the response. Before it
//! exits, the child sends a [`ChildReport`], which says whether the connection is idle or lingers. The parent has kept
//! its own descriptor of the socket, so it then waits for the next request or for the client's close: a waiting
//! connection does not occupy a process. The report also says whether the application has asked the server to stop, or
//! has failed in a way that ends it. If a child ends without a report, only its connection is lost. With TLS, whose
//! state can't be shared by two processes, the child's response is the last one on its connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::child_report::{ChildReport, FailureText};
use super::single;
use crate::server::connection::{Connection, Step};
use crate::server::event_loop::children::ConnectionOutcome;
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::io::fork_guard::{self, ForkGuard};
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::panics;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::shutdown::ShutdownHandle;
use crate::server::sync::lock;
use crate::server::sys::{self, Forked};

/// The exit code of a child. The outcome of its request is in its report.
const EXIT_CODE: i32 = 0;

struct Child {
    pid: i32,
    /// Identifies the child in the events of the loop.
    number: u64,
    token: Token,
    /// The parent's state of the child's connection, without the request that was in its buffer.
    connection: Option<Box<Connection>>,
    /// Readable when the child has sent its report or has ended.
    exit_socket: UnixStream,
    /// A duplicate of `exit_socket`, if the sockets came from the reserve. It occupies a second descriptor, so that the
    /// end of the child frees the two descriptors that a new reserve needs.
    _reserved: Option<UnixStream>,
}

/// A socket pair: `parent` becomes readable when `child` is written to or closed.
struct ExitSockets {
    parent: UnixStream,
    child: UnixStream,
    /// Whether the sockets came from the reserve.
    reserved: bool,
}

/// The driver of the parent, which asks for a separate process for each request.
struct ForkingParent;

impl Scheduler for ForkingParent {
    fn admit(&mut self) -> Admission {
        Admission::Fork
    }
}

/// Serves until the server is told to stop.
pub(crate) fn serve(event_loop: &mut EventLoop, shutdown: &ShutdownHandle) -> io::Result<()> {
    let mut driver = Driver {
        event_loop,
        shutdown,
        children: Vec::new(),
        numbers: 0,
        reserve: UnixStream::pair().ok(),
        stalled: false,
    };
    let result = driver.run();
    driver.end_children();
    result
}

struct Driver<'s> {
    event_loop: &'s mut EventLoop,
    shutdown: &'s ShutdownHandle,
    children: Vec<Child>,
    /// The number of the child that was started last.
    numbers: u64,
    /// The sockets for one more child, so that a full file table alone never blocks all requests: while the reserve is
    /// in use, the next request waits for the child that has it.
    reserve: Option<(UnixStream, UnixStream)>,
    /// Whether the system has refused a child while others were running. The request waits until one of those has
    /// ended.
    stalled: bool,
}

impl Driver<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.event_loop.next(None)? {
                Next::Work { token, mut connection, readable } => {
                    let service = self.event_loop.service.clone();
                    let now = self.event_loop.now;
                    let step =
                        connection.catch_panic(&service, |it| it.advance(&service, &mut ForkingParent, readable, now));
                    self.event_loop.return_connection(token, connection, step);
                }
                // A drop may block here: applications run in other processes.
                Next::Discard(remains) => drop(remains),
                Next::Notified => self.event_loop.receive_connections(),
            }
            for number in std::mem::take(&mut self.event_loop.ended_children) {
                if let Some(index) = self.children.iter().position(|child| child.number == number) {
                    let child = self.children.swap_remove(index);
                    self.reap(child);
                    self.stalled = false;
                }
            }
            if self.reserve.is_none() {
                self.reserve = UnixStream::pair().ok();
            }
            while !self.stalled && self.children.len() < self.event_loop.service.settings.runtime.processes.max(1) {
                let Some(token) = self.event_loop.pop_queued() else { break };
                let Some(connection) = self.event_loop.take(token) else { continue };
                self.spawn(token, connection);
            }
            if self.event_loop.stop_if_requested(self.shutdown, 0) {
                return Ok(());
            }
        }
    }

    /// Starts a child for a request, and returns in the parent. If the system refuses a child, the request is queued
    /// until a running child has ended; if there is none, the client gets a 503.
    fn spawn(&mut self, token: Token, mut connection: Box<Connection>) {
        self.numbers += 1;
        let number = self.numbers;
        // Otherwise both processes would write the buffered log entries.
        self.event_loop.service.settings.log.sync();
        let error = match self.exit_sockets(number) {
            Ok(sockets) => match self.fork() {
                Ok(Forked::Child) => self.run_child(token, connection, sockets),
                Ok(Forked::Parent(pid)) => {
                    connection.forget_request();
                    let ExitSockets { parent, child, reserved } = sockets;
                    drop(child);
                    let _reserved = if reserved { parent.try_clone().ok() } else { None };
                    let connection = Some(connection);
                    self.children.push(Child { pid, number, token, connection, exit_socket: parent, _reserved });
                    return;
                }
                Err(error) => {
                    self.event_loop.unwatch_child(sockets.parent.as_raw_fd());
                    error
                }
            },
            Err(error) => error,
        };
        let service = self.event_loop.service.clone();
        service.settings.log.error(&format!("can't start a process for a request: {error}"));
        self.stalled = !self.children.is_empty();
        if self.stalled {
            self.event_loop.return_connection(token, connection, Step::Fork);
        } else {
            connection.refuse_unavailable(&service);
            self.event_loop.return_connection(token, connection, Step::Flush);
        }
    }

    fn fork(&self) -> io::Result<Forked> {
        fork_guard::keep_in_child(|| match &self.event_loop.service.settings.runtime.fork {
            None => sys::fork_process(),
            Some(fork) => fork().map(|pid| if pid == 0 { Forked::Child } else { Forked::Parent(pid) }),
        })
    }

    /// Makes the sockets of a child, and watches the parent's one.
    fn exit_sockets(&mut self, number: u64) -> io::Result<ExitSockets> {
        let ((parent, child), reserved) = match UnixStream::pair() {
            Ok(pair) => (pair, false),
            Err(error) => match self.reserve.take() {
                Some(pair) => (pair, true),
                // The request waits for a child that is running.
                None if !self.children.is_empty() => return Err(error),
                None => {
                    // With a full file table, closing two idle connections makes room for the pair.
                    self.event_loop.close_longest_idle(0);
                    self.event_loop.close_longest_idle(0);
                    (UnixStream::pair()?, false)
                }
            },
        };
        self.event_loop.watch_child(parent.as_raw_fd(), number)?;
        Ok(ExitSockets { parent, child, reserved })
    }

    /// In the child: serves the request, reports to the parent, and exits.
    fn run_child(&mut self, token: Token, connection: Box<Connection>, sockets: ExitSockets) -> ! {
        let ExitSockets { parent, child: socket, .. } = sockets;
        // These are inherited copies of descriptors. While this process holds them, other clients do not see their
        // connections close.
        drop(parent);
        self.children.clear();
        self.reserve = None;
        let guard = ForkGuard::new(socket.as_raw_fd());
        // A panic must not unwind into the parent's code, which this process has a copy of.
        let outcome =
            panics::catch(|| serve_in_child(self.event_loop, token, connection)).unwrap_or(ConnectionOutcome::Nothing);
        let failure = lock(&self.event_loop.service.failure).take();
        let failure = failure.and_then(|failure| panics::catch(|| FailureText::new(&failure)).ok());
        let report = ChildReport { outcome, shutdown: self.shutdown.is_requested(), failure };
        // If sending fails, the parent is gone, or it treats the child as killed.
        let _ = report.send(&socket);
        drop((guard, socket));
        sys::exit_now(EXIT_CODE);
    }

    /// Reaps a child that has ended, and takes its connection back.
    fn reap(&mut self, mut child: Child) {
        self.event_loop.unwatch_child(child.exit_socket.as_raw_fd());
        let report = ChildReport::receive(&child.exit_socket);
        // If SIGCHLD is ignored, or the application waits for all children, the child has been reaped already.
        let code = sys::reap(child.pid, true).ok().flatten().flatten();
        let Some(ChildReport { outcome, shutdown, failure }) = report else {
            if code.is_none() {
                let log = &self.event_loop.service.settings.log;
                log.error(&format!("the process {} of a request was killed, and its connection was closed", child.pid));
            }
            self.event_loop.remove(child.token);
            return;
        };
        if let Some(failure) = failure {
            self.event_loop.service.record_failure(|| failure.into_failure());
        }
        if shutdown {
            self.shutdown.shutdown();
        }
        let now = self.event_loop.now;
        match (child.connection.take(), outcome) {
            (Some(mut connection), ConnectionOutcome::Idle) => {
                connection.resume_idle(now);
                // The next request may have arrived: read before waiting.
                self.event_loop.return_connection(child.token, connection, Step::Yield);
            }
            (Some(mut connection), ConnectionOutcome::Lingering { announced }) => {
                let Some(socket) = self.event_loop.socket(child.token) else { return };
                connection.resume_linger(socket, announced, now);
                self.event_loop.return_connection(child.token, connection, Step::Yield);
            }
            _ => self.event_loop.remove(child.token),
        }
    }

    /// Kills the children that are still running after the deadline of running requests, and reaps all of them.
    fn end_children(self) {
        for child in self.children {
            // A child that has ended may have been reaped elsewhere, and its process ID may have been reused.
            if !sys::is_hung_up(child.exit_socket.as_fd()) {
                sys::kill_child(child.pid);
            }
            let _ = sys::reap(child.pid, true);
        }
    }
}

/// In the child: serves one connection until the parent can take it back, or it is closed. Takes only the connection's
/// socket from the parent's loop.
fn serve_in_child(parent_loop: &mut EventLoop, token: Token, connection: Box<Connection>) -> ConnectionOutcome {
    let service = parent_loop.service.clone();
    let Some(socket) = parent_loop.close_all_except(token) else { return ConnectionOutcome::Nothing };
    if !connection.is_plain() {
        service.last_request.store(true, Ordering::Relaxed);
    }
    let Ok(waker) = Waker::new() else { return ConnectionOutcome::Nothing };
    let group = LoopGroup::single(Vec::new());
    let Ok(mut event_loop) = EventLoop::new(service.clone(), group, 0, Arc::new(waker), false) else {
        return ConnectionOutcome::Nothing;
    };
    event_loop.insert(socket, connection);
    let mut outcome = ConnectionOutcome::Nothing;
    while event_loop.open() > 0 && outcome == ConnectionOutcome::Nothing {
        match event_loop.next(None) {
            Ok(Next::Work { token, connection, readable }) => {
                single::serve_connection(&mut event_loop, token, connection, readable);
            }
            Ok(Next::Discard(remains)) => drop(remains),
            Ok(Next::Notified) => {}
            Err(_) => return ConnectionOutcome::Nothing,
        }
        outcome = event_loop.connection_outcome();
    }
    service.settings.log.sync();
    outcome
}
