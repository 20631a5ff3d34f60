//! The driver of a server that is the guest of another event loop, such as the hub of gevent.
//!
//! The host watches one descriptor and calls [`Guest::poll`] when it is readable, or when the time that `poll` has returned
//! is over. `poll` never waits: it accepts, reads, parses, writes, and calls the application, which detaches each request
//! that needs the host ([`StartResponse::detach`](crate::StartResponse::detach)) and begins a task for it. The task answers
//! through the methods of [`Guest`]. Where the client is slow, a method says so, and a later `poll` names the request when
//! the task can continue.
//!
//! The loop is locked during each method, but not while `poll` runs application code or drops the application's values.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::connection::detached::WriteProgress;
use crate::server::connection::upgrade::run_upgrade;
use crate::server::connection::{Connection, Step};
use crate::server::error::{ServeError, ServeErrorKind};
use crate::server::event_loop::{EventLoop, Next, Token};
use crate::server::loop_group::LoopGroup;
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::Service;
use crate::server::shutdown::ShutdownHandle;
use crate::server::sync::lock;
use crate::wsgi::{AppError, DetachedId, FailureResponse, ResponseFilter, StartError, StartErrorKind};

/// The index of a guest's loop in its group, which has no other.
const LOOP: usize = 0;

/// A server that is the guest of another event loop, made by [`Server::into_guest`](super::super::Server::into_guest).
///
/// The host calls all methods in one thread; a task of another thread might find its connection in use. None of the methods
/// waits for a client. A method of a request whose connection has ended reports that the client has gone
/// ([`StartErrorKind::Io`]); the request has to be finished in any case.
pub struct Guest {
    event_loop: Mutex<Box<EventLoop>>,
    service: Arc<Service>,
    group: Arc<LoopGroup>,
    shutdown: ShutdownHandle,
    descriptor: RawFd,
}

/// What [`Guest::poll`] has found.
#[derive(Debug, Default)]
pub struct GuestEvents {
    /// The requests whose tasks can continue: what one of them waited for has happened, or has failed.
    pub resumed: Vec<DetachedId>,
    /// How long the host may wait before it polls again; `None` as long as the descriptor is not readable.
    pub timeout: Option<Duration>,
    /// Whether this is only a part of what has happened: the host polls again at once.
    pub has_more: bool,
    /// Whether the server has stopped: the host does not poll it again.
    pub is_over: bool,
}

impl Guest {
    pub(in crate::server) fn new(
        event_loop: Box<EventLoop>,
        service: Arc<Service>,
        shutdown: ShutdownHandle,
    ) -> Result<Guest, ServeError> {
        let Some(descriptor) = event_loop.descriptor().map(|descriptor| descriptor.as_raw_fd()) else {
            let message = "a guest needs epoll, whose descriptor its host watches; poll(2) has none";
            return Err(ServeErrorKind::Settings(message.into()).into());
        };
        let group = event_loop.group.clone();
        Ok(Guest { event_loop: Mutex::new(event_loop), service, group, shutdown, descriptor })
    }

    /// Returns the descriptor that is readable while [`poll`](Guest::poll) has something to do. It is open as long as this
    /// value.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Does what can be done without waiting: the events of one poll of the system. `returns` is asked after each of them
    /// whether to return before the next one, for example because a request has arrived whose task is to run first; the
    /// result then [has more](GuestEvents::has_more).
    ///
    /// # Errors
    /// When the system fails to report sockets, or this process was forked from the one that made the server.
    pub fn poll(&self, mut returns: impl FnMut() -> bool) -> io::Result<GuestEvents> {
        let (polls, mut has_batch) = {
            let mut event_loop = lock(&self.event_loop);
            let has_batch = event_loop.batch_left() > 0;
            if !has_batch {
                // What the tasks have written since the last poll.
                event_loop.flush_responses();
            }
            (event_loop.polls, has_batch)
        };
        let mut is_over = false;
        while !is_over {
            let next = {
                let mut event_loop = lock(&self.event_loop);
                has_batch |= event_loop.polls > polls;
                if has_batch && event_loop.batch_left() == 0 {
                    break;
                }
                event_loop.next(Some(Duration::ZERO))?
            };
            match next {
                Next::Work { token, connection, readable } => self.advance(token, connection, readable),
                Next::Discard(remains) => drop(remains),
                Next::Notified => is_over = self.process_notifications(),
            }
            if returns() {
                let resumed = lock(&self.event_loop).wakeups.drain(..).map(DetachedId).collect();
                return Ok(GuestEvents { resumed, timeout: None, has_more: true, is_over });
            }
        }
        lock(&self.event_loop).flush_responses();
        is_over = is_over || self.process_notifications();
        let mut event_loop = lock(&self.event_loop);
        event_loop.flush_responses();
        let resumed = event_loop.wakeups.drain(..).map(DetachedId).collect();
        // What is left to do without an event of the poller: connections that continue, or the end of a stop.
        let timeout = if event_loop.is_pending() { Some(Duration::ZERO) } else { event_loop.time_to_poll() };
        Ok(GuestEvents { resumed, timeout, has_more: false, is_over })
    }

    /// Advances a connection, without the lock while its application runs.
    fn advance(&self, token: Token, mut connection: Box<Connection>, readable: bool) {
        let now = lock(&self.event_loop).now;
        let was_detached = connection.is_detached();
        let mut scheduler = GuestScheduler { group: &self.group, token, admitted: false };
        let step = connection.catch_panic(&self.service, |it| it.advance(&self.service, &mut scheduler, readable, now));
        let is_running = !was_detached && connection.is_detached();
        if scheduler.admitted && is_running {
            self.group.note_detached(LOOP);
        } else if scheduler.admitted {
            self.group.end_call(LOOP);
        }
        if step == Step::Upgrade {
            lock(&self.event_loop).remove(token);
            return run_upgrade(connection, &mut scheduler, &self.service);
        }
        let mut event_loop = lock(&self.event_loop);
        if step == Step::Detached && was_detached && connection.task_interest().is_none() {
            // The client has sent more, or has gone, which is of no use before the task has answered.
            event_loop.unregister(token);
        }
        event_loop.return_connection(token, connection, step);
    }

    /// Processes requests to stop and the queue. Returns true if the server has stopped.
    fn process_notifications(&self) -> bool {
        let mut event_loop = lock(&self.event_loop);
        event_loop.notified = false;
        event_loop.receive_connections();
        event_loop.resume_queued(self.group.available_slots(LOOP));
        event_loop.stop_if_requested(&self.shutdown, 0)
    }

    /// Whether the host has to poll soon, although the descriptor may not be readable: tasks have ended, and requests wait
    /// for their places, or responses have to be written.
    pub fn is_pending(&self) -> bool {
        lock(&self.event_loop).is_pending()
    }

    /// Returns a handle that stops the server.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Sets the head of a response, as [`StartResponse::begin`](crate::StartResponse::begin) does. `replaces`: whether the
    /// application has given an error, with which it may replace a head that has not been sent.
    ///
    /// # Errors
    /// Those of `StartResponse::begin`.
    pub fn begin(
        &self,
        id: DetachedId,
        status: &str,
        fields: &[(&str, &[u8])],
        replaces: bool,
    ) -> Result<(), StartError> {
        // Nothing is sent by this, so what the connection waits for stays the same.
        self.with(id, |connection, _| connection.begin_for_task(status, fields, replaces)).unwrap_or_else(gone)
    }

    /// Sends a block of a response at once, as far as the socket takes it, and keeps the rest.
    ///
    /// # Errors
    /// Those of [`StartResponse::write`](crate::StartResponse::write).
    pub fn write(&self, id: DetachedId, block: &[u8]) -> Result<WriteProgress, StartError> {
        self.with(id, |connection, service| connection.write_for_task(service, block)).unwrap_or_else(gone)
    }

    /// Sends a regular file, from its current position to its end, as the body of a response. With
    /// [`WriteProgress::Full`], the task is resumed when all of it has been sent. `None` if the response can't be a file,
    /// and has to be written in blocks.
    ///
    /// # Errors
    /// Those of [`StartResponse::write`](crate::StartResponse::write), and those of the file.
    pub fn send_file(&self, id: DetachedId, file: File) -> Result<Option<WriteProgress>, StartError> {
        self.with(id, |connection, service| connection.file_for_task(service, file)).unwrap_or_else(gone)
    }

    /// Whether a response takes more now, and its file has been sent. If not, the task is resumed when it does. For tasks
    /// that were resumed for another reason.
    ///
    /// # Errors
    /// [`StartErrorKind::Io`] if the client has gone.
    pub fn is_ready(&self, id: DetachedId) -> Result<bool, StartError> {
        self.with(id, |connection, service| connection.ask_for_task(service)).unwrap_or_else(gone)
    }

    /// Reads bytes of the request body. Returns their number, 0 at the end of the body, and `None` if the task has to wait
    /// until it is resumed.
    ///
    /// # Errors
    /// Those of [`Input`](crate::Input).
    pub fn read(&self, id: DetachedId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.with(id, |connection, service| connection.read_for_task(service, buffer));
        read.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Sends `103 Early Hints`, as [`StartResponse::early_hints`](crate::StartResponse::early_hints) does.
    ///
    /// # Errors
    /// Those of `StartResponse::early_hints`.
    pub fn early_hints(&self, id: DetachedId, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        self.with(id, |connection, service| connection.hint_for_task(service, fields)).unwrap_or_else(gone)
    }

    /// Declares that the application writes the response to the connection's socket itself, as [`hijack`](crate::hijack())
    /// does, and sends the responses to earlier requests. Returns false if the task has to wait for that until it is
    /// resumed, and then call this again.
    ///
    /// # Errors
    /// [`StartErrorKind::Io`] if the client has gone.
    pub fn hijack(&self, id: DetachedId, status: u16) -> Result<bool, StartError> {
        self.with(id, |connection, service| connection.hijack_for_task(service, status)).unwrap_or_else(gone)
    }

    /// Ends a response. `last` is the last block, which may be empty; if it is the only one, the head declares its length.
    /// It is sent now with `at_once`, else with the next [`poll`](Guest::poll) at the latest, together with the responses of
    /// other tasks.
    pub fn finish(&self, id: DetachedId, last: &[u8], at_once: bool) {
        self.end(id, at_once, |connection, service| connection.finish_for_task(service, last));
    }

    /// Ends a request whose application has failed: with the response that the filters of middleware give, with a 500, or,
    /// if the head has been sent, by cutting the connection. Without the lock while the filters run.
    pub fn fail(&self, id: DetachedId, error: AppError) {
        let filters: Vec<Box<dyn ResponseFilter>> =
            self.with(id, |connection, _| connection.take_task_filters()).unwrap_or_default();
        let mut filters = filters.into_iter();
        let mut replacement: Option<FailureResponse> = filters.find_map(|mut filter| filter.failure(&error));
        if let Some(response) = &mut replacement {
            // The middleware around the one that has given the response changes it as any other.
            filters.for_each(|mut filter| response.apply(&mut *filter));
        }
        self.end(id, false, |connection, service| connection.fail_for_task(service, error, replacement));
    }

    /// Runs a step of a task on its connection. `None` if the connection has ended.
    fn with<R>(&self, id: DetachedId, run: impl FnOnce(&mut Connection, &Service) -> R) -> Option<R> {
        let mut event_loop = lock(&self.event_loop);
        let mut connection = event_loop.take(id.0)?;
        let mut result = None;
        let step = connection.catch_panic(&self.service, |connection| {
            result = Some(run(connection, &self.service));
            Step::Detached
        });
        event_loop.return_connection(id.0, connection, step);
        result
    }

    /// Ends the exchange of a request, and its task.
    fn end(&self, id: DetachedId, at_once: bool, run: impl FnOnce(&mut Connection, &Service) -> Step) {
        let mut event_loop = lock(&self.event_loop);
        if let Some(mut connection) = event_loop.take(id.0) {
            let step = connection.catch_panic(&self.service, |connection| run(connection, &self.service));
            event_loop.return_connection(id.0, connection, step);
            if at_once || event_loop.is_batch_late() {
                event_loop.flush_responses();
                event_loop.restart_batch();
            }
        }
        self.group.note_completed(LOOP);
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

/// The result for a connection that has ended.
fn gone<R>() -> Result<R, StartError> {
    Err(StartErrorKind::Io(io::ErrorKind::NotConnected.into()).into())
}

/// The scheduler of a connection that a guest advances.
struct GuestScheduler<'g> {
    group: &'g LoopGroup,
    token: Token,
    /// Whether the request has got one of the places.
    admitted: bool,
}

impl Scheduler for GuestScheduler<'_> {
    fn admit(&mut self) -> Admission {
        // The application of an earlier request in the buffer has answered within its call.
        if std::mem::take(&mut self.admitted) {
            self.group.end_call(LOOP);
        }
        self.admitted = self.group.begin_call(LOOP);
        if self.admitted {
            Admission::Run
        } else {
            Admission::Queue
        }
    }

    fn detached_id(&self) -> Option<DetachedId> {
        Some(DetachedId(self.token))
    }
}
