//! The driver with processes: it forks when a request is complete.
//!
//! The parent accepts, reads heads and waits; a child runs the application and answers. At its end the child sends a
//! [`ChildReport`]. When the client keeps the connection, or has not closed it yet, the report says so, and the parent,
//! which has held its own descriptor all the while, waits for that: a connection that waits holds no process. The report
//! also says whether the application has stopped the server, or has failed in a way that ends it. A child that ends without
//! a report loses its connection and nothing else. Over TLS, whose state can't be in two processes, the child's response is
//! the connection's last.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::child_report::{ChildReport, FailureText};
use super::single;
use crate::server::connection::{Connection, Step};
use crate::server::event_loop::children::Left;
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::io::fork_guard::{self, ForkGuard};
use crate::server::io::waker::Waker;
use crate::server::loop_group::LoopGroup;
use crate::server::panics;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::shutdown::ShutdownHandle;
use crate::server::sync::lock;
use crate::server::sys::{self, Forked};

/// The exit code of a child. What became of its request is in its report.
const EXIT_CODE: i32 = 0;

struct Child {
    pid: i32,
    /// Names the child in the events of the loop.
    number: u64,
    token: Token,
    /// The state of the child's connection, without what stood in its buffer.
    connection: Option<Box<Connection>>,
    /// Readable when the child has sent its report, or has ended without one.
    exit_socket: UnixStream,
    /// Keeps a second entry of the file table, if the sockets came from the reserve, until both can go back there.
    _reserved: Option<UnixStream>,
}

/// Two sockets: the first is readable when the second has been written to or closed.
struct ExitSockets {
    parent: UnixStream,
    child: UnixStream,
    /// Whether they are those of the reserve.
    reserved: bool,
}

/// The driver of the parent: each request asks for a process of its own.
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
    /// The number of children so far.
    numbers: u64,
    /// The sockets of one more child, so that a full file table alone never keeps all requests from running: a request
    /// then waits for the child that has them.
    reserve: Option<(UnixStream, UnixStream)>,
    /// Whether the system refused a child while others ran. The request waits until one of those has ended.
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
                // The applications run in other processes.
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

    /// Starts a child for a request, and goes on as the parent. When the system gives no child, the request waits for those
    /// that run; if there are none, its client is told so.
    fn spawn(&mut self, token: Token, mut connection: Box<Connection>) {
        self.numbers += 1;
        let number = self.numbers;
        // Otherwise what the log has gathered would be written by both processes.
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

    /// Makes the sockets of a child, and watches the parent's.
    fn exit_sockets(&mut self, number: u64) -> io::Result<ExitSockets> {
        let ((parent, child), reserved) = match UnixStream::pair() {
            Ok(pair) => (pair, false),
            Err(error) => match self.reserve.take() {
                Some(pair) => (pair, true),
                // The request waits for another one that runs.
                None if !self.children.is_empty() => return Err(error),
                None => {
                    // In a full file table, two idle connections make room for a request.
                    self.event_loop.close_longest_idle(0);
                    self.event_loop.close_longest_idle(0);
                    (UnixStream::pair()?, false)
                }
            },
        };
        self.event_loop.watch_child(parent.as_raw_fd(), number)?;
        Ok(ExitSockets { parent, child, reserved })
    }

    /// In the child: answers the request, reports to the parent, and exits.
    fn run_child(&mut self, token: Token, connection: Box<Connection>, sockets: ExitSockets) -> ! {
        let ExitSockets { parent, child: socket, .. } = sockets;
        // Copies of descriptors that would keep other clients from seeing their connections close.
        drop(parent);
        self.children.clear();
        self.reserve = None;
        let guard = ForkGuard::new(socket.as_raw_fd());
        // A panic must not unwind into what belongs to the parent.
        let left = panics::catch(|| serve_in_child(self.event_loop, token, connection)).unwrap_or(Left::Nothing);
        let failure = lock(&self.event_loop.service.failure).take();
        let failure = failure.and_then(|failure| panics::catch(|| FailureText::new(&failure)).ok());
        let report = ChildReport { left, shutdown: self.shutdown.is_requested(), failure };
        // Without a report, the parent takes the child for one that was killed; or the parent is gone.
        let _ = report.send(&socket);
        drop((guard, socket));
        sys::exit_now(EXIT_CODE);
    }

    /// Takes back what a child that has ended has left.
    fn reap(&mut self, mut child: Child) {
        self.event_loop.unwatch_child(child.exit_socket.as_raw_fd());
        let report = ChildReport::receive(&child.exit_socket);
        // Where SIGCHLD is ignored, or the application waits for every child, the child has been reaped already.
        let code = sys::reap(child.pid, true).ok().flatten().flatten();
        let Some(ChildReport { left, shutdown, failure }) = report else {
            if code.is_none() {
                let log = &self.event_loop.service.settings.log;
                log.error(&format!("the process {} of a request was killed; its client was cut off", child.pid));
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
        match (child.connection.take(), left) {
            (Some(mut connection), Left::Idle) => {
                connection.resume_idle(now);
                // The next request may have arrived: read before waiting.
                self.event_loop.return_connection(child.token, connection, Step::Yield);
            }
            (Some(mut connection), Left::Lingering { announced }) => {
                let Some(socket) = self.event_loop.socket(child.token) else { return };
                connection.resume_linger(socket, announced, now);
                self.event_loop.return_connection(child.token, connection, Step::Yield);
            }
            _ => self.event_loop.remove(child.token),
        }
    }

    /// Ends the children that still run: the time of running requests is over. None is left as a zombie.
    fn end_children(self) {
        for child in self.children {
            // A child that has ended may have been reaped by others, and its number may be another process's.
            if !sys::is_hung_up(child.exit_socket.as_fd()) {
                sys::kill_child(child.pid);
            }
            let _ = sys::reap(child.pid, true);
        }
    }
}

/// Serves one connection until the parent can go on with it, or it is closed. Uses nothing of the parent's loop but the
/// connection's socket.
fn serve_in_child(parent_loop: &mut EventLoop, token: Token, connection: Box<Connection>) -> Left {
    let service = parent_loop.service.clone();
    let Some(socket) = parent_loop.close_all_except(token) else { return Left::Nothing };
    if !connection.is_plain() {
        service.last_request.store(true, Ordering::Relaxed);
    }
    let Ok(waker) = Waker::new() else { return Left::Nothing };
    let group = LoopGroup::single(Vec::new());
    let Ok(mut event_loop) = EventLoop::new(service.clone(), group, 0, Arc::new(waker), false) else {
        return Left::Nothing;
    };
    event_loop.insert(socket, connection);
    let mut left = Left::Nothing;
    while event_loop.open() > 0 && left == Left::Nothing {
        match event_loop.next(None) {
            Ok(Next::Work { token, connection, readable }) => {
                single::serve_connection(&mut event_loop, token, connection, readable);
            }
            Ok(Next::Discard(remains)) => drop(remains),
            Ok(Next::Notified) => {}
            Err(_) => return Left::Nothing,
        }
        left = event_loop.left();
    }
    service.settings.log.sync();
    left
}
