//! Several event loops on many cores: which loop a connection belongs to, and what their leader pools share.
//!
//! A server begins with one loop. When each loop has some connections and there are cores left, the thread that serves
//! starts another ([`threaded`](super::run::threaded)). All loops accept from the same listeners. A loop that accepts a
//! connection sends it to the loop that has fewest, and a loop that has more than its share sends idle connections away.
//! A loop that is busy with an application is not asked: the system wakes one that waits.
//!
//! `admission` counts the requests of all loops that run, against [`Runtime::threads`].

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

/// The number of connections for each loop from which on another loop is worth its threads.
const CONNECTIONS_PER_LOOP: usize = 4;
/// The number of requests that may run for each loop, where the number of loops is not a setting: with fewer, loops would
/// wait for each other.
const THREADS_PER_LOOP: usize = 4;

/// A connection with its socket, on its way from one loop to another.
type Parcel = (Arc<Socket>, Box<Connection>);

pub(crate) struct LoopGroup {
    /// A member for each loop that there may be.
    members: Box<[Member]>,
    /// The number of loops that run.
    loops: AtomicUsize,
    /// The same, and the loop that is being started: it may lead before the others know of it.
    leaders: AtomicUsize,
    /// The number of requests that run in threads without a loop, in all pools.
    detached: AtomicUsize,
    /// The number of threads inside the application that wait for a client, and do not count among `threads` meanwhile.
    client_waits: AtomicUsize,
    max_client_waits: usize,
    /// The number of threads that write request bodies to files.
    file_writes: AtomicUsize,
    /// The number of threads that have waited for a client and now wait for a slot.
    returning: AtomicUsize,
    /// Held to count exactly how many requests run: when each of those threads came back.
    returned_at: Mutex<Vec<Instant>>,
    /// Notified when a slot may be free for one of those threads.
    slot_freed: Condvar,
    /// The maximum number of requests that run at once.
    threads: usize,
    listeners: Mutex<Vec<Arc<Listener>>>,
    state: Mutex<GroupState>,
    /// Notified when the thread that serves has to look at the state.
    state_changed: Condvar,
}

#[derive(Default)]
struct GroupState {
    /// Whether another loop is worth its threads.
    loop_requested: bool,
    /// Whether the system gave no more threads or descriptors: no more loops are started.
    exhausted: bool,
    /// The number of loops that have ended.
    ended: usize,
}

#[derive(Default)]
struct Member {
    /// The number of connections in the loop.
    open: AtomicUsize,
    /// The number of connections on their way to it.
    incoming: AtomicUsize,
    load: LoopLoad,
    mailbox: Mutex<Mailbox>,
}

/// Connections for a loop from others.
#[derive(Default)]
struct Mailbox {
    /// `Some` while the loop takes connections.
    waker: Option<Arc<Waker>>,
    connections: Vec<Parcel>,
}

impl Member {
    fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed) + self.incoming.load(Ordering::Relaxed)
    }
}

impl LoopGroup {
    /// A group with as many loops as the settings and the machine have room for.
    pub(crate) fn new(settings: &Settings, listeners: Vec<Arc<Listener>>) -> Arc<LoopGroup> {
        let threads = settings.runtime.threads.max(1);
        let loops = match settings.runtime.loops {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(threads / THREADS_PER_LOOP),
            loops => loops.min(threads),
        };
        LoopGroup::with_limits(loops.max(1), threads, settings.limits.client_waits, listeners)
    }

    /// A group of one loop, in which one request runs at a time.
    pub(crate) fn single(listeners: Vec<Arc<Listener>>) -> Arc<LoopGroup> {
        LoopGroup::with_limits(1, 1, 0, listeners)
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

    /// Starts no more loops. The listeners close when the last loop lets go of them.
    pub(crate) fn stop_listening(&self) {
        lock(&self.listeners).clear();
    }

    /// Lets other loops send connections to this one.
    pub(crate) fn register(&self, index: usize, waker: Arc<Waker>) {
        lock(&self.members[index].mailbox).waker = Some(waker);
    }

    /// Takes no more connections from other loops. Returns those that have been sent.
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

    /// Sends a connection to another loop. Gives it back when that loop takes none any more.
    pub(crate) fn send(&self, index: usize, socket: Arc<Socket>, connection: Box<Connection>) -> Result<(), Parcel> {
        let mut mailbox = lock(&self.members[index].mailbox);
        let Some(waker) = mailbox.waker.clone() else { return Err((socket, connection)) };
        mailbox.connections.push((socket, connection));
        // Counted at once, or all other loops would choose the same one.
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

    /// Whether there are other loops.
    pub(crate) fn is_shared(&self) -> bool {
        self.loops() > 1
    }

    pub(crate) fn note_open(&self, index: usize, open: usize) {
        self.members[index].open.store(open, Ordering::Relaxed);
    }

    /// The number of connections of all loops.
    pub(crate) fn open(&self) -> usize {
        self.members.iter().map(Member::connections).sum()
    }

    /// The loop with the fewest connections, if it has clearly fewer than this one, which has `open`.
    pub(crate) fn less_loaded(&self, index: usize, open: usize) -> Option<usize> {
        if self.members.len() == 1 {
            return None;
        }
        let others = (0..self.loops()).filter(|&other| other != index);
        let fewest = others.map(|other| (self.members[other].connections(), other)).min();
        fewest.filter(|(fewest, _)| fewest + fewest / 8 < open).map(|(_, other)| other)
    }

    /// The loop with the fewest connections.
    pub(crate) fn least_loaded(&self) -> usize {
        (0..self.loops()).min_by_key(|&index| self.members[index].connections()).unwrap_or(0)
    }

    /// The number of connections that this loop has beyond its share.
    pub(crate) fn excess(&self, index: usize) -> usize {
        let loops = self.loops();
        if loops == 1 {
            return 0;
        }
        let share = self.open().div_ceil(loops);
        self.members[index].open.load(Ordering::Relaxed).saturating_sub(share + share / 8)
    }

    /// Requests another loop, if there is work for one. Called by a loop with `open` connections that no other loop has
    /// fewer than.
    pub(crate) fn request_loop(&self, open: usize) {
        if open >= CONNECTIONS_PER_LOOP && self.loops() < self.members.len() {
            let mut state = lock(&self.state);
            if !state.exhausted && !std::mem::replace(&mut state.loop_requested, true) {
                self.state_changed.notify_all();
            }
        }
    }

    /// Waits until another loop has been requested, or all of `loops` have ended. True for a request.
    pub(crate) fn wait_for_request(&self, loops: usize) -> bool {
        let mut state: MutexGuard<'_, GroupState> = lock(&self.state);
        while state.ended < loops && !state.loop_requested {
            state = wait(&self.state_changed, state);
        }
        state.loop_requested = false;
        state.ended < loops
    }

    /// Whether the group may have more loops than `loops`.
    pub(crate) fn may_grow(&self, loops: usize) -> bool {
        loops < self.members.len()
    }

    /// Announces loop `index`, whose leader may begin at once.
    pub(crate) fn begin_loop(&self, index: usize) {
        self.leaders.store(index + 1, Ordering::SeqCst);
    }

    /// Withdraws that: the loop has not begun.
    pub(crate) fn cancel_loop(&self, index: usize) {
        self.leaders.store(index, Ordering::SeqCst);
        // Meanwhile a request may have had to wait for the slot.
        (0..index).for_each(|other| self.wake(other));
    }

    /// Counts loop `index`: the others may send connections to it.
    pub(crate) fn add_loop(&self, index: usize) {
        self.loops.store(index + 1, Ordering::Release);
        // Each looks at its share, and whether the server was told to stop meanwhile.
        (0..=index).for_each(|other| self.wake(other));
    }

    /// Starts no more loops: the system gives no more threads or descriptors.
    pub(crate) fn note_exhausted(&self) {
        lock(&self.state).exhausted = true;
    }

    /// Notes that a loop has ended.
    pub(crate) fn note_loop_ended(&self) {
        lock(&self.state).ended += 1;
        self.state_changed.notify_all();
    }
}
