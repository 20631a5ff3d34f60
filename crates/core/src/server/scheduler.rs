//! What a connection may ask of the driver that advances it.
//!
//! A connection never knows which driver runs its loop ([`run`](super::run)). It asks whether an application may run,
//! and it announces every call that may block, so that the driver can let another thread run the loop meanwhile.

/// Whether an application may run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// In this thread, now.
    Run,
    /// Not now: the request waits in the queue of its loop.
    Queue,
    /// In a process of its own.
    Fork,
    /// In another thread, because the call is expected to block.
    Dispatch,
}

/// The driver of the thread that advances a connection. The default methods are those of a loop with one thread.
pub(crate) trait Scheduler {
    /// Decides whether an application may run. Called for each request, and for each further block of a response.
    fn admit(&mut self) -> Admission {
        Admission::Run
    }

    /// Announces that code which may block for any length of time is about to run: the application's.
    fn enter_blocking(&mut self) {}

    /// Announces that it has returned. True when that may have taken long enough for the clock to matter.
    fn exit_blocking(&mut self) -> bool {
        true
    }

    /// Enters a blocking write of a request body to a file, which [`exit_blocking`](Scheduler::exit_blocking) ends. False
    /// when too many threads write already, and the connection has to wait.
    fn begin_file_write(&mut self) -> bool {
        true
    }

    /// Announces that the write has ended, before [`exit_blocking`](Scheduler::exit_blocking).
    fn end_file_write(&mut self) {}

    /// Announces, inside a blocking call, that this thread now waits for its client. False when the thread still holds
    /// what other connections need, and has to ask again soon.
    fn begin_client_wait(&mut self) -> bool {
        true
    }

    /// Announces that the wait has ended.
    fn end_client_wait(&mut self) {}

    /// Whether other connections wait for this thread.
    fn holds_loop(&self) -> bool {
        true
    }
}

/// The driver of a loop with one thread: it waits for the application, and every other connection waits for it.
pub(crate) struct SingleThread;

impl Scheduler for SingleThread {}
