//! Looking at the files again and again.
//!
//! A look at a file costs the kernel about a microsecond, so that looking at thousands of files each second would keep a
//! laptop awake. Therefore each pass may use a share of a core. While somebody works (something has changed within the
//! last minute) the share is so large that a pass takes in everything, except in enormous projects. Otherwise each pass
//! looks at the files that were modified last, which are those that will be modified next, and goes on with all others
//! where the last pass stopped. However small the share, everything is looked at within [`ROUND`] passes. If passes take
//! long, because a network answers, the time between them grows, so that watching takes a quarter of the time at most.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{clock_gettime, ClockId};

use super::tree::Tree;

/// The share of a core that watching may use while nothing happens.
const IDLE_SHARE: f64 = 0.0014;
/// The share while somebody works: enough for some 20,000 files a second.
const ACTIVE_SHARE: f64 = 0.03;
/// So long after a change somebody is taken to be working.
const ACTIVE: Duration = Duration::from_secs(60);
/// The files modified last; each pass looks at these. More than anybody works on at a time.
const NEWEST: usize = 40;
/// Everything is looked at within so many passes, whatever it costs.
const ROUND: usize = 12;

pub(super) struct Passes {
    interval: Duration,
    due: Instant,
    active_until: Option<Instant>,
    /// All folders, and the newest files, of a generation of the tree.
    folders: Vec<PathBuf>,
    newest: Vec<PathBuf>,
    generation: u64,
    /// Where the next pass goes on: the number of a folder, and of a file in it.
    place: (usize, usize),
    /// What a look costs, in seconds of CPU time; measured as it goes.
    cost: f64,
    /// How many looks it takes to see everything.
    total: usize,
}

impl Passes {
    pub(super) fn new(interval: Duration) -> Passes {
        Passes {
            interval,
            due: Instant::now() + interval,
            active_until: None,
            folders: Vec::new(),
            newest: Vec::new(),
            generation: u64::MAX,
            place: (0, 0),
            cost: 2e-6,
            total: 0,
        }
    }

    /// When the next pass is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Asks for an earlier pass, because a change is waiting to be reported.
    pub(super) fn hurry(&mut self, due: Instant) {
        self.due = self.due.min(due);
    }

    /// Looks at as much as this pass may.
    pub(super) fn pass(&mut self, tree: &mut Tree) {
        let started = Instant::now();
        let cpu = cpu_seconds();
        if self.generation != tree.generation {
            self.generation = tree.generation;
            self.folders = tree.folders();
            self.folders.sort_unstable();
            self.begin_round(tree);
        }
        let share = if self.active_until.is_some_and(|until| started < until) { ACTIVE_SHARE } else { IDLE_SHARE };
        let affordable = (share * self.interval.as_secs_f64() / self.cost) as usize;
        let looks = self.look(tree, affordable);
        tree.settle();
        // A few looks say little about the cost of one.
        if looks > NEWEST / 2 {
            let cost = (cpu_seconds() - cpu) / looks as f64;
            self.cost = (0.8 * self.cost + 0.2 * cost).clamp(1e-7, 1e-3);
        }
        let now = Instant::now();
        if !tree.journal.is_empty() {
            self.active_until = Some(now + ACTIVE);
        }
        self.due = now + self.interval.max(3 * (now - started));
    }

    /// At most one round, and about as many looks as are affordable, unless the round would take too many passes. How
    /// many there were.
    fn look(&mut self, tree: &mut Tree, affordable: usize) -> usize {
        let mut looks = 0;
        if self.total > affordable {
            for path in &self.newest {
                looks += tree.check_file(path);
            }
            let mut parents: Vec<_> = self.newest.iter().filter_map(|path| path.parent()).collect();
            parents.sort_unstable();
            parents.dedup();
            for folder in parents {
                looks += tree.check_folder(folder);
            }
        }
        let limit = affordable.max(looks + self.total / ROUND + 1);
        let mut folders_left = self.folders.len();
        while looks < limit && folders_left > 0 {
            let (number, from) = self.place;
            let Some(folder) = self.folders.get(number) else {
                self.begin_round(tree);
                continue;
            };
            if from == 0 {
                looks += tree.check_folder(folder);
            }
            let room = limit.saturating_sub(looks).max(1);
            let seen = tree.check_files(folder, from, room);
            looks += seen;
            if seen < room {
                self.place = (number + 1, 0);
                folders_left -= 1;
            } else {
                self.place = (number, from + seen);
            }
        }
        looks
    }

    fn begin_round(&mut self, tree: &Tree) {
        self.place = (0, 0);
        self.newest = tree.newest(NEWEST);
        self.total = self.folders.len() + tree.files();
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
