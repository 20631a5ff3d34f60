//! The queue between the threads that have news for a watch and the thread that waits for them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};

use super::failure::failure_reason;
use crate::sync::lock;
use crate::watch::snapshot::Snapshot;

/// The maximum number of paths kept for the next check. With more, everything is scanned, which is cheaper than keeping
/// them.
const MAX_PATHS: usize = 4096;

/// The minimum time between two checks: an ignored file may be a log with thousands of lines a second.
pub(in crate::watch) const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Collects events, added files and wake-ups from any thread.
#[derive(Default)]
pub(in crate::watch) struct EventQueue {
    pending: Mutex<PendingEvents>,
    arrived: Condvar,
}

#[derive(Default)]
struct PendingEvents {
    /// The paths to check.
    paths: HashMap<PathBuf, EventHint>,
    /// When a path was last added.
    arrived_at: Option<Instant>,
    /// Whether events were lost, so that everything has to be scanned.
    must_rescan: bool,
    /// Why events no longer work, in a sentence.
    failure: Option<String>,
    woken: bool,
    /// Every file that was ever added.
    added: HashSet<PathBuf>,
    /// The added files that the snapshot does not contain yet, each with the time from which its changes count.
    new_files: Vec<(PathBuf, SystemTime)>,
}

/// The information from the events of one path.
#[derive(Clone, Copy)]
struct EventHint {
    recheck: Recheck,
    /// Whether the program that saved the file has finished, if that is known.
    complete: Option<bool>,
}

/// What has to be checked, from the least to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Recheck {
    Nothing,
    /// The file was written to.
    Written,
    /// A file or folder may have appeared or disappeared.
    Full,
}

impl EventHint {
    /// The hint of one event; `None` for an event that only reports a read access.
    fn of(kind: EventKind) -> Option<EventHint> {
        let (recheck, complete) = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => (Recheck::Nothing, Some(true)),
            EventKind::Access(_) => return None,
            EventKind::Modify(ModifyKind::Data(_)) => (Recheck::Written, Some(false)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => (Recheck::Full, Some(true)),
            EventKind::Modify(ModifyKind::Metadata(_)) => (Recheck::Full, None),
            _ => (Recheck::Full, Some(false)),
        };
        Some(EventHint { recheck, complete })
    }

    fn and_then(self, later: EventHint) -> EventHint {
        EventHint { recheck: self.recheck.max(later.recheck), complete: later.complete.or(self.complete) }
    }
}

impl EventQueue {
    fn lock(&self) -> MutexGuard<'_, PendingEvents> {
        lock(&self.pending)
    }

    pub(in crate::watch) fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_all();
    }

    /// Returns and clears whether [`wake`](EventQueue::wake) was called.
    pub(in crate::watch) fn take_woken(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// Adds files to watch until `max` files were ever added. Returns whether there was room for all.
    pub(in crate::watch) fn add_files(
        &self,
        files: impl IntoIterator<Item = PathBuf>,
        since: SystemTime,
        max: usize,
    ) -> bool {
        let mut pending = self.lock();
        let mut has_room = true;
        for file in files {
            if pending.added.contains(&file) {
                continue;
            }
            has_room = pending.added.len() < max;
            if !has_room {
                break;
            }
            pending.new_files.push((file.clone(), since));
            pending.added.insert(file);
        }
        if !pending.new_files.is_empty() {
            self.arrived.notify_all();
        }
        has_room
    }

    /// The files that were added since the last call.
    pub(in crate::watch) fn take_new_files(&self) -> Vec<(PathBuf, SystemTime)> {
        std::mem::take(&mut self.lock().new_files)
    }

    /// Reports that events no longer work.
    pub(super) fn set_failure(&self, reason: String) {
        self.lock().failure = Some(reason);
    }

    pub(in crate::watch) fn take_failure(&self) -> Option<String> {
        self.lock().failure.take()
    }

    /// Waits until something arrives, or until the time given. Paths to check end the wait only from `check_after` on.
    pub(in crate::watch) fn wait(&self, until: Option<Instant>, check_after: Instant) {
        let mut pending = self.lock();
        while !pending.woken && !pending.must_rescan && pending.new_files.is_empty() && pending.failure.is_none() {
            let until = if pending.paths.is_empty() {
                until
            } else {
                Some(until.map_or(check_after, |until| until.min(check_after)))
            };
            pending = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => self.arrived.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Adds an event, or an error, from the `notify` crate.
    pub(super) fn push(&self, event: notify::Result<notify::Event>) {
        let mut pending = self.lock();
        let was_empty = pending.paths.is_empty();
        match event {
            Err(error) => match failure_reason(&error) {
                Some(reason) => pending.failure = Some(reason),
                None => return,
            },
            Ok(event) if event.need_rescan() => pending.must_rescan = true,
            Ok(event) => {
                let Some(hint) = EventHint::of(event.kind) else { return };
                let last = event.paths.len().saturating_sub(1);
                for (number, path) in event.paths.into_iter().enumerate() {
                    // An event with two paths is a move from the first to the second; only the second is complete.
                    let complete = if number == last { hint.complete } else { Some(false) };
                    let hint = EventHint { complete, ..hint };
                    pending.paths.entry(path).and_modify(|before| *before = before.and_then(hint)).or_insert(hint);
                }
                pending.arrived_at = Some(Instant::now());
            }
        }
        if pending.paths.len() > MAX_PATHS {
            pending.paths.clear();
            pending.must_rescan = true;
        }
        // A waiting thread was already notified of the first path.
        if was_empty || pending.must_rescan || pending.failure.is_some() {
            self.arrived.notify_all();
        }
    }

    /// Updates the snapshot where the events say so.
    ///
    /// # Errors
    /// A sentence that says why events no longer work.
    pub(in crate::watch) fn apply(&self, snapshot: &mut Snapshot) -> Result<(), String> {
        let (paths, arrived_at, must_rescan, failure) = {
            let mut pending = self.lock();
            let paths = std::mem::take(&mut pending.paths);
            let must_rescan = std::mem::take(&mut pending.must_rescan);
            (paths, pending.arrived_at.take(), must_rescan, pending.failure.take())
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        // A scan of everything takes time, and it is unknown when the changes that it finds happened.
        snapshot.pending.arrived_at = arrived_at.filter(|_| !must_rescan);
        if must_rescan {
            snapshot.rescan();
        } else {
            for (path, hint) in paths {
                match hint.recheck {
                    Recheck::Nothing => {}
                    Recheck::Written => snapshot.file_written(&path),
                    Recheck::Full => snapshot.refresh(&path),
                }
                if let Some(complete) = hint.complete {
                    snapshot.pending.set_complete(&path, complete);
                }
            }
        }
        snapshot.complete_update();
        snapshot.pending.arrived_at = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag};
    use notify::Event;

    use super::*;
    use crate::watch::scope::{Scope, ScopeOptions};

    fn scan(folder: &Path) -> Snapshot {
        let mut options = ScopeOptions::default();
        options.roots.push(folder.into());
        Snapshot::scan(Scope::new(options).expect("the folder exists"), Box::new(()))
    }

    #[test]
    fn lost_events_cause_a_scan_of_everything() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut snapshot = scan(folder.path());
        let queue = EventQueue::default();
        std::fs::create_dir(folder.path().join("p")).expect("a folder");
        std::fs::write(folder.path().join("p/a.py"), "1").expect("a file");
        queue.apply(&mut snapshot).expect("events work");
        assert!(snapshot.pending.is_empty());
        queue.push(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        queue.apply(&mut snapshot).expect("events work");
        assert_eq!(snapshot.pending.take().expect("a change").first().path, folder.path().join("p/a.py"));
    }

    #[test]
    fn a_write_counts_even_if_the_modification_time_stays_the_same_and_a_read_does_not() {
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
            let mut snapshot = scan(folder.path());
            let queue = EventQueue::default();
            queue.push(Ok(Event::new(kind).add_path(file.clone())));
            queue.apply(&mut snapshot).expect("events work");
            assert_eq!(snapshot.pending.take().is_some(), counts, "{kind:?}");
        }
    }
}
