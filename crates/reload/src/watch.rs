//! Waiting for changes.
//!
//! A [`Watch`] keeps a picture of everything in its scope (`tree`), compares it with the file system where its back-end
//! says so (`events`: where the system reports something; `stat`: everywhere, again and again), and collects the
//! differences (`journal`) until nothing more has come for a moment. So a burst of saves is one report, both back-ends
//! report alike, and events that were lost cost a look at everything instead of a missed save.
//!
//! It never ends by itself. What is deleted is watched again when it comes back; what can't be read is skipped; when the
//! system's events fail, it goes on by looking.

mod events;
mod journal;
mod mounts;
mod stat;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use events::{Events, Inbox, REST};
pub use journal::{Change, ChangeKind, Changes};
use stat::Passes;
use tree::Tree;

use crate::scope::{Scope, ScopeError};

/// How to watch. Start from `WatchOptions::default()` and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchOptions {
    /// By the system's events, or by looking; `Auto`.
    pub backend: Backend,
    /// How long the `stat` back-end rests between two looks, and the `notify` back-end while a folder that it was told to
    /// watch isn't there; 1 s, as Werkzeug's, short beside the time it takes to reach for the browser. Not under 10 ms.
    /// In large projects not every look takes in all files while nothing happens, but twelve do; and looks that take
    /// long are followed by longer rests.
    pub interval: Duration,
    /// A report is made when nothing has changed for so long; 50 ms, more than there is between the writes of one save
    /// or checkout, less than anybody notices.
    pub quiet: Duration,
    /// So long is enough where every file that changed is known to be complete, closed by whoever wrote it or moved to its
    /// place, as the `notify` back-end can tell on Linux; 10 ms, more than there is between two files of one save or
    /// checkout.
    pub complete: Duration,
    /// A report is made so long after the first change, even if there are more all the time; 500 ms.
    pub settle: Duration,
    /// How often the `notify` back-end looks whether the folders that it was told to watch are still the same ones; 10 s.
    /// The system reports nothing when a folder above them is renamed.
    pub recheck: Duration,
    /// So many files are [added](Waker::add_files) at most; 50,000, several times what the largest applications load, and
    /// what a look at all of them can be paid for.
    pub added_files: usize,
    /// As if the system's limit allowed so many watched folders; for tests.
    #[doc(hidden)]
    pub watch_limit: Option<usize>,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions {
            backend: Backend::Auto,
            interval: Duration::from_secs(1),
            quiet: Duration::from_millis(50),
            complete: Duration::from_millis(10),
            settle: Duration::from_millis(500),
            recheck: Duration::from_secs(10),
            added_files: 50_000,
            watch_limit: None,
        }
    }
}

/// How changes are noticed. As text: `auto`, `stat`, `notify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// By events where they work, otherwise by looking.
    Auto,
    /// By looking at modification time, size and inode of each file. Works everywhere.
    Stat,
    /// By the system's events: at once, and without any work while nothing happens.
    Notify,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Stat => "stat",
            Backend::Notify => "notify",
        })
    }
}

/// A watch over a [`Scope`].
pub struct Watch {
    tree: Tree,
    inbox: Arc<Inbox>,
    /// The passes of the `stat` back-end; none with events.
    passes: Option<Passes>,
    fallback: Option<String>,
    recheck_at: Instant,
    options: WatchOptions,
}

impl Watch {
    /// Looks at everything once; changes from then on are reported.
    ///
    /// # Errors
    /// Only with [`Backend::Notify`], if the system gives no events.
    pub fn start(scope: Scope, options: WatchOptions) -> Result<Watch, WatchError> {
        let mut options = options;
        // The clock's instants end somewhere, and nobody waits this long.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        options.interval = options.interval.clamp(Duration::from_millis(10), LONGEST);
        options.recheck = options.recheck.min(LONGEST);
        let inbox = Arc::new(Inbox::default());
        let mut fallback = None;
        if options.backend == Backend::Auto {
            let anchors: Vec<_> = scope.anchors().map(PathBuf::from).collect();
            fallback = mounts::remote(&anchors);
        }
        let mut events = None;
        if options.backend != Backend::Stat && fallback.is_none() {
            match Events::new(&inbox, options.watch_limit) {
                Ok(sentry) => events = Some(sentry),
                Err(reason) => fallback = Some(reason),
            }
        }
        let passes = events.is_none().then(|| Passes::new(options.interval));
        let tree = match events {
            Some(events) => Tree::plant(scope, Box::new(events)),
            None => Tree::plant(scope, Box::new(())),
        };
        let recheck_at = Instant::now() + options.recheck;
        let mut watch = Watch { tree, inbox, passes, fallback, recheck_at, options };
        if watch.passes.is_none() {
            if let Some(reason) = watch.inbox.take_trouble() {
                watch.fall_back(reason);
            }
        }
        match &watch.fallback {
            Some(reason) if watch.options.backend == Backend::Notify => {
                let sentence = format!("{reason} Or choose the stat back-end.");
                Err(WatchError { kind: WatchErrorKind::NoEvents, sentence })
            }
            _ => Ok(watch),
        }
    }

    /// Waits until something has changed; `None` when the time is over or somebody called [`Waker::wake`]. Without a
    /// timeout it waits as long as it takes. Changes between two calls are in the second one's report.
    pub fn next(&mut self, timeout: Option<Duration>) -> Option<Changes> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.look();
            let report_at = self.tree.journal.due(self.options.quiet, self.options.complete, self.options.settle);
            let now = Instant::now();
            if report_at.is_some_and(|due| due <= now) {
                if let Some(changes) = self.tree.journal.take() {
                    return Some(changes);
                }
                continue;
            }
            if self.inbox.take_woken() || deadline.is_some_and(|deadline| deadline <= now) {
                return None;
            }
            let look_at = match &mut self.passes {
                Some(passes) => {
                    if let Some(due) = report_at {
                        passes.hurry(due);
                    }
                    passes.due()
                }
                None => self.recheck_at,
            };
            let until = [deadline, report_at, Some(look_at)].into_iter().flatten().min();
            self.inbox.wait(until, now + REST);
        }
    }

    /// Watches also what this glob matches, as one of [`ScopeOptions::extra_files`](crate::ScopeOptions::extra_files)
    /// does, until files are [added](Waker::add_files). Where some were, nothing more is watched.
    ///
    /// # Errors
    /// A glob that can't be parsed, or whose folder isn't there.
    pub fn watch_until_files_are_added(&mut self, glob: &Path) -> Result<(), ScopeError> {
        self.tree.add_provisionally(glob)
    }

    fn look(&mut self) {
        self.look_for_changes();
        let files = self.inbox.take_added();
        if files.is_empty() {
            return;
        }
        let folders = self.tree.add(&files);
        if self.options.backend == Backend::Auto && self.passes.is_none() {
            if let Some(reason) = mounts::remote(&folders) {
                self.fall_back(reason);
            }
        }
    }

    fn look_for_changes(&mut self) {
        let now = Instant::now();
        if let Some(passes) = &mut self.passes {
            if passes.due() <= now {
                passes.pass(&mut self.tree);
            }
            return;
        }
        if self.recheck_at <= now {
            self.tree.check_anchors();
        }
        if let Err(reason) = self.inbox.look(&mut self.tree) {
            self.fall_back(reason);
        }
        let next = if self.tree.has_missing_anchors() { self.options.interval } else { self.options.recheck };
        if self.recheck_at <= now {
            self.recheck_at = now + next;
        } else {
            self.recheck_at = self.recheck_at.min(now + next);
        }
    }

    /// Goes on by looking.
    fn fall_back(&mut self, reason: String) {
        self.tree.sentry = Box::new(());
        self.passes = Some(Passes::new(self.options.interval));
        self.fallback = Some(reason);
        self.tree.replant();
    }

    /// How changes are noticed now: [`Backend::Stat`] or [`Backend::Notify`].
    pub fn backend(&self) -> Backend {
        if self.passes.is_some() {
            Backend::Stat
        } else {
            Backend::Notify
        }
    }

    /// If events were wanted and don't work, a sentence that says why and what helps. This can also happen later, when
    /// new folders exceed the system's limit; then the next call of [`next`](Watch::next) changes the back-end.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// A handle with which other threads can interrupt [`next`](Watch::next), and have more watched.
    pub fn waker(&self) -> Waker {
        Waker { inbox: self.inbox.clone(), most: self.options.added_files }
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

/// Interrupts [`Watch::next`] from any thread, also if it is called only later; and adds to what is watched.
#[derive(Clone)]
pub struct Waker {
    inbox: Arc<Inbox>,
    most: usize,
}

impl Waker {
    /// Lets the running, or else the next, call of [`Watch::next`] return.
    pub fn wake(&self) {
        self.inbox.wake();
    }

    /// Watches these files, too, from when [`Watch::next`] runs: also in folders that are otherwise ignored, and also
    /// such as aren't there yet. Only patterns that exclude them are stronger. Those that were added before cost nothing.
    ///
    /// Those that were modified after `since` count as changed at once: somebody has begun to read them then, and may
    /// have read what they were before. For files of an application that is when its process was started.
    ///
    /// False when there were more than [`WatchOptions::added_files`]; those beyond are not watched.
    pub fn add_files(&self, files: impl IntoIterator<Item = PathBuf>, since: SystemTime) -> bool {
        self.inbox.add(files, since, self.most)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

/// Why nothing is watched. `Display` is a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct WatchError {
    kind: WatchErrorKind,
    sentence: String,
}

/// What kind of [`WatchError`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchErrorKind {
    /// The system gives no events, or not enough of them.
    NoEvents,
}

impl WatchError {
    /// What kind of error it is.
    pub fn kind(&self) -> WatchErrorKind {
        self.kind
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for WatchError {}
