//! Watching the files of a project.
//!
//! ```text
//! Scope ──▶ Snapshot ◀── EventQueue ◀── EventObserver     the system's events (back-end `notify`)
//!              │    ◀── PollScanner                       polling (back-end `stat`)
//!              ▼
//!        PendingChanges ──▶ Watch::next ──▶ Changes
//! ```
//!
//! A [`Watch`] keeps a snapshot of all files in its [`Scope`]. The back-end says where to compare the snapshot with the
//! file system, and the differences become pending changes, which are reported when nothing more has changed for a
//! moment. A burst of saves is therefore one report, both back-ends report the same changes, and lost events cause a
//! scan of everything instead of a missed save.
//!
//! A watch runs until it is dropped. A deleted folder is watched again when it comes back, what cannot be read is
//! skipped, and when the system's events fail, the watch continues by polling.
//!
//! The engine is our own on top of `notify`, because the existing crates for debouncing (notify-debouncer-full,
//! notify-debouncer-mini) lack two things: a CPU budget for polling (`poll`), and the early report once the writer has
//! closed every changed file ([`WatchOptions::debounce_closed`]).

mod changes;
mod events;
mod mounts;
mod options;
mod poll;
mod scope;
mod snapshot;

pub use changes::{Change, ChangeKind, Changes};
pub use options::{Backend, WatchOptions};
pub use scope::{Scope, ScopeError, ScopeErrorKind, ScopeOptions};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use events::{EventObserver, EventQueue, MIN_CHECK_INTERVAL};
use poll::PollScanner;
use snapshot::Snapshot;

/// A watch over the files of a [`Scope`].
pub struct Watch {
    snapshot: Snapshot,
    queue: Arc<EventQueue>,
    /// Set with the `stat` back-end only.
    scanner: Option<PollScanner>,
    fallback_reason: Option<String>,
    root_check_at: Instant,
    options: WatchOptions,
}

impl Watch {
    /// Scans all files; changes from then on are reported.
    ///
    /// # Errors
    /// Only with [`Backend::Notify`]: the system reports no events.
    pub fn start(scope: Scope, options: WatchOptions) -> Result<Watch, WatchError> {
        let mut options = options;
        // A year, because adding a longer duration to an `Instant` may overflow.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        options.poll_interval = options.poll_interval.clamp(Duration::from_millis(10), LONGEST);
        options.root_check_interval = options.root_check_interval.min(LONGEST);
        let queue = Arc::new(EventQueue::default());
        let mut fallback_reason = None;
        if options.backend == Backend::Auto {
            let roots: Vec<_> = scope.root_folders().map(PathBuf::from).collect();
            fallback_reason = mounts::find_remote(&roots);
        }
        let mut observer = None;
        if options.backend != Backend::Stat && fallback_reason.is_none() {
            match EventObserver::new(&queue, options.watch_limit) {
                Ok(events) => observer = Some(events),
                Err(reason) => fallback_reason = Some(reason),
            }
        }
        let scanner = observer.is_none().then(|| PollScanner::new(options.poll_interval));
        let snapshot = match observer {
            Some(observer) => Snapshot::scan(scope, Box::new(observer)),
            None => Snapshot::scan(scope, Box::new(())),
        };
        let root_check_at = Instant::now() + options.root_check_interval;
        let mut watch = Watch { snapshot, queue, scanner, fallback_reason, root_check_at, options };
        if watch.scanner.is_none() {
            if let Some(reason) = watch.queue.take_failure() {
                watch.fall_back(reason);
            }
        }
        match &watch.fallback_reason {
            Some(reason) if watch.options.backend == Backend::Notify => {
                Err(WatchError { sentence: format!("{reason} Or choose the stat back-end.") })
            }
            _ => Ok(watch),
        }
    }

    /// Waits for the next report. Returns `None` when the timeout expires or [`Waker::wake`] was called; without a
    /// timeout the wait is unlimited. Changes between two calls are in the report of the second.
    pub fn next(&mut self, timeout: Option<Duration>) -> Option<Changes> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let WatchOptions { debounce, debounce_closed, max_debounce, .. } = self.options;
        loop {
            self.update();
            let report_at = self.snapshot.pending.due(debounce, debounce_closed, max_debounce);
            let now = Instant::now();
            if report_at.is_some_and(|due| due <= now) {
                if let Some(changes) = self.snapshot.pending.take() {
                    return Some(changes);
                }
                continue;
            }
            if self.queue.take_woken() || deadline.is_some_and(|deadline| deadline <= now) {
                return None;
            }
            let check_at = match &mut self.scanner {
                Some(scanner) => {
                    if let Some(due) = report_at {
                        scanner.schedule_by(due);
                    }
                    scanner.due()
                }
                None => self.root_check_at,
            };
            let until = [deadline, report_at, Some(check_at)].into_iter().flatten().min();
            self.queue.wait(until, now + MIN_CHECK_INTERVAL);
        }
    }

    /// Also watches the matches of a glob, as if it were one of [`ScopeOptions::extra_files`], until files are
    /// [added](Waker::add_files). Once files were added, this has no effect.
    ///
    /// # Errors
    /// The glob cannot be parsed, or its folder does not exist.
    pub fn watch_until_files_are_added(&mut self, glob: &Path) -> Result<(), ScopeError> {
        self.snapshot.add_provisional_glob(glob)
    }

    /// Compares the snapshot with the file system where that is due, and adds new files to it.
    fn update(&mut self) {
        self.check_files();
        let files = self.queue.take_new_files();
        if files.is_empty() {
            return;
        }
        let folders = self.snapshot.add_files(&files);
        if self.options.backend == Backend::Auto && self.scanner.is_none() {
            if let Some(reason) = mounts::find_remote(&folders) {
                self.fall_back(reason);
            }
        }
    }

    fn check_files(&mut self) {
        let now = Instant::now();
        if let Some(scanner) = &mut self.scanner {
            if scanner.due() <= now {
                scanner.pass(&mut self.snapshot);
            }
            return;
        }
        if self.root_check_at <= now {
            self.snapshot.check_roots();
        }
        if let Err(reason) = self.queue.apply(&mut self.snapshot) {
            self.fall_back(reason);
        }
        let has_missing_roots = self.snapshot.has_missing_roots();
        let interval = if has_missing_roots { self.options.poll_interval } else { self.options.root_check_interval };
        if self.root_check_at <= now {
            self.root_check_at = now + interval;
        } else {
            self.root_check_at = self.root_check_at.min(now + interval);
        }
    }

    /// Continues by polling.
    fn fall_back(&mut self, reason: String) {
        self.snapshot.observer = Box::new(());
        self.scanner = Some(PollScanner::new(self.options.poll_interval));
        self.fallback_reason = Some(reason);
        self.snapshot.rescan();
    }

    /// How changes are noticed now: [`Backend::Stat`] or [`Backend::Notify`].
    pub fn backend(&self) -> Backend {
        if self.scanner.is_some() {
            Backend::Stat
        } else {
            Backend::Notify
        }
    }

    /// If events were wanted and do not work, a message that says why and what to do. This can also happen later, when
    /// new folders exceed the system's limit; the next call of [`next`](Watch::next) then changes the back-end.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// A handle with which other threads can interrupt [`next`](Watch::next) and add files.
    pub fn waker(&self) -> Waker {
        Waker { queue: self.queue.clone(), max_added_files: self.options.max_added_files }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("backend", &self.backend())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A handle to a [`Watch`] for other threads.
#[derive(Clone)]
pub struct Waker {
    queue: Arc<EventQueue>,
    max_added_files: usize,
}

impl Waker {
    /// Makes the running call of [`Watch::next`] return, or the next one if none is running.
    pub fn wake(&self) {
        self.queue.wake();
    }

    /// Adds files to the watch, as soon as [`Watch::next`] runs. They may lie in ignored folders, and need not exist
    /// yet; only exclude patterns apply to them. Adding a file again has no effect.
    ///
    /// A file that was modified after `since` counts as changed at once: the program that reads it started then, and
    /// may have read an older version. For the files of an application this is the time at which its process was
    /// started.
    ///
    /// Returns false if the total of added files exceeds [`WatchOptions::max_added_files`]; the excess files are not
    /// watched.
    pub fn add_files(&self, files: impl IntoIterator<Item = PathBuf>, since: SystemTime) -> bool {
        self.queue.add_files(files, since, self.max_added_files)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

/// The error of a watch that cannot start, because the system reports no events or not enough of them. `Display` says
/// why and what to do.
#[derive(Clone, Debug)]
pub struct WatchError {
    sentence: String,
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for WatchError {}
