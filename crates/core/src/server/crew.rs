//! The lead and its hand-over.
//!
//! One thread *leads*: it waits, reads, parses and runs the application itself. Before it calls the application it puts
//! the loop into a slot that the crew shares and counts the call, and takes the loop back when it is done with the
//! connection: two uncontended locks, no wake-up. Who changes the number has the loop. A *watcher* looks at the number
//! about once a millisecond. When it finds the same call still running, it takes the loop and leads on from the next
//! connection of the batch; another thread becomes watcher. Whoever lost the lead writes its own answer, gives its
//! connection back through a queue, and stands by.
//!
//! So a slow application costs one hand-over and delays nobody for longer than the watch, a fast one costs nothing,
//! and threads exist for requests that run. While nothing runs the watcher is parked, and nothing ticks.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::connection::{Connection, Permission, Step, Turn};
use super::descriptors::Home;
use super::fleet::Fleet;
use super::looping::{Loop, Next, Token};
use super::panics;
use super::service::{Failure, Service};
use super::shutdown::ShutdownHandle;
use super::upgrade::Upgraded;
use super::wake::Wake;

/// How often the watcher looks. A call that takes longer than one to two of these loses the lead.
const WATCH: Duration = Duration::from_millis(1);
/// How often while calls are many and fast, and none has been slow for long: each look costs as much as a third of a
/// request, and one slow call delays others only once.
const RELAXED_WATCH: Duration = Duration::from_millis(4);
/// Calls between two looks that are many.
const MANY_CALLS: u64 = 16;
/// How long after the last slow call the watch is relaxed, in milliseconds.
const RELAX_AFTER: u64 = 5_000;
/// How often while calls have been slow lately: what a slow call delays others by, at the price of more wake-ups.
const CLOSE_WATCH: Duration = Duration::from_micros(200);
/// How long the close watch lasts after a slow call, in milliseconds.
const CLOSE_WATCH_LASTS: u64 = 500;
/// Looks at a leader that is not inside the application before the watcher parks.
const IDLE_LOOKS: u32 = 20;
/// How long a thread stands by for work before it ends.
const STAND_BY: Duration = Duration::from_secs(10);
/// How long a leader goes on after the system refused a thread before it asks again, in milliseconds.
const HIRE_AGAIN: u64 = 500;

/// The crew of a loop in this process. Counted so that a [`ForkingWsgiServer`](super::ForkingWsgiServer) can refuse to
/// fork beside them.
pub(super) static THREADS: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Crew {
    pub(super) service: Arc<Service>,
    pub(super) shutdown: ShutdownHandle,
    pub(super) wake: Arc<Wake>,
    fleet: Arc<Fleet>,
    /// Which of the fleet's loops is this crew's.
    berth: usize,
    /// The loop, while its leader is inside the application.
    slot: Mutex<Option<Box<Loop>>>,
    /// The loop, on its way from a leader that gives it up to the watcher.
    passed: Mutex<Option<Box<Loop>>>,
    /// Odd while the leader is inside the application; changes with each call.
    calls: AtomicU64,
    /// The watcher sleeps until it is woken.
    parked: AtomicBool,
    watcher: Mutex<Option<Thread>>,
    close_watch_until: AtomicU64,
    /// The watcher has found the leader inside the same call twice: the loop's time is not what it was.
    was_slow: AtomicBool,
    roles: Mutex<Roles>,
    changed: Condvar,
    /// For the thread that serves: a thread has ended.
    ended: Condvar,
    returned: Mutex<Vec<Returned>>,
    /// Threads that lost the lead and are still inside the application.
    away: AtomicUsize,
    /// When to ask again for a thread that the system refused.
    hire_again: AtomicU64,
    /// The last attempt to start a thread failed, and the log has said so.
    refused: AtomicBool,
    stopped: AtomicBool,
    result: Mutex<Option<io::Result<()>>>,
    home: Home,
}

#[derive(Default)]
struct Roles {
    watching: bool,
    standing_by: usize,
    threads: usize,
    /// Requests that are expected to block, for threads that stand by.
    jobs: VecDeque<Job>,
}

/// A connection whose request another thread is to answer.
struct Job {
    token: Token,
    connection: Box<Connection>,
}

/// What a thread brings back that was away from the loop.
enum Returned {
    Connection {
        token: Token,
        connection: Box<Connection>,
        step: Step,
    },
    /// The connection has left the server.
    Left(Token),
    /// It had none: what it dropped took a while.
    Nothing,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under any of these locks.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The position of the thread that leads, or has led when it began the request it is running.
struct Lead<'c> {
    crew: &'c Arc<Crew>,
    /// `None` from the first call of the application on, until the connection has been advanced: between the requests
    /// of one connection the loop stays in the slot, and only the number changes.
    held: Option<Box<Loop>>,
    /// The number of the call that is running; even when there was none, or the lead is lost.
    call: u64,
    /// The request of the leader was admitted, and is counted as running.
    admitted: bool,
    /// A place for the first request of this thread, which does not lead, was taken before.
    has_place: bool,
    /// The requests of this batch are expected to block: other threads are to answer them.
    dispatches: bool,
    /// The thread waits for a client, without a place.
    waits: bool,
}

impl<'c> Lead<'c> {
    fn new(crew: &'c Arc<Crew>, held: Option<Box<Loop>>) -> Lead<'c> {
        let has_place = held.is_none();
        Lead { crew, held, call: 0, admitted: false, has_place, dispatches: false, waits: false }
    }

    /// Takes the loop back, unless another thread has taken it.
    #[inline]
    fn regain(&mut self) {
        // The number tells our call from one of the thread that leads now.
        if self.call & 1 == 1 && self.crew.turn_page(self.call, 1) {
            self.held = lock(&self.crew.slot).take();
        }
        self.call = 0;
        if std::mem::take(&mut self.admitted) && self.held.is_some() {
            self.crew.fleet.end_call(self.crew.berth);
        }
    }
}

impl Turn for Lead<'_> {
    #[inline]
    fn permission(&mut self) -> Permission {
        let Crew { fleet, berth, .. } = &**self.crew;
        let may_run = if !self.leads() {
            std::mem::take(&mut self.has_place) || fleet.room(*berth) > 0
        } else if self.dispatches && fleet.room(*berth) > 0 {
            return Permission::Dispatch;
        } else {
            self.admitted = fleet.begin_call(*berth);
            self.admitted
        };
        if may_run {
            Permission::Run
        } else {
            Permission::Wait
        }
    }

    #[inline]
    fn leave(&mut self) {
        if let Some(held) = self.held.take() {
            *lock(&self.crew.slot) = Some(held);
            self.call = self.crew.calls.fetch_add(1, Ordering::SeqCst) + 1;
            if self.crew.parked.load(Ordering::SeqCst) {
                self.crew.wake_watcher();
            }
        } else if self.call & 1 == 1 {
            self.call = if self.crew.turn_page(self.call, 2) { self.call + 2 } else { 0 };
        }
    }

    #[inline]
    fn back(&mut self) -> bool {
        !self.leads()
    }

    fn begin_write(&mut self) -> bool {
        let begun = self.crew.fleet.begin_write();
        if begun {
            self.leave();
        }
        begun
    }

    fn end_write(&mut self) {
        self.crew.fleet.end_write();
    }

    fn begin_wait(&mut self) -> bool {
        let Crew { fleet, .. } = &**self.crew;
        if fleet.runs_one_at_a_time() {
            return true;
        }
        // Counted before anybody else leads, who needs a thread in the place of this one.
        if !fleet.reserve_wait() {
            return false;
        }
        if self.call & 1 == 1 && !self.crew.pass_lead(self.call) {
            // Nobody is there to lead, but may be by the next time.
            self.crew.hire(None);
            fleet.cancel_wait();
            return false;
        }
        fleet.begin_wait();
        self.waits = true;
        true
    }

    fn end_wait(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.crew.fleet.end_wait();
        }
    }

    #[inline]
    fn leads(&self) -> bool {
        self.held.is_some() || self.call & 1 == 1 && self.crew.calls.load(Ordering::SeqCst) == self.call
    }
}

/// What a turn of leading ended with.
enum Led {
    /// Another thread leads now.
    Lost,
    /// The loop has stopped.
    Stopped,
}

impl Crew {
    pub(super) fn new(
        service: Arc<Service>,
        shutdown: ShutdownHandle,
        wake: Arc<Wake>,
        fleet: Arc<Fleet>,
        berth: usize,
    ) -> Arc<Crew> {
        Arc::new(Crew {
            service,
            shutdown,
            wake,
            fleet,
            berth,
            slot: Mutex::new(None),
            passed: Mutex::new(None),
            calls: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            watcher: Mutex::new(None),
            close_watch_until: AtomicU64::new(0),
            was_slow: AtomicBool::new(false),
            roles: Mutex::new(Roles::default()),
            changed: Condvar::new(),
            ended: Condvar::new(),
            returned: Mutex::new(Vec::new()),
            away: AtomicUsize::new(0),
            hire_again: AtomicU64::new(u64::MAX),
            refused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            result: Mutex::new(None),
            home: Home::here(),
        })
    }

    /// Begins to lead in a thread of its own; gives the loop back when the system gives no thread.
    pub(super) fn start(self: &Arc<Crew>, lead: Box<Loop>) -> Result<(), Box<Loop>> {
        let first = Arc::new(Mutex::new(Some(lead)));
        self.hire(Some(first.clone()));
        if lock(&self.roles).threads == 0 {
            if let Some(lead) = lock(&first).take() {
                return Err(lead);
            }
        }
        self.hire(None);
        Ok(())
    }

    /// Leads in the calling thread.
    pub(super) fn lead_here(self: &Arc<Crew>, lead: Box<Loop>) {
        if let Led::Lost = self.lead(lead, 0) {
            self.stand_by_and_lead();
        }
    }

    /// Waits until the threads have ended that are not inside the application, and says how the loop ended.
    pub(super) fn join(&self, deadline: Instant) -> io::Result<()> {
        let mut roles = lock(&self.roles);
        while roles.threads > self.away.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            roles = self.ended.wait_timeout(roles, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        drop(roles);
        lock(&self.result).take().unwrap_or(Ok(()))
    }

    /// Starts another thread, if the bound allows it and the system does; with the loop, if that is to begin there.
    fn hire(self: &Arc<Crew>, first: Option<Arc<Mutex<Option<Box<Loop>>>>>) {
        let mut roles = lock(&self.roles);
        // As many as may run the application, one that leads and one that watches, and those that wait for clients or for
        // the disk.
        if roles.threads >= self.service.settings.threads.max(1) + 2 + self.fleet.other_waits() {
            return;
        }
        let crew = self.clone();
        let mut builder = thread::Builder::new().name("amboss".into());
        if let Some(size) = self.service.settings.thread_stack_size {
            builder = builder.stack_size(size);
        }
        let spawned = builder.spawn(move || {
            let lead = first.and_then(|first| lock(&first).take());
            if !lead.is_some_and(|lead| matches!(crew.lead(lead, 0), Led::Stopped)) {
                crew.stand_by_and_lead();
            }
            if crew.is_forked() {
                return;
            }
            lock(&crew.roles).threads -= 1;
            THREADS.fetch_sub(1, Ordering::SeqCst);
            crew.ended.notify_all();
        });
        match spawned {
            Ok(_) => {
                roles.threads += 1;
                THREADS.fetch_add(1, Ordering::SeqCst);
                self.refused.store(false, Ordering::Relaxed);
            }
            // Without a watcher the leader goes on alone, and slow calls delay others, until a thread can be had.
            Err(error) => {
                self.hire_again.store(self.service.now() + HIRE_AGAIN, Ordering::Relaxed);
                // Said once, not at each attempt, until a thread could be started in between.
                if !self.refused.swap(true, Ordering::Relaxed) {
                    let log = &self.service.settings.log;
                    log.error(&format!("can't start a thread for now, fewer requests run at once: {error}"));
                }
            }
        }
    }

    /// The life of every thread but the first leader's first stretch: stand by, watch, lead, and again.
    fn stand_by_and_lead(self: &Arc<Crew>) {
        loop {
            if self.is_forked() {
                return;
            }
            let mut roles = lock(&self.roles);
            while roles.watching && roles.jobs.is_empty() && !self.is_stopped() {
                roles.standing_by += 1;
                let (guard, timeout) =
                    self.changed.wait_timeout(roles, STAND_BY).unwrap_or_else(|poisoned| poisoned.into_inner());
                roles = guard;
                roles.standing_by -= 1;
                if timeout.timed_out() && roles.watching && roles.jobs.is_empty() {
                    return;
                }
            }
            if let Some(job) = roles.jobs.pop_front() {
                drop(roles);
                self.work(job);
                continue;
            }
            if self.is_stopped() {
                return;
            }
            roles.watching = true;
            drop(roles);

            let taken = self.watch();
            let mut roles = lock(&self.roles);
            roles.watching = false;
            let nobody_watches = roles.standing_by == 0;
            drop(roles);
            let Some((lead, blocking)) = taken else {
                self.changed.notify_all();
                return;
            };
            if nobody_watches {
                self.hire(None);
            } else {
                self.changed.notify_one();
            }
            if let Led::Stopped = self.lead(lead, blocking) {
                return;
            }
        }
    }

    /// One more thread answers a request without the lead.
    fn note_away(&self) {
        self.away.fetch_add(1, Ordering::SeqCst);
        self.fleet.note_away(self.berth);
    }

    fn note_back(&self) {
        self.away.fetch_sub(1, Ordering::SeqCst);
        self.fleet.note_back(self.berth);
    }

    /// Has another thread answer a request that is expected to block; back when none can be had.
    fn dispatch(self: &Arc<Crew>, token: Token, connection: Box<Connection>) -> Result<(), Box<Connection>> {
        self.note_away();
        let mut roles = lock(&self.roles);
        roles.jobs.push_back(Job { token, connection });
        if roles.jobs.len() <= roles.standing_by {
            drop(roles);
            self.changed.notify_one();
            return Ok(());
        }
        let threads = roles.threads;
        drop(roles);
        self.hire(None);
        let mut roles = lock(&self.roles);
        if roles.threads > threads || roles.jobs.len() <= roles.standing_by {
            return Ok(());
        }
        let Some(job) = roles.jobs.pop_back() else { return Ok(()) };
        drop(roles);
        self.note_back();
        if job.token == token {
            return Err(job.connection);
        }
        // Only the leader adds jobs, each behind the others.
        self.give_back(Returned::Connection { token: job.token, connection: job.connection, step: Step::Again });
        Ok(())
    }

    /// Answers a request beside the leader.
    fn work(self: &Arc<Crew>, Job { token, mut connection }: Job) {
        let mut turn = Lead::new(self, None);
        let now = self.service.now();
        let step = connection.guarded(&self.service, |it| it.advance(&self.service, &mut turn, false, now));
        self.finish_away(token, connection, step, &mut turn);
    }

    /// Gives a connection back that was advanced away from the loop, its answer written.
    fn finish_away(&self, token: Token, mut connection: Box<Connection>, step: Step, turn: &mut Lead<'_>) {
        let step = match step {
            Step::Flush => connection.guarded(&self.service, |it| it.settle(&self.service, self.service.now())),
            step => step,
        };
        if step == Step::Upgrade {
            upgrade(connection, turn, &self.service);
            self.give_back(Returned::Left(token));
        } else {
            self.give_back(Returned::Connection { token, connection, step });
        }
    }

    /// The leader gives the loop to the watcher, since its call waits for a client. True when it has not the lead any
    /// more; false when nobody watches.
    fn pass_lead(&self, call: u64) -> bool {
        let roles = lock(&self.roles);
        if self.calls.load(Ordering::SeqCst) != call {
            // The watcher has taken it.
            return true;
        }
        if !roles.watching {
            return false;
        }
        if let Some(taken) = self.take_lead(call) {
            *lock(&self.passed) = taken;
            drop(roles);
            self.wake_watcher();
        }
        true
    }

    /// Takes the loop from a call that is running; `None` when that has ended, or somebody else has taken it.
    fn take_lead(&self, call: u64) -> Option<Option<Box<Loop>>> {
        // Counted before: as soon as the call has lost the lead, it may give up its place.
        self.away.fetch_add(1, Ordering::SeqCst);
        self.fleet.expect_away();
        if !self.turn_page(call, 1) {
            self.note_back();
            return None;
        }
        self.fleet.end_leading(self.berth);
        Some(lock(&self.slot).take())
    }

    /// Moves the number on; whoever does has the loop at his disposal. False when somebody else did.
    #[inline]
    fn turn_page(&self, from: u64, by: u64) -> bool {
        self.calls.compare_exchange(from, from + by, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Is this a copy that the application has forked? It waits for nobody: none of the other threads is in its process,
    /// and a lock that one of them held is held for ever.
    fn is_forked(&self) -> bool {
        self.home.is_elsewhere()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake_watcher(&self) {
        if let Some(watcher) = &*lock(&self.watcher) {
            watcher.unpark();
        }
    }

    /// Watches the leader; returns with the loop when a call takes too long, without it when the crew stops. With the loop
    /// comes how many connections of its batch are expected to block as well.
    fn watch(&self) -> Option<(Box<Loop>, usize)> {
        *lock(&self.watcher) = Some(thread::current());
        let mut idle = 0;
        let mut before = self.calls.load(Ordering::SeqCst);
        // The call that is running was there by then.
        let mut since = Instant::now();
        // It was found that others may run beside it.
        let mut agreed = false;
        // Calls have been many lately.
        let mut brisk = false;
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(passed) = lock(&self.passed).take() {
                return Some((passed, 0));
            }
            if idle >= IDLE_LOOKS {
                self.parked.store(true, Ordering::SeqCst);
                if self.calls.load(Ordering::SeqCst) == before && !self.is_stopped() {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                idle = 0;
                (before, since, agreed) = (self.calls.load(Ordering::SeqCst), Instant::now(), false);
            }
            let (clock, close_until) = (self.service.now(), self.close_watch_until.load(Ordering::Relaxed));
            thread::park_timeout(match () {
                () if clock < close_until => CLOSE_WATCH,
                () if brisk && (close_until == 0 || clock >= close_until + RELAX_AFTER) => RELAXED_WATCH,
                () => WATCH,
            });
            let now = self.calls.load(Ordering::SeqCst);
            // Each call changes the number twice.
            brisk = now.wrapping_sub(before) >= 2 * MANY_CALLS;
            if now != before {
                (idle, before, since, agreed) = (0, now, Instant::now(), false);
            } else if now & 1 == 1 {
                self.was_slow.store(true, Ordering::Relaxed);
                // A lock that is let go of at the end of a call is no reason: by the next look it has come back.
                let may = self.may_hand_over(since);
                let twice = std::mem::replace(&mut agreed, may) || self.service.settings.may_hand_over.is_none();
                let taken = if may && twice { self.take_lead(now) } else { None };
                if let Some(taken) = taken {
                    let until = self.service.now() + CLOSE_WATCH_LASTS;
                    self.close_watch_until.store(until, Ordering::Relaxed);
                    return taken.map(|taken| {
                        let rest = taken.rest_of_batch();
                        (taken, rest)
                    });
                }
            } else {
                idle += 1;
            }
        }
    }

    /// Is the lead to be taken from a call that has been running since then at least?
    fn may_hand_over(&self, since: Instant) -> bool {
        let Some(may) = &self.service.settings.may_hand_over else { return true };
        panics::catch(|| may(since.elapsed())).unwrap_or_else(|panic| {
            self.service.settings.log.error(&format!("panic before a hand-over: {}", panic.report));
            true
        })
    }

    /// Leads until the lead is lost or the loop stops. So many connections of the batch are expected to block.
    fn lead(self: &Arc<Crew>, mut lead: Box<Loop>, mut blocking: usize) -> Led {
        // Whoever had the lead may have been away for long.
        lead.look_at_clock();
        // What was finished before a hand-over does not wait for the rest of the batch.
        lead.write_answers();
        loop {
            let (token, mut connection, readable) = match lead.next(None) {
                Ok(Next::Work { token, connection, readable }) => (token, connection, readable),
                Ok(Next::Discard(discarded)) => {
                    let mut turn = Lead::new(self, Some(lead));
                    turn.permission();
                    turn.leave();
                    drop(discarded);
                    turn.regain();
                    match turn.held {
                        Some(held) => {
                            lead = held;
                            continue;
                        }
                        None => {
                            self.give_back(Returned::Nothing);
                            return Led::Lost;
                        }
                    }
                }
                Ok(Next::Look) => match self.look(lead) {
                    Some(back) => {
                        lead = back;
                        continue;
                    }
                    None => return Led::Stopped,
                },
                Err(error) => {
                    self.finish(lead, Err(error));
                    return Led::Stopped;
                }
            };
            let now = lead.now;
            let mut turn = Lead::new(self, Some(lead));
            turn.dispatches = blocking > 0;
            blocking = blocking.saturating_sub(1);
            let step = connection.guarded(&self.service, |it| it.advance(&self.service, &mut turn, readable, now));
            turn.regain();
            if let Some(held) = turn.held.as_mut().filter(|_| self.was_slow.load(Ordering::Relaxed)) {
                self.was_slow.store(false, Ordering::Relaxed);
                held.look_at_clock();
            }
            match turn.held.take() {
                Some(held) if step == Step::Upgrade => {
                    let mut held = held;
                    held.vacate(token);
                    turn.held = Some(held);
                    upgrade(connection, &mut turn, &self.service);
                    turn.regain();
                    match turn.held {
                        Some(mut held) => {
                            held.look_at_clock();
                            lead = held;
                        }
                        None => {
                            self.give_back(Returned::Left(token));
                            return Led::Lost;
                        }
                    }
                }
                Some(held) => {
                    lead = held;
                    let kept = match step {
                        Step::Dispatch => self.dispatch(token, connection).err(),
                        _ => Some(connection),
                    };
                    if let Some(connection) = kept {
                        if step == Step::Dispatch {
                            // No thread can be had for it: it is served here after all, as the others are.
                            blocking = 0;
                        }
                        lead.put_back(token, connection, step);
                    }
                }
                None => {
                    self.finish_away(token, connection, step, &mut turn);
                    return Led::Lost;
                }
            }
            if self.service.settings.passthrough_errors && lock(&self.service.failure).is_some() {
                self.shutdown.shutdown();
            }
            if now >= self.hire_again.load(Ordering::Relaxed) {
                self.hire_again.store(u64::MAX, Ordering::Relaxed);
                self.hire(None);
            }
        }
    }

    fn give_back(&self, returned: Returned) {
        if self.is_forked() {
            return;
        }
        lock(&self.returned).push(returned);
        // The loop itself counts this thread as back, so that `away` never says less than there are.
        self.wake.wake();
    }

    /// Sees to what other threads have left for the leader. `None` when that was the end.
    fn look(&self, mut lead: Box<Loop>) -> Option<Box<Loop>> {
        let returned = std::mem::take(&mut *lock(&self.returned));
        for returned in returned {
            self.note_back();
            match returned {
                Returned::Connection { token, connection, step } => lead.put_back(token, connection, step),
                Returned::Left(token) => lead.vacate(token),
                Returned::Nothing => {}
            }
        }
        let running = self.away.load(Ordering::SeqCst);
        lead.take_mail();
        lead.resume_waiting(self.fleet.room(self.berth));
        // The others follow when these are answered; if the leader does that by itself, no thread comes back to say so.
        lead.woken |= lead.has_waiting() && self.fleet.room(self.berth) > 0;
        if self.service.settings.passthrough_errors && lock(&self.service.failure).is_some() {
            self.shutdown.shutdown();
        }
        if self.shutdown.is_requested() && !lead.is_stopping() {
            lead.begin_stop(&self.shutdown);
        }
        if self.shutdown.is_refusing() && lead.begin_refusing() {
            self.shutdown.note_refused();
        }
        if lead.is_stopping() {
            if lead.open() == 0 && running == 0 {
                self.finish(lead, Ok(()));
                return None;
            }
            if lead.is_past_stop() {
                lead.cut_all();
                self.finish(lead, Ok(()));
                return None;
            }
        }
        Some(lead)
    }

    fn finish(&self, lead: Box<Loop>, result: io::Result<()>) {
        drop(lead);
        if result.is_err() {
            // One loop can't go on: none of them does.
            self.shutdown.shutdown();
        }
        *lock(&self.result) = Some(result);
        self.stopped.store(true, Ordering::SeqCst);
        // Under the lock, so that nobody misses it between looking and waiting.
        let roles = lock(&self.roles);
        self.changed.notify_all();
        drop(roles);
        self.wake_watcher();
        self.fleet.note_end();
    }
}

/// Runs what the application wants to do with a connection that has left HTTP.
pub(super) fn upgrade(connection: Box<Connection>, turn: &mut dyn Turn, service: &Service) {
    turn.leave();
    let Some((on_upgrade, transport, ahead)) = connection.into_upgrade() else { return service.back(turn) };
    let result = panics::catch(|| on_upgrade.run(Upgraded::new(transport, ahead)));
    service.back(turn);
    if let Err(panic) = result {
        service.settings.log.error(&format!("panic after an upgrade: {}", panic.report));
        service.pass_through(|| Failure::Panic(panic));
    }
}
