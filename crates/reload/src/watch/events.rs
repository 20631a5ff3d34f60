//! The system's events, by the `notify` crate. They are only hints where to look: the tree says what differs.
//!
//! On Linux each folder of the tree is watched for itself, so that ignored folders cost no watches. Elsewhere the system
//! watches whole trees, and what doesn't count is sorted out here.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::tree::{Sentry, Tree};

/// So many paths are kept for the next look; beyond, everything is looked at, which is cheaper than remembering more.
const PATHS: usize = 4096;

/// The least time between two looks: a file that is ignored may be a log with thousands of lines a second.
pub(super) const REST: Duration = Duration::from_millis(10);

/// Where events and wake-ups arrive, from any thread.
#[derive(Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    arrived: Condvar,
}

#[derive(Default)]
struct News {
    /// What to look at.
    paths: HashMap<PathBuf, Hint>,
    /// When the last of them came.
    came: Option<Instant>,
    /// Events were lost.
    rescan: bool,
    /// Events can't be relied on any more; a sentence.
    trouble: Option<String>,
    woken: bool,
    /// Every file that was ever added.
    added: HashSet<PathBuf>,
    /// Those of them that the tree doesn't know yet, and since when a change of them counts.
    new: Vec<(PathBuf, SystemTime)>,
}

/// What happened at a path.
#[derive(Clone, Copy)]
struct Hint {
    look: Look,
    /// Whether whoever saved the file has done with it, if that is known.
    complete: Option<bool>,
}

/// How close a look it takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Needless,
    /// Somebody wrote.
    Written,
    /// Something came or went.
    Close,
}

impl Hint {
    /// What an event says; nothing if it is about somebody who reads.
    fn of(kind: EventKind) -> Option<Hint> {
        let (look, complete) = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => (Look::Needless, Some(true)),
            EventKind::Access(_) => return None,
            EventKind::Modify(ModifyKind::Data(_)) => (Look::Written, Some(false)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => (Look::Close, Some(true)),
            EventKind::Modify(ModifyKind::Metadata(_)) => (Look::Close, None),
            _ => (Look::Close, Some(false)),
        };
        Some(Hint { look, complete })
    }

    fn and_then(self, later: Hint) -> Hint {
        Hint { look: self.look.max(later.look), complete: later.complete.or(self.complete) }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_all();
    }

    /// Whether somebody asked for attention since the last time.
    pub(super) fn take_woken(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// Adds files to what is watched, up to so many; whether all found room.
    pub(super) fn add(&self, files: impl IntoIterator<Item = PathBuf>, since: SystemTime, most: usize) -> bool {
        let mut news = self.lock();
        let mut room = true;
        for file in files {
            if news.added.contains(&file) {
                continue;
            }
            room = news.added.len() < most;
            if !room {
                break;
            }
            news.new.push((file.clone(), since));
            news.added.insert(file);
        }
        if !news.new.is_empty() {
            self.arrived.notify_all();
        }
        room
    }

    /// The files that were added since the last time.
    pub(super) fn take_added(&self) -> Vec<(PathBuf, SystemTime)> {
        std::mem::take(&mut self.lock().new)
    }

    pub(super) fn take_trouble(&self) -> Option<String> {
        self.lock().trouble.take()
    }

    /// Waits for news, until then at the latest. Paths to look at are no news before `rested`.
    pub(super) fn wait(&self, until: Option<Instant>, rested: Instant) {
        let mut news = self.lock();
        while !news.woken && !news.rescan && news.new.is_empty() && news.trouble.is_none() {
            let until =
                if news.paths.is_empty() { until } else { Some(until.map_or(rested, |until| until.min(rested))) };
            news = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(news).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => self.arrived.wait_timeout(news, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn hand_in(&self, event: notify::Result<notify::Event>) {
        let mut news = self.lock();
        let was_empty = news.paths.is_empty();
        match event {
            Err(error) => match reason(&error) {
                Some(reason) => news.trouble = Some(reason),
                None => return,
            },
            Ok(event) if event.need_rescan() => news.rescan = true,
            Ok(event) => {
                let Some(hint) = Hint::of(event.kind) else { return };
                let last = event.paths.len().saturating_sub(1);
                for (number, path) in event.paths.into_iter().enumerate() {
                    // Of two, the file was moved from the first to the second.
                    let hint = Hint { complete: if number == last { hint.complete } else { Some(false) }, ..hint };
                    news.paths.entry(path).and_modify(|before| *before = before.and_then(hint)).or_insert(hint);
                }
                news.came = Some(Instant::now());
            }
        }
        if news.paths.len() > PATHS {
            news.paths.clear();
            news.rescan = true;
        }
        // Who waits has been told about the first path.
        if was_empty || news.rescan || news.trouble.is_some() {
            self.arrived.notify_all();
        }
    }

    /// Looks where the events point to.
    ///
    /// # Errors
    /// A sentence that says why events can't be relied on any more.
    pub(super) fn look(&self, tree: &mut Tree) -> Result<(), String> {
        let (paths, came, rescan, trouble) = {
            let mut news = self.lock();
            let paths = std::mem::take(&mut news.paths);
            (paths, news.came.take(), std::mem::take(&mut news.rescan), news.trouble.take())
        };
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        // A look at everything takes its time, and what it finds came who knows when.
        tree.journal.came = came.filter(|_| !rescan);
        if rescan {
            tree.replant();
        } else {
            for (path, hint) in paths {
                match hint.look {
                    Look::Needless => {}
                    Look::Written => tree.written(&path),
                    Look::Close => tree.refresh(&path),
                }
                if let Some(complete) = hint.complete {
                    tree.journal.complete(&path, complete);
                }
            }
        }
        tree.settle();
        tree.journal.came = None;
        Ok(())
    }
}

/// Asks the system for the events of the folders in the tree.
pub(super) struct Events {
    watcher: RecommendedWatcher,
    inbox: Arc<Inbox>,
    /// The folders that are still watched when this number is reached; beyond, as if the system's limit were.
    left: usize,
}

impl Events {
    /// # Errors
    /// A sentence that says why the system gives no events.
    pub(super) fn new(inbox: &Arc<Inbox>, limit: Option<usize>) -> Result<Events, String> {
        let to = inbox.clone();
        let handler = move |event| to.hand_in(event);
        let watcher = RecommendedWatcher::new(handler, Config::default())
            .map_err(|error| reason(&error).unwrap_or_else(|| other(&error)))?;
        Ok(Events { watcher, inbox: inbox.clone(), left: limit.unwrap_or(usize::MAX) })
    }
}

impl Sentry for Events {
    fn enter(&mut self, path: &Path, is_anchor: bool, is_deep: bool) {
        let mode = if cfg!(target_os = "linux") || !is_deep {
            RecursiveMode::NonRecursive
        } else if is_anchor {
            RecursiveMode::Recursive
        } else {
            return;
        };
        let result = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.watcher.watch(path, mode)
            }
            None => Err(notify::Error::new(ErrorKind::MaxFilesWatch)),
        };
        if let Some(reason) = result.err().and_then(|error| reason(&error)) {
            self.inbox.lock().trouble = Some(reason);
        }
    }

    fn leave(&mut self, path: &Path) {
        // If it is gone, so is its watch.
        let _ = self.watcher.unwatch(path);
    }
}

/// What an error means for the whole watch; nothing, if it concerns one file that is gone or can't be read.
fn reason(error: &notify::Error) -> Option<String> {
    let code = match &error.kind {
        ErrorKind::MaxFilesWatch => return Some(limit("max_user_watches", "watched folders", 1_048_576)),
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => return None,
        ErrorKind::Io(io) => io,
        ErrorKind::Generic(_) | ErrorKind::InvalidConfig(_) => return Some(other(error)),
    };
    // EMFILE: there is no constant for it in std, and it is 24 on every Unix.
    match (code.kind(), code.raw_os_error()) {
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory, _) => None,
        (io::ErrorKind::Interrupted, _) => None,
        (_, Some(24)) => Some(limit("max_user_instances", "watching programs", 1024)),
        _ => Some(other(error)),
    }
}

fn limit(name: &str, of: &str, enough: u32) -> String {
    format!(
        "The system's limit of {of} is reached; raise it with `sudo sysctl fs.inotify.{name}={enough}`, and in \
         /etc/sysctl.conf to keep it so."
    )
}

fn other(error: &notify::Error) -> String {
    format!("The system reports no events: {error}.")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag};
    use notify::Event;

    use super::*;
    use crate::scope::{Scope, ScopeOptions};

    fn planted(folder: &Path) -> Tree {
        let mut options = ScopeOptions::default();
        options.roots.push(folder.into());
        Tree::plant(Scope::new(options).expect("it is there"), Box::new(()))
    }

    #[test]
    fn lost_events_cost_a_look_at_everything() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tree = planted(folder.path());
        let inbox = Inbox::default();
        std::fs::create_dir(folder.path().join("p")).expect("a folder");
        std::fs::write(folder.path().join("p/a.py"), "1").expect("a file");
        inbox.look(&mut tree).expect("no trouble");
        assert!(tree.journal.is_empty());
        inbox.hand_in(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        inbox.look(&mut tree).expect("no trouble");
        assert_eq!(tree.journal.take().expect("a change").first().path, folder.path().join("p/a.py"));
    }

    #[test]
    fn a_write_counts_even_if_the_clock_stands_still_and_a_look_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.py");
        std::fs::write(&file, "1").expect("a file");
        let cases = [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), false),
            (EventKind::Modify(ModifyKind::Metadata(notify::event::MetadataKind::Any)), false),
            (EventKind::Create(CreateKind::File), false),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), true),
        ];
        for (kind, counts) in cases {
            let mut tree = planted(folder.path());
            let inbox = Inbox::default();
            inbox.hand_in(Ok(Event::new(kind).add_path(file.clone())));
            inbox.look(&mut tree).expect("no trouble");
            assert_eq!(tree.journal.take().is_some(), counts, "{kind:?}");
        }
    }
}
