//! The event loop: it waits for sockets and deadlines, and returns the connections that have something to do.
//!
//! One thread at a time owns the loop (the drivers are in [`run`](super::run)). There is no periodic tick: without a
//! deadline, the wait has no timeout.
//!
//! One turn of the loop, as a driver sees it:
//!
//! ```text
//! EventLoop::next                                   (poll)
//! ├── Next::Work      a connection of the batch; the driver advances it, then calls
//! │                   EventLoop::return_connection  (connections), which
//! │                   ├── watches its socket, queues its request, or closes it,
//! │                   └── or keeps its response until the batch is done
//! ├── Next::Discard   the application's values that a closed connection leaves; the driver drops them
//! ├── Next::Notified  another thread has woken the loop; the driver checks its own queues
//! └── when the batch is done:
//!     ├── flush_responses                           (connections)
//!     └── poll                                      (poll)
//!         ├── Poller::wait
//!         ├── handle_event   accept, queue, or add to the batch
//!         └── check_deadlines
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `poll` | `next` and `poll`, as above |
//! | `connections` | what happens to a connection after it was advanced |
//! | `accepting` | new connections, from listeners and from other loops |
//! | `queueing` | complete requests that wait until the application may run |
//! | `stop` | stopping a loop |
//! | `children` | what only the forking server needs |
//! | `slab`, `acceptor`, `ready_queue`, `wait_queue`, `close_queue`, `stopping` | components with private fields |

mod accepting;
mod acceptor;
#[cfg(unix)]
pub(crate) mod children;
mod close_queue;
mod connections;
mod poll;
mod queueing;
mod ready_queue;
mod slab;
mod stop;
mod stopping;
#[cfg(all(test, unix))]
mod tests;
mod wait_queue;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::connection::read_buffer::ReadBuffer;
use super::connection::Remains;
use super::io::fork_guard::ProcessMark;
use super::io::poller::{PollInterest, Poller};
use super::io::waker::Waker;
use super::listener::ActiveListener;
use super::loop_group::LoopGroup;
use super::service::Service;
use acceptor::Acceptor;
use close_queue::CloseQueue;
use ready_queue::ReadyQueue;
use slab::Slab;
use stopping::Stopping;
use wait_queue::WaitQueue;

pub(crate) use poll::Next;
pub(crate) use slab::Token;

/// The poller's key of the waker.
const WAKER: u64 = u64::MAX;
/// The poller's key of a request process: this bit, and the number that was passed to `watch_child`.
const CHILD: u64 = 1 << 62;

pub(crate) struct EventLoop {
    pub(crate) service: Arc<Service>,
    pub(crate) group: Arc<LoopGroup>,
    /// The index of this loop in the group.
    index: usize,
    poller: Poller,
    waker: Arc<Waker>,
    process_mark: ProcessMark,
    acceptor: Acceptor,
    slab: Slab,
    ready: ReadyQueue,
    wait_queue: WaitQueue,
    close_queue: CloseQueue,
    stopping: Stopping,
    /// The application's values that closed connections leave. They are dropped where a slow drop does not delay other
    /// connections.
    remains: Vec<Remains>,
    /// Read buffers for the connections that are advanced next. They are boxed as in a connection, so attaching one
    /// only moves a pointer.
    #[allow(clippy::vec_box)]
    spare_buffers: Vec<Box<ReadBuffer>>,
    /// The number of connections beyond this loop's share. Idle connections are sent to other loops while it is not 0.
    excess: usize,
    /// Scratch space for the poller's events.
    events: Vec<u64>,
    /// The current time in the service's milliseconds, as last read from the clock.
    pub(crate) now: u64,
    /// The number of times that the loop has polled.
    pub(crate) polls: u64,
    next_deadline_check: u64,
    /// When unused memory of request bodies is freed, in the service's milliseconds. `None` if none is pending.
    next_trim: Option<u64>,
    /// The numbers of the request processes that have ended or reported.
    pub(crate) ended_children: Vec<u64>,
    /// Whether another thread has woken the loop, so that the driver has to check its queues.
    pub(crate) notified: bool,
    /// The connections whose transports have woken this loop.
    woken: Arc<Mutex<Vec<Token>>>,
    /// Those of them that other threads advance, so that the loop learns about it when they come back.
    woken_elsewhere: Vec<Token>,
    /// The detached requests whose tasks have something to do.
    pub(crate) wakeups: Vec<Token>,
    /// The number of requests answered in this loop. Counted only by the driver with a single thread.
    pub(crate) answered: u64,
}

impl EventLoop {
    /// Makes loop `index` of a group. With `batch_writes`, the responses of a batch are written together.
    pub(crate) fn new(
        service: Arc<Service>,
        group: Arc<LoopGroup>,
        index: usize,
        waker: Arc<Waker>,
        batch_writes: bool,
    ) -> io::Result<EventLoop> {
        let process_mark = ProcessMark::here();
        let listeners = group.listeners().into_iter().map(ActiveListener::new).collect();
        let mut poller = Poller::new(service.settings.runtime.poller)?;
        poller.add(waker.raw(), WAKER, PollInterest::Read)?;
        let acceptor = Acceptor::new(listeners, &mut poller)?;
        group.register(index, waker.clone());
        let now = service.now();
        Ok(EventLoop {
            service,
            group,
            index,
            poller,
            waker,
            process_mark,
            acceptor,
            slab: Slab::default(),
            ready: ReadyQueue::new(batch_writes),
            wait_queue: WaitQueue::default(),
            close_queue: CloseQueue::default(),
            stopping: Stopping::default(),
            remains: Vec::new(),
            spare_buffers: Vec::new(),
            excess: 0,
            events: Vec::new(),
            now,
            polls: 0,
            next_deadline_check: u64::MAX,
            next_trim: None,
            ended_children: Vec::new(),
            notified: false,
            woken: Arc::default(),
            woken_elsewhere: Vec::new(),
            wakeups: Vec::new(),
            answered: 0,
        })
    }

    /// Returns the number of connections in the batch that have not been returned by [`next`](EventLoop::next) yet.
    pub(crate) fn batch_left(&self) -> usize {
        self.ready.len()
    }

    /// Returns the descriptor that is readable while the loop has something to do; `None` if its poller has none.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.poller.descriptor()
    }

    /// Whether the responses of the batch have been held back as long as they may.
    pub(crate) fn is_batch_late(&self) -> bool {
        self.ready.batch_age() > self.service.settings.runtime.batch_delay
    }

    /// Whether there is something to do that the poller does not report.
    pub(crate) fn is_pending(&self) -> bool {
        self.ready.has_pending()
            || !self.wakeups.is_empty()
            || self.has_queued() && self.available_slots() > 0
            || self.stopping.has_begun() && self.slab.open() == 0
    }

    /// Restarts the clock of the batch, because its responses have been written.
    pub(crate) fn restart_batch(&mut self) {
        self.ready.restart_batch();
    }

    /// Returns how long the loop may wait before it has to be polled again; `None` for as long as its descriptor is not
    /// readable.
    pub(crate) fn time_to_poll(&self) -> Option<Duration> {
        let now = self.service.now();
        let late = Duration::from_millis(now.saturating_sub(self.now));
        self.poll_timeout([None, self.service.settings.log.flush(!self.ready.has_runnable())])
            .map(|left| left.saturating_sub(late))
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.slab.open()
    }

    /// Returns the number of requests that this loop may begin now.
    fn available_slots(&self) -> usize {
        self.group.available_slots(self.index)
    }

    /// Reads the clock, for the deadlines and dates that follow.
    pub(crate) fn update_time(&mut self) {
        self.now = self.service.now();
        self.service.update_date();
    }
}
