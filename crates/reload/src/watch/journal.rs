//! What happened since the last report, per file: how it was then, and how it is now. What came and went again, as
//! editors' temporary files do, thereby is nothing; what was replaced is modified.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a file looked: if any of this differs, it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    size: u64,
    /// Device and inode: an atomic save leaves another file in the old one's place.
    pub(super) identity: (u64, u64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            identity: (metadata.dev(), metadata.ino()),
        }
    }

    /// When it was modified; `None` before 1970, where no clock goes.
    pub(super) fn time(&self) -> Option<SystemTime> {
        let since_1970 = Duration::new(self.modified.0.try_into().ok()?, self.modified.1.try_into().ok()?);
        UNIX_EPOCH.checked_add(since_1970)
    }
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new, or was moved here.
    Created,
    /// It was written, touched, or replaced.
    Modified,
    /// It was deleted, or moved away.
    Removed,
}

/// One file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its absolute path.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What changed together: at least one file, each once, ordered by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// The first of them, for a line that names one.
    ///
    /// # Panics
    /// Never: there is at least one.
    pub fn first(&self) -> &Change {
        &self.0[0]
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Change] {
        &self.0
    }

    /// All of them.
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

#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: HashMap<PathBuf, Entry>,
    /// When the first and the last entry were made.
    span: Option<(Instant, Instant)>,
    /// When what is entered next came; `None`: when it is entered.
    pub(super) came: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    before: Option<Stamp>,
    now: Option<Stamp>,
    /// It was written to, even if that can't be seen: the clock of a file system may stand still for some milliseconds.
    written: bool,
    /// Whoever saved it has done with it.
    complete: bool,
}

impl Journal {
    pub(super) fn record(&mut self, path: &Path, before: Option<Stamp>, now: Option<Stamp>) {
        self.enter(path, before, now, false);
    }

    pub(super) fn written(&mut self, path: &Path, before: Stamp, now: Stamp) {
        self.enter(path, Some(before), Some(now), true);
    }

    fn enter(&mut self, path: &Path, before: Option<Stamp>, now: Option<Stamp>, written: bool) {
        let moment = self.came.unwrap_or_else(Instant::now);
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

    /// Takes over what another one says, except that files came that are only `new` here.
    pub(super) fn absorb(&mut self, other: Journal, new: impl Fn(&Path) -> bool) {
        for (path, Entry { before, now, written, .. }) in other.entries {
            if before.is_some() || !new(&path) {
                self.enter(&path, before, now, written);
            }
        }
    }

    /// Takes over what another one says of the paths that `keep` accepts.
    pub(super) fn absorb_only(&mut self, other: Journal, keep: impl Fn(&Path) -> bool) {
        for (path, Entry { before, now, written, .. }) in other.entries {
            if keep(&path) {
                self.enter(&path, before, now, written);
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

    /// Whether whoever saved a file has done with it: it was closed, or moved there.
    pub(super) fn complete(&mut self, path: &Path, complete: bool) {
        if let Some(entry) = self.entries.get_mut(path) {
            // What is gone may be about to be written anew.
            entry.complete = complete && entry.now.is_some();
        }
    }

    /// When a report is due: when nothing has come for `quiet`, or only for `complete` if that is what all files are; or
    /// when the first change is `settle` old.
    pub(super) fn due(&self, quiet: Duration, complete: Duration, settle: Duration) -> Option<Instant> {
        let (first, last) = self.span?;
        let is_complete = self.entries.values().all(|entry| entry.complete);
        let rest = if is_complete { complete.min(quiet) } else { quiet };
        Some((last + rest).min(first + settle))
    }

    /// The report, if there is anything to say.
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
    fn what_counts_is_the_difference_to_the_last_report() {
        let stamp = |size| Stamp { modified: (1, 0), size, identity: (1, 1) };
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
            let mut journal = Journal::default();
            for &(before, now) in steps {
                journal.record(Path::new("/f"), before, now);
            }
            assert_eq!(
                journal.due(Duration::ZERO, Duration::ZERO, Duration::ZERO).is_some(),
                kind.is_some(),
                "{steps:?}"
            );
            assert_eq!(journal.take().map(|changes| changes.first().kind), kind, "{steps:?}");
        }
        let mut journal = Journal::default();
        journal.written(Path::new("/f"), stamp(1), stamp(1));
        assert_eq!(journal.take().map(|changes| changes.first().kind), Some(ChangeKind::Modified));
    }
}
