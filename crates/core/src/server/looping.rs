//! The loop: listeners, connections, deadlines, and the batch of what is ready.
//!
//! It belongs to one thread at a time, the one that leads ([`crew`](super::crew)). Nothing ticks: when no deadline is
//! near, waiting has no time-out.

mod accepting;
#[cfg(unix)]
pub(super) mod children;
mod queue;
mod stopping;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::connection::{AppOwned, Connection, Step};
use super::descriptors::Home;
use super::fleet::Fleet;
use super::handover::Heir;
use super::listener::Served;
use super::log::CloseReason;
use super::poller::{Interest, Poller};
use super::service::Service;
use super::sys;
use super::transport::Socket;
use super::wake::Wake;

/// Deadlines are looked at no more often than this, in milliseconds, so that ten thousand idle connections cost a
/// thousandth of a core; only where one has passed, once more when its connection has been looked at.
const SWEEP: u64 = 50;
/// Memory of request bodies that nobody has wanted for so long is freed, in milliseconds.
const KEEP_MEMORY: u64 = 5_000;
/// How long accepting rests after the file table was full, in milliseconds.
const REST: u64 = 100;
/// Connections accepted in a row before those that are there get their turn.
const ACCEPTS: usize = 64;
/// How long connections are left to other processes by one that has just taken one, in milliseconds: as short as can be
/// waited for.
const GIVE_WAY: u64 = 1;
/// How often one whose threads are all busy looks whether a connection waits that no other process takes, in milliseconds.
const BUSY_LOOK: u64 = 10;
/// It takes a connection when so many looks in a row have found one: the other processes are as busy then. Its request has
/// to be read, so that it is refused in time, or dropped when its client leaves.
const BUSY_LOOKS: u32 = 3;
/// Bodies whose first block waits to be written with the batch, before they go on. What an application holds for each of
/// them is in the processor's caches for as long as they are few: with 25, a Flask application took half as long again.
const UNDER_WAY: usize = 8;
/// How long after its last answer a connection is looked at whose client has said that it closes, in milliseconds. By then
/// most have, and are closed without having been watched, which would cost as much again.
const PARTING: u64 = 20;
/// So many are looked at earlier: to be open for nothing is to be in the way of others.
const MOST_PARTING: usize = 128;
/// How long a server that stops waits for the first request of a connection that has just come, in milliseconds: longer than
/// it is under way around the world.
const NEW: u64 = 500;
/// Buffers kept for the next connections that have something to say.
const SPARE_BUFFERS: usize = 64;

const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 63;
const CHILD: u64 = 1 << 62;

/// Names a connection for as long as it lives: its place and how many had it before.
pub(super) type Token = u64;

struct Slot {
    generation: u32,
    /// For ending what another thread holds.
    socket: Option<Arc<Socket>>,
    /// `None` while vacant, and while a thread is away with it.
    connection: Option<Box<Connection>>,
    registered: Option<Interest>,
    deadline: u64,
    /// Its deadline has passed and was not the end, because what the client had done by then was yet to be seen.
    spared: bool,
    /// It waits until an application may run, in `waiting`.
    queued: bool,
}

pub(super) struct Loop {
    pub(super) service: Arc<Service>,
    pub(super) fleet: Arc<Fleet>,
    /// Which of the fleet's loops this is.
    berth: usize,
    /// Connections beyond this loop's share, to be given to others as they become idle.
    surplus: usize,
    poller: Poller,
    wake: Arc<Wake>,
    home: Home,
    listeners: Vec<Served>,
    /// Other processes may take the connections that come now.
    gives_way: bool,
    /// Accepting rests since the threads here are all busy.
    is_busy: bool,
    /// How often in a row connections were found meanwhile, and left to other processes.
    left_to_others: u32,
    /// Accepting rests until then; `u64::MAX` until a connection closes.
    resting: Option<u64>,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    open: usize,
    batch: VecDeque<(Token, bool)>,
    /// Connections that could go on at once, behind a look at what else has become ready.
    again: Vec<Token>,
    /// Connections whose answers are written when the batch is done.
    late: Vec<Token>,
    /// How many of those have more to send.
    under_way: usize,
    /// When the batch began, or what was finished of it by then was written.
    gathering_since: Instant,
    /// Connections whose clients are expected to close them, and when they are looked at, the first of them first.
    parting: VecDeque<(Token, u64)>,
    /// Complete requests that wait until an application may run, and some that no longer do.
    waiting: VecDeque<Token>,
    /// No request waits any more: each gets 503.
    refusing: bool,
    /// What closed connections leave behind, to be dropped where a slow drop delays no other connection.
    discarded: Vec<AppOwned>,
    /// Boxed, as connections hold them: lending moves a pointer.
    #[allow(clippy::vec_box)]
    buffers: Vec<Box<Buffer>>,
    ready: Vec<u64>,
    pub(super) now: u64,
    /// How often it has asked the system what is ready.
    pub(super) looks: u64,
    next_sweep: u64,
    /// When memory of request bodies that nobody wants is freed.
    next_trim: Option<u64>,
    /// Running requests have until then.
    stop_at: Option<u64>,
    /// Idle connections that can't be handed over have until then.
    part_at: u64,
    /// Who gets the connections then.
    heir: Option<Heir>,
    /// Answers of a batch are written together.
    write_late: bool,
    /// Ended children, by their number in `CHILD` events.
    pub(super) ended_children: Vec<u64>,
    pub(super) woken: bool,
    /// Requests answered on connections that are gone, plus those on connections put back.
    pub(super) answered: u64,
}

/// What the leader does next.
pub(super) enum Next {
    Work {
        token: Token,
        connection: Box<Connection>,
        readable: bool,
    },
    /// Drop what is the application's, which may take a while.
    Discard(AppOwned),
    /// Look at what others have left: returned connections, ended children, a wish to stop.
    Look,
}

impl Loop {
    pub(super) fn new(
        service: Arc<Service>,
        fleet: Arc<Fleet>,
        berth: usize,
        wake: Arc<Wake>,
        write_late: bool,
    ) -> io::Result<Loop> {
        let home = Home::here();
        let listeners: Vec<Served> = fleet.listeners().into_iter().map(Served::new).collect();
        let mut poller = Poller::new(service.settings.poller)?;
        poller.add(wake.raw(), WAKE, Interest::Read)?;
        for (index, listener) in listeners.iter().enumerate() {
            poller.add(sys::raw(listener.handle()), LISTENER | index as u64, Interest::Accept)?;
        }
        fleet.moor(berth, wake.clone());
        let now = service.now();
        Ok(Loop {
            service,
            fleet,
            berth,
            surplus: 0,
            poller,
            wake,
            home,
            listeners,
            gives_way: false,
            is_busy: false,
            left_to_others: 0,
            resting: None,
            slots: Vec::new(),
            vacant: Vec::new(),
            open: 0,
            batch: VecDeque::new(),
            again: Vec::new(),
            late: Vec::new(),
            under_way: 0,
            parting: VecDeque::new(),
            gathering_since: Instant::now(),
            waiting: VecDeque::new(),
            refusing: false,
            discarded: Vec::new(),
            buffers: Vec::new(),
            ready: Vec::new(),
            now,
            looks: 0,
            next_sweep: u64::MAX,
            next_trim: None,
            stop_at: None,
            part_at: u64::MAX,
            heir: None,
            write_late,
            ended_children: Vec::new(),
            woken: false,
            answered: 0,
        })
    }

    /// How many connections of the batch have not had their turn yet.
    pub(super) fn rest_of_batch(&self) -> usize {
        self.batch.len()
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The next connection with something to do; waits for one if there is none, no longer than `patience`.
    pub(super) fn next(&mut self, patience: Option<Duration>) -> io::Result<Next> {
        loop {
            while let Some((token, readable)) = self.batch.pop_front() {
                if let Some(mut connection) = self.take(token) {
                    connection.lend(|| self.buffer());
                    return Ok(Next::Work { token, connection, readable });
                }
            }
            self.write_answers();
            if !self.discarded.is_empty() && self.fleet.room(self.berth) > 0 {
                if let Some(discarded) = self.discarded.pop() {
                    return Ok(Next::Discard(discarded));
                }
            }
            if self.woken || !self.ended_children.is_empty() {
                self.woken = false;
                return Ok(Next::Look);
            }
            if self.stop_at.is_some() && self.open == 0 {
                return Ok(Next::Look);
            }
            if self.batch.is_empty() {
                let stopped = self.wait(patience)?;
                // Who has only so much patience is to see what the time has brought, be it nothing.
                if stopped || patience.is_some() && self.batch.is_empty() {
                    return Ok(Next::Look);
                }
            }
        }
    }

    /// Waits for readiness and makes a batch of it; true when the time to stop has run out.
    fn wait(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        self.look_at_room();
        let busy = !self.again.is_empty();
        let log_again = self.service.settings.log.flush(!busy);
        // One loop sees to it for all of them.
        if self.next_trim.is_none() && self.berth == 0 && self.service.body_budget.memory.has_spare() {
            self.next_trim = Some(self.now + KEEP_MEMORY);
        }
        let parting = self.parting.front().map(|&(_, at)| at);
        let timers = [Some(self.next_sweep), self.next_trim, self.resting, self.stop_at, parting];
        let next = timers.into_iter().flatten().min().filter(|&at| at < u64::MAX / 4);
        let until = next.map(|at| Duration::from_millis(at.saturating_sub(self.now)));
        let at_once = busy.then_some(Duration::ZERO);
        let timeout = [until, log_again, patience, at_once].into_iter().flatten().min();

        let mut ready = std::mem::take(&mut self.ready);
        if self.home.is_elsewhere() {
            return Err(io::Error::other(
                "this process was forked from the one that made the server, which serves there only; \
                 make a server in each process that is to serve",
            ));
        }
        self.poller.wait(&mut ready, timeout)?;
        self.looks += 1;
        self.gathering_since = Instant::now();
        self.look_at_clock();
        for event in ready.drain(..) {
            self.event(event);
        }
        self.ready = ready;
        self.go_on(false);
        self.look_at_parting(self.now);
        if self.now >= self.next_sweep {
            self.sweep();
        }
        if self.next_trim.is_some_and(|at| self.now >= at) {
            self.next_trim = None;
            self.service.body_budget.memory.trim();
        }
        if self.resting.is_some_and(|until| self.now >= until) {
            self.end_rest();
        }
        Ok(self.is_past_stop())
    }

    /// For the deadlines and dates that follow.
    pub(super) fn look_at_clock(&mut self) {
        self.now = self.service.now();
        self.service.look_at_clock();
    }

    fn event(&mut self, event: u64) {
        if event == WAKE {
            self.wake.reset();
            self.woken = true;
        } else if event & LISTENER != 0 {
            self.accept((event & !LISTENER) as usize);
        } else if event & CHILD != 0 {
            self.ended_children.push(event & !CHILD);
        } else {
            let Some(slot) = self.slot(event) else { return };
            if slot.queued {
                self.drop_queued(event);
            } else if slot.connection.is_some() {
                self.batch.push_back((event, true));
            } else {
                // A thread is away with it, and its client has more to say: not to be told again and again.
                self.unregister(event);
            }
        }
    }

    /// A spare buffer, or a new one.
    #[inline]
    fn buffer(&mut self) -> Box<Buffer> {
        self.buffers.pop().unwrap_or_else(|| {
            let settings = &self.service.settings;
            Buffer::new((settings.limits.head, settings.leniency).into())
        })
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        (slot.generation == (token >> 32) as u32 && slot.socket.is_some()).then_some(slot)
    }

    #[inline]
    pub(super) fn take(&mut self, token: Token) -> Option<Box<Connection>> {
        self.slot(token)?.connection.take()
    }

    /// Puts a connection back after it was advanced, and sees to what it waits for.
    #[inline]
    pub(super) fn put_back(&mut self, token: Token, mut connection: Box<Connection>, step: Step) {
        if step == Step::Flush {
            self.end_giving_way();
        }
        let step = match step {
            Step::Flush if !self.write_late => {
                connection.guarded(&self.service, |it| it.settle(&self.service, self.now))
            }
            step => step,
        };
        if let Some(buffer) = connection.give_back() {
            // The next connection begins with it: nothing of this one's may be left in it.
            debug_assert!(buffer.parser.is_untouched());
            if buffer.is_reusable() && self.buffers.len() < SPARE_BUFFERS {
                self.buffers.push(buffer);
            }
        }
        match step {
            Step::Read => self.watch(token, connection, Interest::Read),
            Step::Part => self.part(token, connection),
            Step::Write => self.watch(token, connection, Interest::Write),
            Step::Flush => {
                self.under_way += usize::from(connection.is_answering());
                self.keep(token, connection, u64::MAX);
                self.late.push(token);
                if self.under_way >= UNDER_WAY {
                    self.write_answers();
                    self.go_on(true);
                } else if !self.batch.is_empty()
                    && self.gathering_since.elapsed() > self.service.settings.timeouts.batch
                {
                    self.service.look_at_clock();
                    self.write_answers();
                    // The next ones wait for each other again: written one by one, each would wake its client.
                    self.gathering_since = Instant::now();
                }
            }
            Step::Again => {
                self.keep(token, connection, u64::MAX);
                self.again.push(token);
            }
            Step::Turn | Step::Fork => self.queue(token, connection),
            // No other thread can be had for it.
            Step::Dispatch => {
                self.keep(token, connection, u64::MAX);
                self.batch.push_back((token, false));
            }
            Step::Close | Step::Upgrade => {
                self.note_end(&mut connection);
                self.close(token, connection);
            }
        }
    }

    /// Everything has been written to a client that has said that it closes.
    #[inline]
    fn part(&mut self, token: Token, connection: Box<Connection>) {
        let is_watched = self.slot(token).is_some_and(|slot| slot.registered.is_some());
        if is_watched || self.stop_at.is_some() {
            return self.watch(token, connection, Interest::Read);
        }
        self.keep(token, connection, u64::MAX);
        self.parting.push_back((token, self.now + PARTING));
        if self.parting.len() > MOST_PARTING {
            if let Some((token, _)) = self.parting.pop_front() {
                self.batch.push_back((token, true));
            }
        }
    }

    /// Looks whether clients that were to have closed by then have. The others are watched.
    pub(super) fn look_at_parting(&mut self, until: u64) {
        while let Some(&(token, at)) = self.parting.front() {
            if at > until {
                break;
            }
            self.parting.pop_front();
            self.batch.push_back((token, true));
        }
    }

    fn keep(&mut self, token: Token, connection: Box<Connection>, deadline: u64) {
        if let Some(slot) = self.slot(token) {
            slot.deadline = deadline;
            slot.connection = Some(connection);
        }
    }

    /// Waits for readiness from now on; false when that can't be.
    fn register(&mut self, token: Token, interest: Interest) -> bool {
        let Some(slot) = self.slot(token) else { return false };
        let registered = slot.registered.replace(interest);
        let Some(fd) = slot.socket.as_ref().map(|socket| sys::raw(socket.handle())) else { return false };
        let result = match registered {
            Some(there) if there == interest => return true,
            Some(_) => self.poller.modify(fd, token, interest),
            None => self.poller.add(fd, token, interest),
        };
        if let Err(error) = &result {
            self.service.settings.log.error(&format!("can't wait for a connection: {error}"));
        }
        result.is_ok()
    }

    #[inline]
    fn watch(&mut self, token: Token, mut connection: Box<Connection>, interest: Interest) {
        if let (Some(heir), Interest::Read) = (self.heir.clone(), interest) {
            match self.bequeath(token, connection, &heir) {
                Ok(()) => return,
                Err(kept) => connection = kept,
            }
        }
        let last_request = self.last_request_until(&connection);
        let is_idle = connection.is_idle() && last_request.is_none();
        if self.stop_at.is_some() && (is_idle || connection.is_parting()) {
            if is_idle {
                connection.part(CloseReason::Shutdown);
            }
            self.note_end(&mut connection);
            return self.close(token, connection);
        }
        if self.surplus > 0 && interest == Interest::Read && connection.is_idle() {
            match self.give_away(token, connection) {
                Ok(()) => return,
                Err(kept) => connection = kept,
            }
        }
        let mut deadline = connection.deadline(&self.service);
        if let Some(until) = last_request.filter(|_| connection.is_idle()) {
            deadline = deadline.min(until);
        }
        self.next_sweep = self.next_sweep.min(deadline);
        let now = self.now;
        let Some(slot) = self.slot(token) else { return };
        slot.deadline = deadline;
        // Bytes that come one by one move some deadlines, and are no reason for another look.
        slot.spared &= deadline <= now;
        slot.connection = Some(connection);
        if !self.register(token, interest) {
            self.vacate(token);
        }
    }

    /// Until when a loop that stops waits for a request on this connection while it is idle, if it does. Its client may have
    /// sent one already, which is answered as the last: where others are handed over and this one can't be, or when the
    /// client has just come.
    fn last_request_until(&self, connection: &Connection) -> Option<u64> {
        self.stop_at?;
        if self.heir.is_some() {
            return (!connection.is_plain()).then_some(self.part_at);
        }
        let until = connection.since() + NEW;
        (connection.answered == 0 && until > self.now).then_some(until)
    }

    fn unregister(&mut self, token: Token) {
        let Some(slot) = self.slot(token) else { return };
        if slot.registered.take().is_some() {
            let Some(fd) = slot.socket.as_ref().map(|socket| sys::raw(socket.handle())) else { return };
            let _ = self.poller.remove(fd);
        }
    }

    /// Frees a connection's place, while somebody else may hold its socket open (a forked child, an upgrade, another
    /// thread).
    pub(super) fn vacate(&mut self, token: Token) {
        self.unregister(token);
        self.forget(token);
    }

    /// Closes a connection and frees its place.
    fn close(&mut self, token: Token, mut connection: Box<Connection>) {
        self.discarded.extend(connection.take_app_owned());
        drop(connection);
        // Not `get_mut`: whoever looks after the client holds a weak reference.
        let closes =
            self.slot(token).and_then(|slot| slot.socket.as_ref()).is_some_and(|socket| Arc::strong_count(socket) == 1);
        // Closing the last descriptor ends epoll's interest by itself, which saves a call.
        if closes && self.poller.forgets_closed() {
            self.forget(token);
        } else {
            self.vacate(token);
        }
    }

    fn forget(&mut self, token: Token) {
        let Some(slot) = self.slot(token) else { return };
        slot.socket = None;
        slot.connection = None;
        slot.registered = None;
        slot.deadline = u64::MAX;
        slot.queued = false;
        self.vacant.push(token as u32 as usize);
        self.open -= 1;
        self.note_open();
        if self.resting.is_some() {
            self.resting = Some(self.now);
        }
    }

    fn note_end(&self, connection: &mut Connection) {
        connection.log_written(&self.service);
        if let Some(reason) = connection.reason() {
            self.service.tell(|handler, log| handler.connection_dropped(reason, connection.peer(), log));
        }
    }

    /// Puts what can go on at once into the batch, in front of the others or behind them.
    fn go_on(&mut self, in_front: bool) {
        for token in std::mem::take(&mut self.again) {
            // Whoever has more to send has its next request read when the others have had theirs.
            let connection = self.slot(token).and_then(|slot| slot.connection.as_ref());
            let readable = connection.is_some_and(|connection| !connection.is_answering());
            if in_front && !readable {
                self.batch.push_front((token, readable));
            } else {
                self.batch.push_back((token, readable));
            }
        }
    }

    /// Writes the answers of the batch.
    pub(super) fn write_answers(&mut self) {
        self.under_way = 0;
        let mut late = std::mem::take(&mut self.late);
        for token in late.drain(..) {
            if let Some(mut connection) = self.take(token) {
                let step = connection.guarded(&self.service, |it| it.settle(&self.service, self.now));
                self.put_back(token, connection, step);
            }
        }
        if self.late.is_empty() {
            self.late = late;
        }
    }

    fn sweep(&mut self) {
        self.surplus = self.fleet.surplus(self.berth);
        self.next_sweep = u64::MAX;
        let ready = self.batch.len();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.connection.is_none() {
                continue;
            }
            if slot.deadline > self.now {
                self.next_sweep = self.next_sweep.min(slot.deadline);
                continue;
            }
            let token = token_of(index, slot);
            if slot.queued {
                self.expire_queued(token);
                continue;
            }
            if slot.registered.is_some() && !slot.spared {
                // The loop may have been away, in the application, while the client sent what was missing.
                self.slots[index].spared = true;
                if !self.batch.iter().take(ready).any(|&(other, _)| other == token) {
                    self.batch.push_back((token, true));
                }
                continue;
            }
            if let Some(mut connection) = self.take(token) {
                connection.lend(|| self.buffer());
                let step = connection.guarded(&self.service, |it| it.time_out(&self.service, self.now));
                self.put_back(token, connection, step);
            }
        }
        self.next_sweep = self.next_sweep.max(self.now + SWEEP);
    }

    /// It is closed, or only waits for its client to do so.
    pub(super) fn has_parted(&mut self, token: Token) -> bool {
        let Some(slot) = self.slot(token) else { return true };
        slot.connection.as_ref().is_some_and(|connection| connection.is_parting())
    }

    pub(super) fn socket(&mut self, token: Token) -> Option<Arc<Socket>> {
        self.slot(token)?.socket.clone()
    }
}

fn token_of(index: usize, slot: &Slot) -> Token {
    index as u64 | u64::from(slot.generation) << 32
}
