//! The event loops of a server: how connections are distributed among them, and the state that their leader pools
//! share.
//!
//! A server begins with one loop. When each loop has some connections and the maximum is not reached, the thread that
//! called `serve_forever` starts another one ([`threaded`](super::run::threaded)). All loops accept from the same
//! listeners, so the system gives a new connection to a loop that is waiting, not to one that is busy with an
//! application. The loop that accepts a connection sends it to the loop with the fewest connections, and a loop with
//! more than its share sends idle connections to others.
//!
//! `admission` limits the number of requests that run in all loops to [`Runtime::threads`](super::Runtime::threads).

mod admission;
mod load;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::connection::Connection;
use super::io::socket::Socket;
use super::io::waker::Waker;
use super::listener::Listener;
use super::settings::Settings;
use super::sync::{lock, wait};
use load::LoopLoad;

/// The number of connections that each loop must have before another loop is started.
const CONNECTIONS_PER_LOOP: usize = 4;
/// The minimum number of slots per loop, if the settings do not set the number of loops. With fewer, loops would wait
/// for each other's slots.
const THREADS_PER_LOOP: usize = 4;

/// A connection and its socket, in transit from one loop to another.
type Parcel = (Arc<Socket>, Box<Connection>);

pub(crate) struct LoopGroup {
    /// One member for each loop, up to the maximum number of loops.
    members: Box<[Member]>,
    /// The number of running loops.
    loops: AtomicUsize,
    /// The number of running loops, plus the one that is being started: its leader may begin before `loops` counts it.
    leaders: AtomicUsize,
    /// The number of requests that run in detached threads of all pools.
    detached: AtomicUsize,
    /// The number of threads inside the application that wait for a client. They do not count against `threads` during
    /// the wait.
    client_waits: AtomicUsize,
    max_client_waits: usize,
    /// The number of threads that write request bodies to files.
    file_writes: AtomicUsize,
    /// The number of threads that have returned from a client wait and wait for a slot.
    returning: AtomicUsize,
    /// When each of the `returning` threads returned. The lock is also held where running requests have to be counted
    /// exactly.
    returned_at: Mutex<Vec<Instant>>,
    /// Notified when a slot may be free for a `returning` thread.
    slot_freed: Condvar,
    /// The maximum number of requests that run at once.
    threads: usize,
    listeners: Mutex<Vec<Arc<Listener>>>,
    state: Mutex<GroupState>,
    /// Notified when `state` has changed, for the thread that starts the loops.
    state_changed: Condvar,
}

#[derive(Default)]
struct GroupState {
    /// Whether a loop has requested that another one is started.
    loop_requested: bool,
    /// Whether the system has refused a thread or a descriptor, so that no more loops are started.
    exhausted: bool,
    /// The number of loops that have ended.
    ended: usize,
}

#[derive(Default)]
struct Member {
    /// The number of open connections in the loop.
    open: AtomicUsize,
    /// The number of connections in the loop's mailbox.
    incoming: AtomicUsize,
    load: LoopLoad,
    mailbox: Mutex<Mailbox>,
}

/// Connections that other loops have sent to a loop.
#[derive(Default)]
struct Mailbox {
    /// `Some` while the loop accepts connections from others.
    waker: Option<Arc<Waker>>,
    connections: Vec<Parcel>,
}

impl Member {
    fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed) + self.incoming.load(Ordering::Relaxed)
    }
}

impl LoopGroup {
    /// Makes a group with up to as many loops as the settings and the number of cores allow.
    pub(crate) fn new(settings: &Settings, listeners: Vec<Arc<Listener>>) -> Arc<LoopGroup> {
        let threads = settings.runtime.threads.max(1);
        let loops = match settings.runtime.loops {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(threads / THREADS_PER_LOOP),
            loops => loops.min(threads),
        };
        LoopGroup::with_limits(loops.max(1), threads, settings.limits.client_waits, listeners)
    }

    /// Makes a group of one loop, in which one request runs at a time.
    pub(crate) fn single(listeners: Vec<Arc<Listener>>) -> Arc<LoopGroup> {
        LoopGroup::with_limits(1, 1, 0, listeners)
    }

    /// Makes a group of one loop, whose guest runs up to `tasks` requests at a time.
    pub(crate) fn guest(tasks: usize, listeners: Vec<Arc<Listener>>) -> Arc<LoopGroup> {
        LoopGroup::with_limits(1, tasks.max(1), 0, listeners)
    }

    fn with_limits(
        max_loops: usize,
        threads: usize,
        max_client_waits: usize,
        listeners: Vec<Arc<Listener>>,
    ) -> Arc<LoopGroup> {
        Arc::new(LoopGroup {
            members: (0..max_loops).map(|_| Member::default()).collect(),
            loops: AtomicUsize::new(1),
            leaders: AtomicUsize::new(1),
            detached: AtomicUsize::new(0),
            client_waits: AtomicUsize::new(0),
            max_client_waits,
            file_writes: AtomicUsize::new(0),
            returning: AtomicUsize::new(0),
            returned_at: Mutex::default(),
            slot_freed: Condvar::new(),
            threads,
            listeners: Mutex::new(listeners),
            state: Mutex::default(),
            state_changed: Condvar::new(),
        })
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<Listener>> {
        lock(&self.listeners).clone()
    }

    /// Drops the group's listeners, so that no more loops are started with them. They close when the last loop has
    /// dropped them, too.
    pub(crate) fn stop_listening(&self) {
        lock(&self.listeners).clear();
    }

    /// Registers a loop, so that other loops can send connections to it.
    pub(crate) fn register(&self, index: usize, waker: Arc<Waker>) {
        lock(&self.members[index].mailbox).waker = Some(waker);
    }

    /// Deregisters a loop: other loops can't send connections to it any more. Returns those that have been sent.
    pub(crate) fn deregister(&self, index: usize) -> Vec<Parcel> {
        lock(&self.members[index].mailbox).waker = None;
        self.receive(index)
    }

    /// Takes the connections that other loops have sent.
    pub(crate) fn receive(&self, index: usize) -> Vec<Parcel> {
        let member = &self.members[index];
        let connections = std::mem::take(&mut lock(&member.mailbox).connections);
        member.incoming.fetch_sub(connections.len(), Ordering::Relaxed);
        connections
    }

    /// Sends a connection to another loop. Returns it if that loop does not accept connections.
    pub(crate) fn send(&self, index: usize, socket: Arc<Socket>, connection: Box<Connection>) -> Result<(), Parcel> {
        let mut mailbox = lock(&self.members[index].mailbox);
        let Some(waker) = mailbox.waker.clone() else { return Err((socket, connection)) };
        mailbox.connections.push((socket, connection));
        // Counted at once, so that the other loops do not all choose the same one.
        self.members[index].incoming.fetch_add(1, Ordering::Relaxed);
        drop(mailbox);
        waker.wake();
        Ok(())
    }

    fn wake(&self, index: usize) {
        if let Some(waker) = &lock(&self.members[index].mailbox).waker {
            waker.wake();
        }
    }

    fn loops(&self) -> usize {
        self.loops.load(Ordering::Acquire)
    }

    /// Whether more than one loop is running.
    pub(crate) fn is_shared(&self) -> bool {
        self.loops() > 1
    }

    pub(crate) fn note_open(&self, index: usize, open: usize) {
        self.members[index].open.store(open, Ordering::Relaxed);
    }

    /// Returns the number of connections of all loops.
    pub(crate) fn open(&self) -> usize {
        self.members.iter().map(Member::connections).sum()
    }

    /// Returns the other loop with the fewest connections, if it has clearly fewer than the `open` connections of this
    /// loop.
    pub(crate) fn less_loaded(&self, index: usize, open: usize) -> Option<usize> {
        if self.members.len() == 1 {
            return None;
        }
        let others = (0..self.loops()).filter(|&other| other != index);
        let fewest = others.map(|other| (self.members[other].connections(), other)).min();
        fewest.filter(|(fewest, _)| fewest + fewest / 8 < open).map(|(_, other)| other)
    }

    /// Returns the loop with the fewest connections.
    pub(crate) fn least_loaded(&self) -> usize {
        (0..self.loops()).min_by_key(|&index| self.members[index].connections()).unwrap_or(0)
    }

    /// Returns the number of connections that this loop has beyond its share. An eighth more than the share is
    /// tolerated.
    pub(crate) fn excess(&self, index: usize) -> usize {
        let loops = self.loops();
        if loops == 1 {
            return 0;
        }
        let share = self.open().div_ceil(loops);
        self.members[index].open.load(Ordering::Relaxed).saturating_sub(share + share / 8)
    }

    /// Requests that another loop is started, if there are enough connections for one. The calling loop has `open`
    /// connections, and no other loop has clearly fewer.
    pub(crate) fn request_loop(&self, open: usize) {
        if open >= CONNECTIONS_PER_LOOP && self.loops() < self.members.len() {
            let mut state = lock(&self.state);
            if !state.exhausted && !std::mem::replace(&mut state.loop_requested, true) {
                self.state_changed.notify_all();
            }
        }
    }

    /// Waits until another loop has been requested, or all `loops` loops have ended. Returns true for a request.
    pub(crate) fn wait_for_request(&self, loops: usize) -> bool {
        let mut state: MutexGuard<'_, GroupState> = lock(&self.state);
        while state.ended < loops && !state.loop_requested {
            state = wait(&self.state_changed, state);
        }
        state.loop_requested = false;
        state.ended < loops
    }

    /// Whether the group may have more than `loops` loops.
    pub(crate) fn may_grow(&self, loops: usize) -> bool {
        loops < self.members.len()
    }

    /// Counts the leader of loop `index`, which may begin at once.
    pub(crate) fn begin_loop(&self, index: usize) {
        self.leaders.store(index + 1, Ordering::SeqCst);
    }

    /// Undoes [`begin_loop`](LoopGroup::begin_loop): the loop could not be started.
    pub(crate) fn cancel_loop(&self, index: usize) {
        self.leaders.store(index, Ordering::SeqCst);
        // A request may have been queued because the slot was counted as taken.
        (0..index).for_each(|other| self.wake(other));
    }

    /// Counts loop `index` as running: the others may send connections to it.
    pub(crate) fn add_loop(&self, index: usize) {
        self.loops.store(index + 1, Ordering::Release);
        // Each loop recomputes its share, and checks whether the server was told to stop during the start.
        (0..=index).for_each(|other| self.wake(other));
    }

    /// Notes that the system has refused a thread or a descriptor, so that no more loops are started.
    pub(crate) fn note_exhausted(&self) {
        lock(&self.state).exhausted = true;
    }

    /// Notes that a loop has ended.
    pub(crate) fn note_loop_ended(&self) {
        lock(&self.state).ended += 1;
        self.state_changed.notify_all();
    }
}
