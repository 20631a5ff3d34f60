//! The event loop: it waits for sockets and deadlines, and hands out connections that have something to do.
//!
//! The loop belongs to one thread at a time ([`run`](super::run) has the drivers). Nothing ticks: when no deadline is near,
//! the wait has no timeout.
//!
//! One turn of the loop, as a driver sees it:
//!
//! ```text
//! EventLoop::next                                   (poll)
//! ├── Next::Work      a connection of the batch; the driver advances it, then calls
//! │                   EventLoop::return_connection  (connections), which
//! │                   ├── watches its socket, queues its request, or closes it
//! │                   └── or keeps its response until the end of the batch
//! ├── Next::Discard   what a closed connection leaves of the application's, to be dropped
//! ├── Next::Notified  other threads have left something; the driver looks at its own queues
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
//! | `poll` | the turn above |
//! | `connections` | what becomes of a connection that was advanced |
//! | `accepting` | new connections, from listeners and from other loops |
//! | `queueing` | complete requests that wait until an application may run |
//! | `stop` | the end of a loop |
//! | `children` | what a forking server asks |
//! | `slab`, `acceptor`, `ready_queue`, `wait_queue`, `close_queue`, `stopping` | components, each with fields of its own |

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
use std::sync::Arc;

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

/// The event of the waker.
const WAKER: u64 = u64::MAX;
/// The event of a request's process: this bit and the process's number here.
const CHILD: u64 = 1 << 62;

pub(crate) struct EventLoop {
    pub(crate) service: Arc<Service>,
    pub(crate) group: Arc<LoopGroup>,
    /// Which loop of the group this is.
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
    /// What closed connections leave, to be dropped where a slow drop delays no other connection.
    remains: Vec<Remains>,
    /// Read buffers for the next connections that have something to say. Boxed as connections hold them: attaching one
    /// moves a pointer.
    #[allow(clippy::vec_box)]
    spare_buffers: Vec<Box<ReadBuffer>>,
    /// The number of connections beyond this loop's share, to be given to others when they are idle.
    excess: usize,
    /// Scratch space for the poller's events.
    events: Vec<u64>,
    /// The time in the service's milliseconds, as of the last look at the clock.
    pub(crate) now: u64,
    /// How often the loop has asked the system what is ready.
    pub(crate) polls: u64,
    next_deadline_check: u64,
    /// When memory of request bodies is freed that nothing has used for a while.
    next_trim: Option<u64>,
    /// The numbers of request processes that have ended.
    pub(crate) ended_children: Vec<u64>,
    /// Whether another thread has left something for the driver.
    pub(crate) notified: bool,
    /// The number of requests answered in this loop by a driver with one thread.
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
            answered: 0,
        })
    }

    /// The number of connections of the batch that have not had their turn.
    pub(crate) fn batch_left(&self) -> usize {
        self.ready.len()
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.slab.open()
    }

    /// The number of requests that this loop may begin now.
    fn available_slots(&self) -> usize {
        self.group.available_slots(self.index)
    }

    /// Looks at the clock, for the deadlines and dates that follow.
    pub(crate) fn update_time(&mut self) {
        self.now = self.service.now();
        self.service.update_date();
    }
}
