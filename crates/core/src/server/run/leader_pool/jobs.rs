//! The state that the threads of a pool share under one lock.

use std::collections::VecDeque;

use crate::server::connection::Connection;
use crate::server::event_loop::Token;

#[derive(Default)]
pub(super) struct Threads {
    /// Whether one of the threads is the monitor.
    pub(super) has_monitor: bool,
    /// The number of idle threads.
    pub(super) idle: usize,
    /// The number of threads in the pool.
    pub(super) count: usize,
    /// Requests that are expected to block, for idle threads.
    pub(super) jobs: VecDeque<Job>,
}

/// A connection whose request an idle thread is to answer.
pub(super) struct Job {
    pub(super) token: Token,
    pub(super) connection: Box<Connection>,
}
