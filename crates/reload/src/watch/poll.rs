//! Polling: comparing the files with the snapshot again and again.
//!
//! Checking a file costs the kernel about a microsecond, so checking thousands of files each second would keep a laptop
//! awake. Each pass therefore has a CPU budget, a share of one core. While the user is active (a file has changed
//! within the last minute), the budget covers all files, except in enormous projects. Otherwise each pass checks the
//! most recently modified files, which are the most likely to change next, and then continues with the other files
//! where the last pass stopped. However small the budget, everything is checked within [`FULL_SCAN_PASSES`] passes. If
//! passes take long, for example on a network file system, the interval between them grows, so that polling takes at
//! most a quarter of the time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{clock_gettime, ClockId};

use super::snapshot::Snapshot;

/// The share of a core that polling may use while nothing changes.
const IDLE_SHARE: f64 = 0.0014;
/// The share of a core that polling may use while the user is active: enough for some 20,000 files a second.
const ACTIVE_SHARE: f64 = 0.03;
/// How long after a change the user counts as active.
const ACTIVE: Duration = Duration::from_secs(60);
/// How many of the most recently modified files each pass checks. More than anyone edits at a time.
const NEWEST: usize = 40;
/// The maximum number of passes until everything was checked, even if that exceeds the CPU budget.
const FULL_SCAN_PASSES: usize = 12;

/// Schedules the passes and decides what each of them checks.
pub(super) struct PollScanner {
    interval: Duration,
    due: Instant,
    active_until: Option<Instant>,
    /// All folders, and the newest files, of one generation of the snapshot.
    folders: Vec<PathBuf>,
    newest: Vec<PathBuf>,
    generation: u64,
    /// Where the next pass continues: the index of a folder, and of a file in it.
    position: (usize, usize),
    /// The measured cost of one check, in seconds of CPU time.
    cost: f64,
    /// How many checks a scan of everything takes.
    total: usize,
}

impl PollScanner {
    pub(super) fn new(interval: Duration) -> PollScanner {
        PollScanner {
            interval,
            due: Instant::now() + interval,
            active_until: None,
            folders: Vec::new(),
            newest: Vec::new(),
            generation: u64::MAX,
            position: (0, 0),
            cost: 2e-6,
            total: 0,
        }
    }

    /// When the next pass is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Schedules the next pass no later than `due`.
    pub(super) fn schedule_by(&mut self, due: Instant) {
        self.due = self.due.min(due);
    }

    /// Runs one pass: checks as much as the budget allows.
    pub(super) fn pass(&mut self, snapshot: &mut Snapshot) {
        let started = Instant::now();
        let cpu = cpu_seconds();
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.folders = snapshot.folders();
            self.folders.sort_unstable();
            self.begin_full_scan(snapshot);
        }
        let share = if self.active_until.is_some_and(|until| started < until) { ACTIVE_SHARE } else { IDLE_SHARE };
        let affordable = (share * self.interval.as_secs_f64() / self.cost) as usize;
        let checks = self.check(snapshot, affordable);
        snapshot.complete_update();
        // Measure the cost of a check only over many checks.
        if checks > NEWEST / 2 {
            let cost = (cpu_seconds() - cpu) / checks as f64;
            self.cost = (0.8 * self.cost + 0.2 * cost).clamp(1e-7, 1e-3);
        }
        let now = Instant::now();
        if !snapshot.pending.is_empty() {
            self.active_until = Some(now + ACTIVE);
        }
        self.due = now + self.interval.max(3 * (now - started));
    }

    /// Makes about as many checks as are affordable, or more if the full scan would otherwise take too many passes, but
    /// at most one full scan. Returns how many checks were made.
    fn check(&mut self, snapshot: &mut Snapshot, affordable: usize) -> usize {
        let mut checks = 0;
        if self.total > affordable {
            for path in &self.newest {
                checks += snapshot.check_file(path);
            }
            let mut parents: Vec<_> = self.newest.iter().filter_map(|path| path.parent()).collect();
            parents.sort_unstable();
            parents.dedup();
            for folder in parents {
                checks += snapshot.check_folder(folder);
            }
        }
        let limit = affordable.max(checks + self.total / FULL_SCAN_PASSES + 1);
        let mut folders_left = self.folders.len();
        while checks < limit && folders_left > 0 {
            let (number, from) = self.position;
            let Some(folder) = self.folders.get(number) else {
                self.begin_full_scan(snapshot);
                continue;
            };
            if from == 0 {
                checks += snapshot.check_folder(folder);
            }
            let remaining = limit.saturating_sub(checks).max(1);
            let checked = snapshot.check_files(folder, from, remaining);
            checks += checked;
            if checked < remaining {
                self.position = (number + 1, 0);
                folders_left -= 1;
            } else {
                self.position = (number, from + checked);
            }
        }
        checks
    }

    fn begin_full_scan(&mut self, snapshot: &Snapshot) {
        self.position = (0, 0);
        self.newest = snapshot.newest(NEWEST);
        self.total = self.folders.len() + snapshot.file_count();
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
