//! The interface between a connection and the driver that advances it.
//!
//! A connection does not know which driver runs its loop ([`run`](super::run)). It asks whether the application may
//! run, and it announces every call that may block, so that the driver can let another thread run the loop during the
//! call.

use crate::wsgi::DetachedId;

/// Whether the application may run now, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now, in this thread.
    Run,
    /// Not now: the request waits in the queue of its loop.
    Queue,
    /// In a separate process.
    Fork,
    /// In another thread, because the call is expected to block.
    Dispatch,
}

/// The driver, as seen by the connection that it advances. The default methods suit a loop with a single thread.
pub(crate) trait Scheduler {
    /// Decides whether the application may run. Called before each request and before each block of a response.
    fn admit(&mut self) -> Admission {
        Admission::Run
    }

    /// Announces that application code is about to run, which may block for any length of time.
    fn enter_blocking(&mut self) {}

    /// Announces that the application code has returned. Returns true if the call may have taken so long that the
    /// cached time is out of date.
    fn exit_blocking(&mut self) -> bool {
        true
    }

    /// Announces a blocking write of a request body to a file; [`exit_blocking`](Scheduler::exit_blocking) ends it.
    /// Returns false if too many threads are writing already, and the connection has to wait.
    fn begin_file_write(&mut self) -> bool {
        true
    }

    /// Announces that the write has ended. Called before [`exit_blocking`](Scheduler::exit_blocking).
    fn end_file_write(&mut self) {}

    /// Announces, inside a blocking call, that this thread is about to wait for its client. Returns false if other
    /// connections still depend on this thread, which then waits only briefly and asks again.
    fn begin_client_wait(&mut self) -> bool {
        true
    }

    /// Announces that the wait for the client has ended.
    fn end_client_wait(&mut self) {}

    /// Returns the key under which the application may answer the request later; `None` if the driver requires the
    /// response to be made during the call.
    fn detached_id(&self) -> Option<DetachedId> {
        None
    }

    /// Whether this thread holds the event loop, so that other connections wait for it.
    fn holds_loop(&self) -> bool {
        true
    }
}

/// The driver of a loop with a single thread: all other connections wait while the application runs.
pub(crate) struct SingleThread;

impl Scheduler for SingleThread {}
