//! Several loops on many cores: which of them a connection belongs to, and what their crews share.
//!
//! A server begins with one loop. When each has some connections and there are cores left, the thread that serves
//! starts another. The loops listen on the same sockets; who accepts a connection gives it to whoever has fewest, and
//! a loop that has more than its share hands over connections that are idle. A loop that is busy with an application
//! is not asked: the system wakes one that waits.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::crew::{lock, Crew};
use super::listener::Listener;
use super::looping::Loop;
use super::service::Service;
use super::settings::Settings;
use super::shutdown::ShutdownHandle;
use super::transport::Socket;
use super::wake::Wake;

/// Another loop is worth its threads when each of those there are has so many connections.
const CROWDED: usize = 4;
/// Requests that may run for each loop that may be started by itself: with fewer, loops would wait for each other.
const THREADS_PER_LOOP: usize = 4;

/// Threads that may write request bodies to files at once: more would only wait for the same disk.
const MOST_WRITES: usize = 16;

pub(super) struct Fleet {
    /// A place for each loop that there may be.
    berths: Box<[Berth]>,
    /// How many of them are taken.
    loops: AtomicUsize,
    /// As many, and the one that is being started: it may lead before anybody is told.
    leaders: AtomicUsize,
    /// Threads of all crews that lost the lead and are still inside the application.
    away: AtomicUsize,
    /// Threads inside the application that wait for a client and take no place among `threads` meanwhile.
    client_waits: AtomicUsize,
    most_client_waits: usize,
    /// Threads that write request bodies to files.
    writes: AtomicUsize,
    /// Threads that have waited for a client and wait for a place.
    returning: AtomicUsize,
    /// Taken to count exactly how many requests run: when each of the threads came back that wait for a place.
    counting: Mutex<Vec<Instant>>,
    /// For threads that wait for a place.
    place: Condvar,
    threads: usize,
    listeners: Mutex<Vec<Arc<Listener>>>,
    state: Mutex<State>,
    /// For the thread that serves.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Another loop is worth its threads.
    wanted: bool,
    /// The system gave no more threads or descriptors: these loops have to do.
    full: bool,
    /// Loops that have ended.
    ended: usize,
}

#[derive(Default)]
struct Berth {
    /// Connections there.
    open: AtomicUsize,
    /// Connections on their way there.
    coming: AtomicUsize,
    /// Complete heads wait there until an application may run.
    waiting: AtomicBool,
    /// Since when the oldest of them waits.
    waiting_since: Mutex<Option<Instant>>,
    /// So many of them have been told to run by now.
    resumed: AtomicUsize,
    /// Its leader has begun a request, and may still be inside the application.
    running: AtomicBool,
    mail: Mutex<Mail>,
}

/// Connections for a loop from others, while it takes any.
#[derive(Default)]
struct Mail {
    wake: Option<Arc<Wake>>,
    connections: Vec<(Arc<Socket>, Box<Connection>)>,
}

impl Berth {
    /// Has a request waited there for longer than since then?
    fn has_waited_longer(&self, since: Instant) -> bool {
        self.waiting.load(Ordering::SeqCst) && lock(&self.waiting_since).is_some_and(|oldest| oldest < since)
    }

    fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed) + self.coming.load(Ordering::Relaxed)
    }
}

impl Fleet {
    /// As many loops as the settings and the machine have room for.
    pub(super) fn new(settings: &Settings, listeners: Vec<Arc<Listener>>) -> Arc<Fleet> {
        let threads = settings.threads.max(1);
        let most = match settings.loops {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(threads / THREADS_PER_LOOP),
            loops => loops.min(threads),
        };
        Fleet::of(most.max(1), threads, settings.limits.client_waits, listeners)
    }

    /// One loop and no more.
    pub(super) fn single(listeners: Vec<Arc<Listener>>) -> Arc<Fleet> {
        Fleet::of(1, 1, 0, listeners)
    }

    fn of(most: usize, threads: usize, most_client_waits: usize, listeners: Vec<Arc<Listener>>) -> Arc<Fleet> {
        Arc::new(Fleet {
            berths: (0..most).map(|_| Berth::default()).collect(),
            loops: AtomicUsize::new(1),
            leaders: AtomicUsize::new(1),
            away: AtomicUsize::new(0),
            client_waits: AtomicUsize::new(0),
            most_client_waits,
            writes: AtomicUsize::new(0),
            returning: AtomicUsize::new(0),
            counting: Mutex::default(),
            place: Condvar::new(),
            threads,
            listeners: Mutex::new(listeners),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn listeners(&self) -> Vec<Arc<Listener>> {
        lock(&self.listeners).clone()
    }

    /// A loop takes its place: from now on others can send it connections.
    pub(super) fn moor(&self, berth: usize, wake: Arc<Wake>) {
        lock(&self.berths[berth].mail).wake = Some(wake);
    }

    /// The server stops: no more loops begin, and the sockets close with the loops' own hold on them.
    pub(super) fn stop_listening(&self) {
        lock(&self.listeners).clear();
    }

    /// A loop takes no more connections. What had been sent to it is its own.
    pub(super) fn cast_off(&self, berth: usize) -> Vec<(Arc<Socket>, Box<Connection>)> {
        lock(&self.berths[berth].mail).wake = None;
        self.collect(berth)
    }

    pub(super) fn collect(&self, berth: usize) -> Vec<(Arc<Socket>, Box<Connection>)> {
        let berth = &self.berths[berth];
        let connections = std::mem::take(&mut lock(&berth.mail).connections);
        berth.coming.fetch_sub(connections.len(), Ordering::Relaxed);
        connections
    }

    fn loops(&self) -> usize {
        self.loops.load(Ordering::Acquire)
    }

    pub(super) fn note_open(&self, berth: usize, open: usize) {
        self.berths[berth].open.store(open, Ordering::Relaxed);
    }

    /// Connections of all loops.
    pub(super) fn open(&self) -> usize {
        self.berths.iter().map(Berth::connections).sum()
    }

    /// Has this loop company?
    pub(super) fn is_shared(&self) -> bool {
        self.loops() > 1
    }

    /// The loop with the fewest connections, when it has clearly fewer than this one.
    pub(super) fn roomier(&self, berth: usize, open: usize) -> Option<usize> {
        if self.berths.len() == 1 {
            return None;
        }
        let loops = self.loops();
        let others = (0..loops).filter(|&other| other != berth);
        let fewest = others.map(|other| (self.berths[other].connections(), other)).min();
        fewest.filter(|(fewest, _)| fewest + fewest / 8 < open).map(|(_, other)| other)
    }

    /// The loop with the fewest connections.
    pub(super) fn roomiest(&self) -> usize {
        (0..self.loops()).min_by_key(|&berth| self.berths[berth].connections()).unwrap_or(0)
    }

    /// Asks for another loop, when there is work for one. Called by a loop that no other has more room than.
    pub(super) fn ask_for_another(&self, open: usize) {
        if open >= CROWDED && self.loops() < self.berths.len() {
            let mut state = lock(&self.state);
            if !state.full && !std::mem::replace(&mut state.wanted, true) {
                self.changed.notify_all();
            }
        }
    }

    /// Connections that this loop has beyond its share.
    pub(super) fn surplus(&self, berth: usize) -> usize {
        let loops = self.loops();
        if loops == 1 {
            return 0;
        }
        let share = self.open().div_ceil(loops);
        self.berths[berth].open.load(Ordering::Relaxed).saturating_sub(share + share / 8)
    }

    /// Gives a connection to another loop, or back when that has ended.
    pub(super) fn send(
        &self,
        berth: usize,
        socket: Arc<Socket>,
        connection: Box<Connection>,
    ) -> Result<(), (Arc<Socket>, Box<Connection>)> {
        let mut mail = lock(&self.berths[berth].mail);
        let Some(wake) = mail.wake.clone() else { return Err((socket, connection)) };
        mail.connections.push((socket, connection));
        // Counted at once, or everybody would think of the same loop as empty.
        self.berths[berth].coming.fetch_add(1, Ordering::Relaxed);
        drop(mail);
        wake.wake();
        Ok(())
    }

    /// How many requests of other loops run, or may be running, and of threads that have lost the lead.
    fn taken(&self, berth: usize) -> usize {
        let leaders = self.berths.iter().enumerate().filter(|&(other, _)| other != berth);
        let running = leaders.filter(|(_, its)| its.running.load(Ordering::SeqCst)).count();
        self.away.load(Ordering::SeqCst) + running
    }

    /// How many more requests this loop may begin, as far as can be seen: none before a thread that came back earlier than
    /// the oldest request here did.
    #[inline]
    pub(super) fn room(&self, berth: usize) -> usize {
        let mut taken = self.taken(berth);
        if self.returning.load(Ordering::SeqCst) > 0 {
            taken += self.earlier(berth, &lock(&self.counting));
        }
        self.threads.saturating_sub(taken)
    }

    /// How many of the threads that came back did so before the oldest request here.
    fn earlier(&self, berth: usize, returned: &[Instant]) -> usize {
        match *lock(&self.berths[berth].waiting_since) {
            Some(oldest) => returned.iter().filter(|&&returned| returned <= oldest).count(),
            None => returned.len(),
        }
    }

    /// May the leader of this loop run a request itself? Then it is counted until [`end_call`](Fleet::end_call) or
    /// [`note_away`](Fleet::note_away).
    #[inline]
    pub(super) fn begin_call(&self, berth: usize) -> bool {
        let Berth { running, resumed, .. } = &self.berths[berth];
        // Whoever has waited for long enough goes before threads that came back later. Only the leader changes the number.
        let waited = resumed.load(Ordering::Relaxed);
        if waited > 0 {
            resumed.store(waited - 1, Ordering::Relaxed);
        }
        if self.berths.len() == 1 {
            let has_room = if waited > 0 { self.taken(berth) < self.threads } else { self.room(berth) > 0 };
            running.store(has_room, Ordering::Relaxed);
            return has_room;
        }
        // Set before the others are counted, so that of two leaders at least one sees the other.
        running.store(true, Ordering::SeqCst);
        let away = self.away.load(Ordering::SeqCst) + self.returning.load(Ordering::SeqCst);
        if away + self.leaders.load(Ordering::SeqCst) <= self.threads {
            // There is a place even if every leader runs one.
            return true;
        }
        running.store(false, Ordering::SeqCst);
        let returned = lock(&self.counting);
        let earlier = if waited > 0 { 0 } else { self.earlier(berth, &returned) };
        let has_room = self.taken(berth) + earlier < self.threads;
        running.store(has_room, Ordering::SeqCst);
        drop(returned);
        has_room
    }

    /// The leader has come back from the application.
    #[inline]
    pub(super) fn end_call(&self, berth: usize) {
        if self.berths.len() == 1 {
            self.berths[berth].running.store(false, Ordering::Relaxed);
        } else {
            self.berths[berth].running.store(false, Ordering::SeqCst);
            self.wake_waiting(berth);
        }
        self.offer_place();
    }

    /// The leader gave a request to another thread.
    pub(super) fn note_away(&self, berth: usize) {
        self.expect_away();
        self.end_leading(berth);
    }

    /// The leader is about to lose the lead while it runs a request.
    pub(super) fn expect_away(&self) {
        self.away.fetch_add(1, Ordering::SeqCst);
    }

    /// It has lost the lead.
    pub(super) fn end_leading(&self, berth: usize) {
        self.berths[berth].running.store(false, Ordering::SeqCst);
    }

    pub(super) fn note_back(&self, berth: usize) {
        self.away.fetch_sub(1, Ordering::SeqCst);
        self.wake_waiting(berth);
        self.offer_place();
    }

    /// Wakes the other loops in which requests wait.
    #[inline]
    fn wake_waiting(&self, berth: usize) {
        for (other, its) in self.berths.iter().enumerate() {
            if other != berth && its.waiting.load(Ordering::SeqCst) {
                self.wake(other);
            }
        }
    }

    #[inline]
    fn offer_place(&self) {
        if self.returning.load(Ordering::SeqCst) > 0 {
            let _counting = lock(&self.counting);
            self.place.notify_all();
        }
    }

    /// Then whoever waits for its client keeps the only place.
    pub(super) fn runs_one_at_a_time(&self) -> bool {
        self.threads == 1
    }

    /// A thread is about to wait for its client, without a place: there may be one more thread meanwhile. False when there
    /// are too many such threads.
    pub(super) fn reserve_wait(&self) -> bool {
        begin_one(&self.client_waits, self.most_client_waits)
    }

    /// It keeps its place after all.
    pub(super) fn cancel_wait(&self) {
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// It has not the lead, and gives up its place.
    pub(super) fn begin_wait(&self) {
        self.away.fetch_sub(1, Ordering::SeqCst);
        self.wake_waiting(usize::MAX);
        self.offer_place();
    }

    /// It goes on, when it has a place again: before requests that came later, and behind those that have waited for
    /// longer, or clients that send a byte now and then would keep every place busy.
    pub(super) fn end_wait(&self) {
        let mut returned = lock(&self.counting);
        let now = Instant::now();
        returned.push(now);
        self.returning.fetch_add(1, Ordering::SeqCst);
        loop {
            let leaders = self.berths.iter().filter(|its| its.running.load(Ordering::SeqCst)).count();
            if self.away.load(Ordering::SeqCst) + leaders < self.threads {
                if !self.berths.iter().any(|its| its.has_waited_longer(now)) {
                    break;
                }
                // They may not know of the place.
                self.wake_waiting(usize::MAX);
            }
            returned = self.place.wait(returned).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        self.away.fetch_add(1, Ordering::SeqCst);
        self.returning.fetch_sub(1, Ordering::SeqCst);
        if let Some(index) = returned.iter().position(|&other| other == now) {
            returned.swap_remove(index);
        }
        // Until now it was one of the threads that there may be besides.
        self.client_waits.fetch_sub(1, Ordering::SeqCst);
    }

    /// A thread is about to write to a file; false when too many do.
    pub(super) fn begin_write(&self) -> bool {
        begin_one(&self.writes, MOST_WRITES)
    }

    pub(super) fn end_write(&self) {
        self.writes.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many threads wait for clients or for the disk.
    pub(super) fn other_waits(&self) -> usize {
        self.client_waits.load(Ordering::SeqCst) + self.writes.load(Ordering::SeqCst)
    }

    /// Since when has the oldest head waited in this loop until an application may run, if one does? Whoever says so has
    /// to look for room once more: a place that became free just before is not told of.
    pub(super) fn note_waiting(&self, berth: usize, since: Option<Instant>) {
        *lock(&self.berths[berth].waiting_since) = since;
        self.berths[berth].waiting.store(since.is_some(), Ordering::SeqCst);
        self.offer_place();
    }

    /// So many of the heads that have waited are to run next.
    pub(super) fn note_resumed(&self, berth: usize, count: usize) {
        self.berths[berth].resumed.store(count, Ordering::Relaxed);
    }

    fn wake(&self, berth: usize) {
        if let Some(wake) = &lock(&self.berths[berth].mail).wake {
            wake.wake();
        }
    }

    /// Told by each crew when its loop has ended.
    pub(super) fn note_end(&self) {
        lock(&self.state).ended += 1;
        self.changed.notify_all();
    }

    fn wait(&self, crews: usize) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while state.ended < crews && !state.wanted {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state
    }
}

/// Counts one more; false, and nothing is counted, when there are as many as there may be.
fn begin_one(count: &AtomicUsize, most: usize) -> bool {
    let begun = count.fetch_add(1, Ordering::SeqCst) < most;
    if !begun {
        count.fetch_sub(1, Ordering::SeqCst);
    }
    begun
}

/// Serves with as many loops as it takes, until the server is told to stop and the threads have ended or the deadline
/// has passed.
///
/// The calling thread stays out of it: inside the application it could not come back in time.
pub(super) fn serve(
    service: &Arc<Service>,
    shutdown: &ShutdownHandle,
    wake: Arc<Wake>,
    lead: Box<Loop>,
) -> io::Result<()> {
    let fleet = lead.fleet.clone();
    let first = Crew::new(service.clone(), shutdown.clone(), wake, fleet.clone(), 0);
    if let Err(lead) = first.start(lead) {
        // The system gives no thread at all: this one has to do.
        first.lead_here(lead);
    }
    let mut crews = vec![first];
    loop {
        let mut state = fleet.wait(crews.len());
        if state.ended == crews.len() {
            break;
        }
        state.wanted = false;
        drop(state);
        if crews.len() < fleet.berths.len() && !shutdown.is_requested() {
            match another(service, shutdown, &fleet, crews.len()) {
                Ok(crew) => crews.push(crew),
                Err(error) => {
                    lock(&fleet.state).full = true;
                    let message = format!("can't start another loop, {} must do: {error}", crews.len());
                    service.settings.log.error(&message);
                }
            }
        }
    }
    // Threads inside the application can't be ended from outside; they end when the application returns.
    let deadline = Instant::now() + Duration::from_secs(1);
    crews.iter().map(|crew| crew.join(deadline)).fold(Ok(()), io::Result::and)
}

/// One more loop with its crew.
fn another(
    service: &Arc<Service>,
    shutdown: &ShutdownHandle,
    fleet: &Arc<Fleet>,
    berth: usize,
) -> io::Result<Arc<Crew>> {
    let wake = Arc::new(Wake::new()?);
    let lead = Box::new(Loop::new(service.clone(), fleet.clone(), berth, wake.clone(), true)?);
    shutdown.register(wake.clone());
    let crew = Crew::new(service.clone(), shutdown.clone(), wake.clone(), fleet.clone(), berth);
    fleet.leaders.store(berth + 1, Ordering::SeqCst);
    if crew.start(lead).is_err() {
        fleet.leaders.store(berth, Ordering::SeqCst);
        // Meanwhile a head may have had to wait for the place.
        (0..berth).for_each(|there| fleet.wake(there));
        return Err(io::Error::other("the system gives no thread for it"));
    }
    fleet.loops.store(berth + 1, Ordering::Release);
    for there in 0..=berth {
        // To look what is theirs now, and whether the server was told to stop meanwhile.
        fleet.wake(there);
    }
    Ok(crew)
}
