//! What the watched folders held when they were last looked at. Both back-ends keep it up to date, each in its own way of
//! knowing where to look; every difference goes into the journal.
//!
//! Each real folder is in the tree once, also if links lead to it again, so that a link to a folder above it can't send
//! the walk in circles. Folders and files that can't be read are skipped.

mod added;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::journal::{Journal, Stamp};
use crate::scope::{Counts, Interest, Scope};

/// For so long after a folder was read a change may leave its modification time as it was, since the clocks of file
/// systems tick as slowly as that (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// Device and inode.
type Identity = (u64, u64);

/// Told which folders come into the tree and leave it, so that it can ask the system for their events.
pub(super) trait Sentry: Send {
    /// Before the folder is read, so that nothing is missed in between. A file is one that a link leads to.
    fn enter(&mut self, path: &Path, is_anchor: bool, is_deep: bool);
    fn leave(&mut self, path: &Path);
}

/// Nobody wants to know.
impl Sentry for () {
    fn enter(&mut self, _: &Path, _: bool, _: bool) {}
    fn leave(&mut self, _: &Path) {}
}

pub(super) struct Tree {
    scope: Scope,
    pub(super) sentry: Box<dyn Sentry>,
    pub(super) journal: Journal,
    folders: HashMap<PathBuf, Folder>,
    by_identity: HashMap<Identity, PathBuf>,
    /// The anchors' real paths: a link that leads above one of them is not followed.
    real_anchors: Vec<PathBuf>,
    /// For each anchor of the scope the folder in the tree that it is, or was.
    landed: Vec<Option<PathBuf>>,
    /// Folders that were left out because they are in the tree by another path.
    repeated: usize,
    /// What counts may have changed everywhere; walk again.
    stale: bool,
    /// Counts how often folders came or went.
    pub(super) generation: u64,
}

struct Folder {
    identity: Identity,
    /// When its list of names last changed, by its file system's clock.
    modified: (i64, i64),
    /// The list was read so soon after that change that it has to be read again, then.
    read_again: Option<Instant>,
    interest: Interest,
    /// An anchor has landed here: what that wants may not be what the folder above wants.
    is_anchor: bool,
    /// In the order of their paths.
    files: Vec<File>,
    folders: Vec<PathBuf>,
}

struct File {
    path: PathBuf,
    stamp: Stamp,
    counts: Counts,
    is_link: bool,
}

/// Folders to be visited. Links come last, so that a folder is known by its own path rather than by a link's.
#[derive(Default)]
struct Queue {
    real: VecDeque<(PathBuf, Interest)>,
    links: VecDeque<(PathBuf, Interest)>,
}

impl Queue {
    fn next(&mut self) -> Option<(PathBuf, Interest)> {
        self.real.pop_front().or_else(|| self.links.pop_front())
    }
}

impl Tree {
    /// Walks the whole scope. The journal is empty afterwards.
    pub(super) fn plant(scope: Scope, sentry: Box<dyn Sentry>) -> Tree {
        let mut tree = Tree {
            scope,
            sentry,
            journal: Journal::default(),
            folders: HashMap::new(),
            by_identity: HashMap::new(),
            real_anchors: Vec::new(),
            landed: Vec::new(),
            repeated: 0,
            stale: false,
            generation: 0,
        };
        tree.visit_anchors();
        tree.journal.clear();
        tree.stale = false;
        tree
    }

    /// Walks the whole scope again; what is as it was doesn't show in the journal.
    pub(super) fn replant(&mut self) {
        self.landed.clear();
        for path in self.folders.keys().cloned().collect::<Vec<_>>() {
            self.remove(&path);
        }
        self.repeated = 0;
        self.visit_anchors();
        self.stale = false;
    }

    fn visit_anchors(&mut self) {
        let anchors: Vec<PathBuf> = self.scope.anchors().map(PathBuf::from).collect();
        // Files that were added are not looked for below their folders, so that no link can lead in circles there.
        let walked = anchors.iter().enumerate().filter(|(anchor, _)| !self.scope.is_added(*anchor));
        self.real_anchors = walked.filter_map(|(_, path)| fs::canonicalize(path).ok()).collect();
        self.landed.resize(anchors.len(), None);
        for (anchor, path) in anchors.iter().enumerate() {
            if !self.stands(anchor) {
                self.visit_anchor(anchor, path);
            }
        }
    }

    fn visit_anchor(&mut self, anchor: usize, path: &Path) {
        let mut queue = Queue::default();
        let interest = self.scope.interest(anchor);
        self.landed[anchor] = self.visit(path, interest, true, &mut queue);
        self.grow(queue);
    }

    fn stands(&self, anchor: usize) -> bool {
        self.landed[anchor].as_ref().is_some_and(|path| self.folders.contains_key(path))
    }

    /// Whether the folder of a root or an extra file isn't there at the moment.
    pub(super) fn has_missing_anchors(&self) -> bool {
        !(0..self.landed.len()).all(|anchor| self.stands(anchor))
    }

    /// Puts right what single looks can't: rules that changed, anchors that came back. To be called after some looks.
    pub(super) fn settle(&mut self) {
        if self.stale {
            self.replant();
        } else if self.has_missing_anchors() {
            self.visit_anchors();
        }
    }

    /// Looks whether the anchors are still the folders they were: no event tells that a folder above was renamed.
    pub(super) fn check_anchors(&mut self) {
        for path in self.landed.iter().flatten().cloned().collect::<HashSet<_>>() {
            self.check_folder(&path);
        }
    }

    /// The paths of all folders.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.folders.keys().cloned().collect()
    }

    /// How many files there are.
    pub(super) fn files(&self) -> usize {
        self.folders.values().map(|folder| folder.files.len()).sum()
    }

    /// The paths of the files that were modified last.
    pub(super) fn newest(&self, count: usize) -> Vec<PathBuf> {
        let mut files: Vec<&File> = self.folders.values().flat_map(|folder| &folder.files).collect();
        if count < files.len() {
            files.select_nth_unstable_by_key(count, |file| std::cmp::Reverse(file.stamp.modified));
            files.truncate(count);
        }
        files.into_iter().map(|file| file.path.clone()).collect()
    }

    /// Looks whether a folder is still the same one, and has the same names in it. How many looks that took.
    pub(super) fn check_folder(&mut self, path: &Path) -> usize {
        let Some(folder) = self.folders.get(path) else { return 0 };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() && identity(&metadata) == folder.identity => {
                let again = folder.read_again.is_some_and(|again| again <= Instant::now());
                if !again && modified(&metadata) == folder.modified {
                    return 1;
                }
                let mut queue = Queue::default();
                let names = self.read(path, &metadata, &mut queue);
                self.grow(queue);
                1 + names
            }
            _ => {
                self.refresh(path);
                1
            }
        }
    }

    /// Looks at some files of a folder, from a number on. How many there were to look at.
    pub(super) fn check_files(&mut self, folder: &Path, from: usize, limit: usize) -> usize {
        let Some(files) = self.folders.get(folder).and_then(|folder| folder.files.get(from..)) else { return 0 };
        let files = &files[..limit.min(files.len())];
        let looked_at = files.len();
        let same =
            |file: &&File| fs::metadata(&file.path).is_ok_and(|now| now.is_file() && Stamp::of(&now) == file.stamp);
        let changed: Vec<PathBuf> = files.iter().filter(|file| !same(file)).map(|file| file.path.clone()).collect();
        for path in changed {
            self.refresh(&path);
        }
        looked_at
    }

    /// Looks at one file, if it is in the tree. How many looks that took.
    pub(super) fn check_file(&mut self, path: &Path) -> usize {
        self.find(path).map_or(0, |(folder, index)| self.check_files(&folder, index, 1))
    }

    /// Looks at a path where something may have come or gone.
    pub(super) fn refresh(&mut self, path: &Path) {
        // A folder that was moved away and back is the same, but the system no longer reports its events.
        self.remove(path);
        let Some(parent) = path.parent() else { return };
        let Some(folder) = self.folders.get_mut(parent) else { return };
        let metadata = fs::metadata(path).ok();
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            self.update_file(path, None, false);
            let Some(folder) = self.folders.get_mut(parent) else { return };
            if let Some(interest) = self.scope.folder(path, &folder.interest) {
                folder.folders.retain(|folder| folder != path);
                folder.folders.push(path.into());
                let mut queue = Queue::default();
                queue.real.push_back((path.into(), interest));
                self.grow(queue);
            }
        } else {
            folder.folders.retain(|folder| folder != path);
            self.update_file(path, metadata.filter(Metadata::is_file), false);
        }
    }

    /// Somebody wrote to a file.
    pub(super) fn written(&mut self, path: &Path) {
        self.update_file(path, fs::metadata(path).ok().filter(Metadata::is_file), true);
    }

    fn find(&self, path: &Path) -> Option<(PathBuf, usize)> {
        let parent = path.parent()?;
        let files = &self.folders.get(parent)?.files;
        let index = files.binary_search_by(|file| file.path.as_os_str().cmp(path.as_os_str())).ok()?;
        Some((parent.into(), index))
    }

    fn update_file(&mut self, path: &Path, metadata: Option<Metadata>, written: bool) {
        let Some(folder) = path.parent().and_then(|parent| self.folders.get_mut(parent)) else { return };
        let Some(counts) = self.scope.file(path, &folder.interest) else { return };
        let place = folder.files.binary_search_by(|file| file.path.as_os_str().cmp(path.as_os_str()));
        let before = place.ok().map(|index| folder.files[index].stamp);
        let now = metadata.as_ref().map(Stamp::of);
        match (place, now) {
            (Ok(index), Some(stamp)) => folder.files[index].stamp = stamp,
            (Ok(index), None) => {
                folder.files.remove(index);
            }
            (Err(index), Some(stamp)) => {
                let file = File { path: path.into(), stamp, counts, is_link: is_link(path) };
                folder.files.insert(index, file);
            }
            (Err(_), None) => return,
        }
        self.tell(path, counts, before, now, written);
    }

    /// A file differs from what it was, or may.
    fn tell(&mut self, path: &Path, counts: Counts, before: Option<Stamp>, now: Option<Stamp>, written: bool) {
        if before == now && !written {
            return;
        }
        self.stale |= self.scope.is_rules(path);
        // The events of what a link leads to come to those who ask for the file itself.
        if before.map(|stamp| stamp.identity) != now.map(|stamp| stamp.identity) {
            if before.is_some() {
                self.sentry.leave(path);
            }
            if now.is_some() && is_link(path) {
                self.sentry.enter(path, false, false);
            }
        }
        if counts == Counts::Reported {
            match (before, now) {
                (Some(before), Some(now)) if written => self.journal.written(path, before, now),
                _ => self.journal.record(path, before, now),
            }
        }
    }

    fn grow(&mut self, mut queue: Queue) {
        while let Some((path, interest)) = queue.next() {
            self.visit(&path, interest, false, &mut queue);
        }
    }

    /// Takes a folder into the tree, or its interest into the folder that is there. The path it has in the tree.
    fn visit(&mut self, path: &Path, interest: Interest, is_anchor: bool, queue: &mut Queue) -> Option<PathBuf> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_dir)?;
        let identity = identity(&metadata);
        if !is_anchor && is_link(path) && self.leads_above_an_anchor(path) {
            return None;
        }
        if let Some(known) = self.by_identity.get(&identity).cloned() {
            if known == path || fs::metadata(&known).is_ok_and(|there| self::identity(&there) == identity) {
                if known != path && !is_anchor {
                    self.repeated += 1;
                    return None;
                }
                let interest = self.scope.enter(&known, interest);
                let folder = self.folders.get_mut(&known)?;
                folder.is_anchor |= is_anchor;
                if folder.interest.merge(interest) {
                    self.sentry.enter(&known, is_anchor, folder.interest.is_deep());
                    self.read(&known, &metadata, queue);
                }
                return Some(known);
            }
            // It was moved here.
            self.remove(&known);
        }
        // Another folder may have been here.
        self.remove(path);
        self.sentry.enter(path, is_anchor, interest.is_deep());
        let folder = Folder {
            identity,
            modified: modified(&metadata),
            read_again: None,
            interest: self.scope.enter(path, interest),
            is_anchor,
            files: Vec::new(),
            folders: Vec::new(),
        };
        self.folders.insert(path.into(), folder);
        self.by_identity.insert(identity, path.into());
        self.generation += 1;
        // Its rules are new, but they have been read.
        let stale = self.stale;
        self.read(path, &metadata, queue);
        self.stale = stale;
        Some(path.into())
    }

    fn leads_above_an_anchor(&self, link: &Path) -> bool {
        let Ok(real) = fs::canonicalize(link) else { return true };
        self.real_anchors.iter().any(|anchor| anchor.starts_with(&real) && *anchor != real)
    }

    /// Reads the names in a folder of the tree. Its metadata are those from before. How many names there are.
    fn read(&mut self, path: &Path, metadata: &Metadata, queue: &mut Queue) -> usize {
        let Some(folder) = self.folders.get_mut(path) else { return 0 };
        let is_recent = metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < CLOCK_TICK));
        folder.read_again = (is_recent || modified(metadata) != folder.modified).then(|| Instant::now() + CLOCK_TICK);
        folder.modified = modified(metadata);
        let names = match names(path, &folder.interest) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.refresh(path);
                return 0;
            }
            Err(_) => {
                // Rights can change without leaving a trace in the folder.
                folder.read_again = Some(Instant::now() + CLOCK_TICK);
                return 0;
            }
        };
        let count = names.len();
        let interest = folder.interest.clone();
        let mut files: Vec<PathBuf> = Vec::new();
        let mut folders = Vec::new();
        for path in names {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let is_link = metadata.is_symlink();
            let Ok(metadata) = (if is_link { fs::metadata(&path) } else { Ok(metadata) }) else { continue };
            if metadata.is_dir() {
                if let Some(interest) = self.scope.folder(&path, &interest) {
                    folders.push(path.clone());
                    let queue = if is_link { &mut queue.links } else { &mut queue.real };
                    queue.push_back((path, interest));
                }
            } else if metadata.is_file() {
                self.update_file(&path, Some(metadata), false);
                files.push(path);
            }
        }
        let Some(folder) = self.folders.get_mut(path) else { return count };
        files.sort_unstable();
        folders.sort_unstable();
        let before = std::mem::replace(&mut folder.folders, folders);
        let gone: Vec<PathBuf> =
            before.into_iter().filter(|path| folder.folders.binary_search(path).is_err()).collect();
        let missing = |file: &&File| files.binary_search(&file.path).is_err();
        let lost: Vec<PathBuf> = folder.files.iter().filter(missing).map(|file| file.path.clone()).collect();
        for path in gone {
            self.remove(&path);
        }
        for path in lost {
            self.update_file(&path, None, false);
        }
        count
    }

    /// Takes a folder and all below it out of the tree.
    fn remove(&mut self, path: &Path) {
        let Some(folder) = self.folders.remove(path) else { return };
        if self.by_identity.get(&folder.identity).is_some_and(|known| known == path) {
            self.by_identity.remove(&folder.identity);
        }
        self.generation += 1;
        if folder.is_anchor {
            // Whoever finds it there again may want less of it.
            self.landed.iter_mut().filter(|landed| landed.as_deref() == Some(path)).for_each(|landed| *landed = None);
        }
        // It may be reachable by another path.
        self.stale |= self.repeated > 0;
        for file in &folder.files {
            if file.is_link {
                self.sentry.leave(&file.path);
            }
            if file.counts == Counts::Reported {
                self.journal.record(&file.path, Some(file.stamp), None);
            }
        }
        self.sentry.leave(path);
        for path in &folder.folders {
            self.remove(path);
        }
    }
}

/// The paths in a folder that may count, in order, so that the first of two links to the same folder is always the same.
fn names(folder: &Path, interest: &Interest) -> io::Result<Vec<PathBuf>> {
    if !interest.is_deep() {
        return Ok(interest.names().map(|name| folder.join(name)).collect());
    }
    let mut names: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    names.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(names)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}
