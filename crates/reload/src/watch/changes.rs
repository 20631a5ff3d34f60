//! The changes since the last report. For each file the first and the last state are kept, so a temporary file that
//! comes and goes does not count as a change, and a file that is replaced counts as modified.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The state of a file. The file has changed if any of this differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    size: u64,
    /// Device and inode: an atomic save puts another file in the place of the old one.
    pub(super) identity: (u64, u64),
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> FileStamp {
        FileStamp {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            identity: (metadata.dev(), metadata.ino()),
        }
    }

    /// The modification time; `None` before 1970.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let since_1970 = Duration::new(self.modified.0.try_into().ok()?, self.modified.1.try_into().ok()?);
        UNIX_EPOCH.checked_add(since_1970)
    }
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The file is new, or was moved here.
    Created,
    /// The file was written, touched, or replaced.
    Modified,
    /// The file was deleted, or moved away.
    Removed,
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path of the file.
    pub path: PathBuf,
    /// What happened to the file.
    pub kind: ChangeKind,
}

/// The changes of one report: at least one, at most one for each file, ordered by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// The first change, for a message that names one.
    ///
    /// # Panics
    /// Never: a report has at least one change.
    pub fn first(&self) -> &Change {
        &self.0[0]
    }

    /// All changes.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Changes {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The changes that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct PendingChanges {
    entries: HashMap<PathBuf, Entry>,
    /// When the first and the last change were recorded.
    span: Option<(Instant, Instant)>,
    /// When the changes that are recorded next happened; `None` stands for the time at which they are recorded.
    pub(super) arrived_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    before: Option<FileStamp>,
    now: Option<FileStamp>,
    /// Whether the file was written to. Its stamp may not show that, because the clock of a file system advances only
    /// every few milliseconds.
    written: bool,
    /// Whether the program that saved the file has finished.
    complete: bool,
}

impl PendingChanges {
    /// Records that a file changed from one state to another; `None` is a file that does not exist.
    pub(super) fn record(&mut self, path: &Path, before: Option<FileStamp>, now: Option<FileStamp>) {
        self.insert(path, before, now, false);
    }

    /// Records a write, which counts even if the two stamps are equal.
    pub(super) fn record_write(&mut self, path: &Path, before: FileStamp, now: FileStamp) {
        self.insert(path, Some(before), Some(now), true);
    }

    fn insert(&mut self, path: &Path, before: Option<FileStamp>, now: Option<FileStamp>, written: bool) {
        let moment = self.arrived_at.unwrap_or_else(Instant::now);
        match self.entries.get_mut(path) {
            Some(entry) => {
                entry.now = now;
                entry.written |= written;
                entry.complete = false;
                if entry.kind().is_none() {
                    self.entries.remove(path);
                }
            }
            None if before != now || written => {
                self.entries.insert(path.into(), Entry { before, now, written, complete: false });
            }
            None => return,
        }
        self.span = match self.span {
            _ if self.entries.is_empty() => None,
            Some((first, _)) => Some((first, moment)),
            None => Some((moment, moment)),
        };
    }

    /// Adds the changes in `other`, except the creation of files for which `is_new` holds.
    pub(super) fn absorb(&mut self, other: PendingChanges, is_new: impl Fn(&Path) -> bool) {
        for (path, Entry { before, now, written, .. }) in other.entries {
            if before.is_some() || !is_new(&path) {
                self.insert(&path, before, now, written);
            }
        }
    }

    /// Adds the changes in `other` of the paths that `keep` accepts.
    pub(super) fn absorb_only(&mut self, other: PendingChanges, keep: impl Fn(&Path) -> bool) {
        for (path, Entry { before, now, written, .. }) in other.entries {
            if keep(&path) {
                self.insert(&path, before, now, written);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.span = None;
    }

    /// Notes whether the program that saved a file has finished: it has closed the file, or moved it into place.
    pub(super) fn set_complete(&mut self, path: &Path, complete: bool) {
        if let Some(entry) = self.entries.get_mut(path) {
            // A file that was deleted may be about to be written anew.
            entry.complete = complete && entry.now.is_some();
        }
    }

    /// When a report is due. This is `debounce` after the last change (`debounce_closed` if all files are complete),
    /// but at most `max_debounce` after the first change.
    pub(super) fn due(&self, debounce: Duration, debounce_closed: Duration, max_debounce: Duration) -> Option<Instant> {
        let (first, last) = self.span?;
        let is_complete = self.entries.values().all(|entry| entry.complete);
        let wait = if is_complete { debounce_closed.min(debounce) } else { debounce };
        Some((last + wait).min(first + max_debounce))
    }

    /// Takes the report; `None` if nothing has changed.
    pub(super) fn take(&mut self) -> Option<Changes> {
        self.span = None;
        let change = |(path, entry): (PathBuf, Entry)| entry.kind().map(|kind| Change { path, kind });
        let mut changes: Vec<Change> = self.entries.drain().filter_map(change).collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        (!changes.is_empty()).then_some(Changes(changes))
    }
}

impl Entry {
    fn kind(&self) -> Option<ChangeKind> {
        match (self.before, self.now) {
            (None, Some(_)) => Some(ChangeKind::Created),
            (Some(_), None) => Some(ChangeKind::Removed),
            (Some(before), Some(now)) => (self.written || before != now).then_some(ChangeKind::Modified),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_difference_to_the_last_report() {
        let stamp = |size| FileStamp { modified: (1, 0), size, identity: (1, 1) };
        let (a, b) = (Some(stamp(1)), Some(stamp(2)));
        let cases: [(&[_], _); 7] = [
            (&[(None, a)], Some(ChangeKind::Created)),
            (&[(None, a), (a, b)], Some(ChangeKind::Created)),
            (&[(None, a), (a, None)], None),
            (&[(a, None), (None, b)], Some(ChangeKind::Modified)),
            (&[(a, None), (None, a)], None),
            (&[(a, b), (b, None)], Some(ChangeKind::Removed)),
            (&[(a, a)], None),
        ];
        for (steps, kind) in cases {
            let mut pending = PendingChanges::default();
            for &(before, now) in steps {
                pending.record(Path::new("/f"), before, now);
            }
            assert_eq!(
                pending.due(Duration::ZERO, Duration::ZERO, Duration::ZERO).is_some(),
                kind.is_some(),
                "{steps:?}"
            );
            assert_eq!(pending.take().map(|changes| changes.first().kind), kind, "{steps:?}");
        }
        let mut pending = PendingChanges::default();
        pending.record_write(Path::new("/f"), stamp(1), stamp(1));
        assert_eq!(pending.take().map(|changes| changes.first().kind), Some(ChangeKind::Modified));
    }
}
