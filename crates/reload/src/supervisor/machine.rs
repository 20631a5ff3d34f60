//! The rules: which children there should be, and what each is told when. No processes and no clock, so that tests can
//! walk through every order of events: time comes in, orders go out to a [`World`].
//!
//! ```text
//!            start             ready            a newer one is ready, or one too many
//! (missing) ───────▶ Starting ───────▶ Ready ─────────────────────────────────────▶ Leaving ───▶ gone
//!     ▲                 │ exit, deadline │ exit                     asked, then SIGTERM, then SIGKILL
//!     └──── back-off ◀──┴────────────────┘
//! ```
//!
//! A replacement of all children is a *round*: one new child after the other is started, and for each that gets ready
//! an old one leaves. A round in which a new child fails is over, as long as anything old serves.

mod member;
mod number;

#[cfg(test)]
mod tests;

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::options::Options;
use crate::backoff::{Again, Backoff};
use crate::child::Program;
use member::{Member, State, Step};

/// A child that asks to be started again.
const AGAIN: i32 = 3;

/// Two signals within this time are one: a terminal and what runs in it may both send it.
const ONE_SIGNAL: Duration = Duration::from_millis(300);

/// What the rules act on.
pub(super) trait World {
    /// Starts a program; it will be known by `id`.
    fn start(&mut self, id: u64, generation: u64, program: &Program) -> io::Result<()>;
    fn order(&mut self, id: u64, order: Order);
    fn tell(&mut self, notice: Notice);
}

/// What a child is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Hand idle connections back, finish the rest, go.
    Drain,
    /// The same for one that has not said yet that it is ready: it may be about to.
    Abandon,
    /// Finish what runs, go.
    Stop,
    Terminate,
    Kill,
    ReopenLogs,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Notice {
    Ready { generation: u64 },
    Failed { id: u64, generation: u64, why: Why, serving: bool, again_in: Option<Duration> },
    Died { id: u64, generation: u64, status: ExitStatus, lived: Duration, row: u32, again_in: Duration },
    Swapped { old: u64, new: u64 },
    StandsIn { generation: u64 },
    TooManyRestarts { again_in: Duration },
    TooSlowToLeave { id: u64 },
    Ended,
    GivenUp,
}

/// Why a child counts as failed.
#[derive(Debug)]
pub(super) enum Why {
    NotStarted(io::Error),
    Exited(ExitStatus),
    TooSlow,
}

#[derive(Clone, Debug)]
struct Version {
    generation: u64,
    program: Program,
}

#[derive(Debug)]
struct Round {
    version: Version,
    /// What served before.
    before: Option<u64>,
}

/// May missing children be started?
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    No,
    Until(Instant),
    /// Only new code can help.
    Replaced,
}

#[derive(Debug)]
struct Stopping {
    exit_code: i32,
    since: Instant,
}

pub(super) struct Machine {
    options: Options,
    workers: usize,
    members: Vec<Member>,
    ids: u64,
    generations: u64,
    /// What to serve; a stand-in does not change it.
    wanted: Program,
    /// The newest version of which a child was ready.
    proven: Option<Version>,
    round: Option<Round>,
    hold: Hold,
    backoff: Backoff,
    /// A successor that could not start is tried again then.
    successor_at: Option<Instant>,
    /// How long that is; no death has to do with it.
    successors: Backoff,
    again: Again,
    stopping: Option<Stopping>,
}

impl Machine {
    pub(super) fn new(program: Program, options: &Options) -> Machine {
        let options = options.bounded();
        let mut machine = Machine {
            workers: options.workers.max(1),
            members: Vec::new(),
            ids: 0,
            generations: 0,
            wanted: program.clone(),
            proven: None,
            round: None,
            hold: Hold::No,
            backoff: Backoff::new(options.first_delay, options.longest_delay, options.healthy_after),
            successor_at: None,
            successors: Backoff::new(options.first_delay, options.longest_delay, options.healthy_after),
            again: Again::new(options.again, options.again_within),
            stopping: None,
            options,
        };
        machine.begin_round(program);
        machine
    }

    fn begin_round(&mut self, program: Program) {
        self.generations += 1;
        let version = Version { generation: self.generations, program };
        self.round = Some(Round { version, before: self.proven.as_ref().map(|proven| proven.generation) });
        self.hold = Hold::No;
        self.backoff.reset();
        self.successor_at = None;
        self.successors.reset();
    }

    /// Replaces all children, by another program or by the same.
    pub(super) fn replace(&mut self, program: Option<Program>, now: Instant, world: &mut impl World) {
        if let Some(program) = program {
            self.wanted = program;
        }
        self.run(self.wanted.clone(), now, world);
    }

    /// Replaces all children by a program that speaks for the wanted one, until that is replaced. If something newer than
    /// `instead_of` is on its way, it is too late for it.
    pub(super) fn stand_in(&mut self, program: Program, instead_of: Option<u64>, now: Instant, world: &mut impl World) {
        let newer = self.round.as_ref().map(|round| round.version.generation);
        if self.stopping.is_some() || instead_of.is_some_and(|generation| newer > Some(generation)) {
            return;
        }
        self.run(program, now, world);
        world.tell(Notice::StandsIn { generation: self.generations });
    }

    fn run(&mut self, program: Program, now: Instant, world: &mut impl World) {
        if self.stopping.is_some() {
            return;
        }
        for member in self.members.iter_mut().filter(|member| member.is_starting()) {
            member.leave(Step::Abandoned, now, &self.options, world);
        }
        self.begin_round(program);
    }

    pub(super) fn add_worker(&mut self) {
        self.workers += 1;
    }

    pub(super) fn remove_worker(&mut self) {
        self.workers = (self.workers - 1).max(1);
    }

    pub(super) fn set_workers(&mut self, count: usize) {
        self.workers = count.max(1);
    }

    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Every child finishes what it runs; then it is over.
    pub(super) fn stop(&mut self, exit_code: i32, now: Instant, world: &mut impl World) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { exit_code, since: now });
        for member in &mut self.members {
            match member.state {
                State::Starting { .. } => member.leave(Step::Terminated, now, &self.options, world),
                State::Ready { .. } => member.leave(Step::Stopped, now, &self.options, world),
                // It need not hand anything back any more; its deadline runs on.
                State::Leaving { step: Step::Drained | Step::Abandoned, .. } => world.order(member.id, Order::Stop),
                State::Leaving { .. } => {}
            }
        }
    }

    /// A key that asks to stop; once more, and it is over at once.
    pub(super) fn interrupt(&mut self, now: Instant, world: &mut impl World) {
        /// As shells report a program that SIGINT has ended.
        const INTERRUPTED: i32 = 130;
        match &self.stopping {
            None => self.stop(0, now, world),
            Some(stopping) if now.saturating_duration_since(stopping.since) < ONE_SIGNAL => {}
            Some(_) => self.quit(INTERRUPTED, now, world),
        }
    }

    /// It is over at once.
    pub(super) fn quit(&mut self, exit_code: i32, now: Instant, world: &mut impl World) {
        self.stopping = Some(Stopping { exit_code, since: now });
        for member in &mut self.members {
            member.leave(Step::Killed, now, &self.options, world);
        }
    }

    pub(super) fn reopen_logs(&self, world: &mut impl World) {
        for member in &self.members {
            world.order(member.id, Order::ReopenLogs);
        }
    }

    /// The exit code, when it is over.
    pub(super) fn outcome(&self) -> Option<i32> {
        self.stopping.as_ref().filter(|_| self.members.is_empty()).map(|stopping| stopping.exit_code)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Children that take connections: generation and id.
    pub(super) fn serving(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.members.iter().filter(|member| member.is_ready()).map(|member| (member.generation(), member.id))
    }

    /// May another child be ready before anybody does anything?
    pub(super) fn expects_another(&self) -> bool {
        self.hold != Hold::Replaced && (self.round.is_some() || self.members.iter().any(Member::is_starting))
    }

    /// A child has said something before it is ready: it will say that, too.
    pub(super) fn speaks(&mut self, id: u64) {
        let member = self.members.iter_mut().find(|member| member.id == id);
        if let Some(State::Starting { settled, .. }) = member.map(|member| &mut member.state) {
            *settled = None;
        }
    }

    /// A child asks to be replaced.
    pub(super) fn wants_successor(&mut self, id: u64) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.wants_successor = true;
        }
    }

    /// A child stops, and nobody has told it to: another takes its place.
    pub(super) fn leaves(&mut self, id: u64, now: Instant) {
        let until = now + self.options.drain_deadline;
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id && member.is_ready()) {
            member.state = State::Leaving { step: Step::Stopped, until: Some(until) };
        }
    }

    /// A child serves.
    pub(super) fn ready(&mut self, id: u64, now: Instant, world: &mut impl World) {
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else { return };
        if let State::Leaving { step: Step::Abandoned, until } = &mut member.state {
            // It was ready before it heard that it is not wanted, and may have something to finish.
            *until = Some(now + self.options.drain_deadline);
        }
        if !member.is_starting() {
            return;
        }
        member.state = State::Ready { since: now };
        self.successors.reset();
        let version = member.version.clone();
        world.tell(Notice::Ready { generation: version.generation });
        if let Some(round) = self.round.as_ref().filter(|round| round.version.generation == version.generation) {
            let newest = round.version.generation;
            let old = self.members.iter_mut().find(|member| member.is_ready() && member.generation() < newest);
            if let Some(old) = old {
                old.leave(Step::Drained, now, &self.options, world);
            }
        }
        if self.proven.as_ref().is_none_or(|proven| proven.generation < version.generation) {
            self.proven = Some(version);
        }
    }

    /// A child says that nothing keeps it any more.
    pub(super) fn drained(&mut self, id: u64, now: Instant) {
        let soon = now + self.options.kill_deadline;
        let member = self.members.iter_mut().find(|member| member.id == id);
        if let Some(State::Leaving { until: Some(until), .. }) = member.map(|member| &mut member.state) {
            *until = soon.min(*until);
        }
    }

    /// A child has ended.
    pub(super) fn exited(&mut self, id: u64, status: ExitStatus, now: Instant, world: &mut impl World) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else { return };
        let member = self.members.remove(index);
        if self.stopping.is_some() {
            return;
        }
        match member.state {
            State::Leaving { .. } => {}
            _ if status.code() == Some(AGAIN) => {
                if !self.again.allows(now) {
                    let again_in = self.backoff.after(Duration::ZERO);
                    self.hold_until(now + again_in);
                    world.tell(Notice::TooManyRestarts { again_in });
                }
            }
            State::Starting { .. } if self.proven.is_none() && self.gives_up(status) => {
                world.tell(Notice::GivenUp);
                self.stop(status.code().unwrap_or(1), now, world);
            }
            State::Ready { .. } if status.success() => {
                world.tell(Notice::Ended);
                self.stop(0, now, world);
            }
            State::Ready { since } => {
                let lived = now.saturating_duration_since(since);
                let again_in = match self.hold {
                    // Several at once are one accident.
                    Hold::Until(when) if when > now => when - now,
                    _ => self.backoff.after(lived),
                };
                self.hold_until(now + again_in);
                let (row, generation) = (self.backoff.row(), member.generation());
                world.tell(Notice::Died { id, generation, status, lived, row, again_in });
            }
            State::Starting { .. } => self.failed(id, member.generation(), Why::Exited(status), now, world),
        }
    }

    fn gives_up(&self, status: ExitStatus) -> bool {
        status.code().is_some_and(|code| Some(code) == self.options.give_up)
    }

    fn hold_until(&mut self, when: Instant) {
        self.hold = match self.hold {
            Hold::Until(other) if other > when => Hold::Until(other),
            _ => Hold::Until(when),
        };
    }

    fn failed(&mut self, id: u64, generation: u64, why: Why, now: Instant, world: &mut impl World) {
        let serving = self.serving().count();
        if serving > 0 {
            self.round = None;
        }
        let mut again_in = None;
        if serving < self.workers {
            if self.options.retry {
                let delay = self.backoff.after(Duration::ZERO);
                self.hold_until(now + delay);
                again_in = Some(delay);
            } else {
                self.hold = Hold::Replaced;
            }
        } else if self.members.iter().any(Member::is_retiring) {
            let delay = self.successors.after(Duration::ZERO);
            self.successor_at = Some(now + delay);
            again_in = Some(delay);
        }
        world.tell(Notice::Failed { id, generation, why, serving: serving > 0, again_in });
    }

    /// When [`tick`](Machine::tick) has to be called at the latest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let held = match self.hold {
            Hold::Until(when) if self.stopping.is_none() => Some(when),
            _ => None,
        };
        let successor = self.successor_at.filter(|_| self.stopping.is_none());
        self.members.iter().filter_map(Member::due).chain(held).chain(successor).min()
    }

    /// Does what is due, and starts and ends children until there are as many as there should be.
    pub(super) fn tick(&mut self, now: Instant, world: &mut impl World) {
        let due: Vec<u64> =
            self.members.iter().filter(|member| member.due().is_some_and(|due| due <= now)).map(|due| due.id).collect();
        for id in due {
            let Some(member) = self.members.iter_mut().find(|member| member.id == id) else { continue };
            match member.state {
                State::Starting { settled: Some(settled), .. } if settled <= now => self.ready(id, now, world),
                State::Starting { .. } => {
                    let generation = member.generation();
                    member.leave(Step::Terminated, now, &self.options, world);
                    self.failed(id, generation, Why::TooSlow, now, world);
                }
                State::Leaving { step, .. } => {
                    if matches!(step, Step::Drained | Step::Stopped) {
                        world.tell(Notice::TooSlowToLeave { id });
                    }
                    member.leave(step.next(), now, &self.options, world);
                }
                State::Ready { .. } => {}
            }
        }
        if self.stopping.is_none() {
            if matches!(self.hold, Hold::Until(when) if when <= now) {
                self.hold = Hold::No;
            }
            self.successor_at = self.successor_at.filter(|&when| when > now);
            self.go_on_with_round(now, world);
            self.keep_number(now, world);
        }
    }
}
