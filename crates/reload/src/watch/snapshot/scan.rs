//! The snapshot itself: scanning the scope, and updating single paths.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder::{candidates, identity, is_link, modified, Folder, Identity, VisitQueue, WatchedFile};
use super::observer::DirObserver;
use crate::watch::changes::{FileStamp, PendingChanges};
use crate::watch::scope::{FileRole, FolderFilter, Scope};

/// How long after a change of a folder another change may leave its modification time the same: the clocks of file
/// systems may tick that slowly (FAT).
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// The state of all watched files.
pub(in crate::watch) struct Snapshot {
    pub(super) scope: Scope,
    pub(in crate::watch) observer: Box<dyn DirObserver>,
    pub(in crate::watch) pending: PendingChanges,
    pub(super) folders: HashMap<PathBuf, Folder>,
    by_identity: HashMap<Identity, PathBuf>,
    /// The canonical paths of the roots. A link that leads to a folder above one of them is not followed.
    real_roots: Vec<PathBuf>,
    /// For each root of the scope the path of its folder in the snapshot.
    pub(super) root_paths: Vec<Option<PathBuf>>,
    /// The number of folders that were left out because the snapshot contains them by another path.
    repeated: usize,
    /// Whether the set of files that count may have changed anywhere, so that everything has to be scanned again.
    is_stale: bool,
    /// Incremented whenever a folder enters or leaves the snapshot.
    pub(in crate::watch) generation: u64,
}

/// Scanning everything.
impl Snapshot {
    /// Scans the whole scope. No changes are pending afterwards.
    pub(in crate::watch) fn scan(scope: Scope, observer: Box<dyn DirObserver>) -> Snapshot {
        let mut snapshot = Snapshot {
            scope,
            observer,
            pending: PendingChanges::default(),
            folders: HashMap::new(),
            by_identity: HashMap::new(),
            real_roots: Vec::new(),
            root_paths: Vec::new(),
            repeated: 0,
            is_stale: false,
            generation: 0,
        };
        snapshot.visit_roots();
        snapshot.pending.clear();
        snapshot.is_stale = false;
        snapshot
    }

    /// Scans the whole scope again. Records only differences to the previous state as changes.
    pub(in crate::watch) fn rescan(&mut self) {
        self.root_paths.clear();
        for path in self.folders.keys().cloned().collect::<Vec<_>>() {
            self.remove(&path);
        }
        self.repeated = 0;
        self.visit_roots();
        self.is_stale = false;
    }

    /// Visits the roots that are not in the snapshot.
    pub(super) fn visit_roots(&mut self) {
        let roots: Vec<PathBuf> = self.scope.root_folders().map(PathBuf::from).collect();
        // Nothing is scanned below the folders of added files, so no link there can make the scan endless.
        let scanned = roots.iter().enumerate().filter(|(root, _)| !self.scope.is_added_root(*root));
        self.real_roots = scanned.filter_map(|(_, path)| fs::canonicalize(path).ok()).collect();
        self.root_paths.resize(roots.len(), None);
        for (root, path) in roots.iter().enumerate() {
            if !self.is_present(root) {
                self.visit_root(root, path);
            }
        }
    }

    pub(super) fn visit_root(&mut self, root: usize, path: &Path) {
        let mut queue = VisitQueue::default();
        let filter = self.scope.root_filter(root);
        self.root_paths[root] = self.visit(path, filter, true, &mut queue);
        self.visit_queued(queue);
    }

    /// Whether the folder of a root is in the snapshot.
    fn is_present(&self, root: usize) -> bool {
        self.root_paths[root].as_ref().is_some_and(|path| self.folders.contains_key(path))
    }

    /// The paths of the roots that were found.
    pub(super) fn present_roots(&self) -> HashSet<PathBuf> {
        self.root_paths.iter().flatten().cloned().collect()
    }

    /// Whether the folder of a root or an extra file does not exist at the moment.
    pub(in crate::watch) fn has_missing_roots(&self) -> bool {
        !(0..self.root_paths.len()).all(|root| self.is_present(root))
    }

    /// Completes an update of single paths: scans everything again if ignore rules have changed, and visits roots that
    /// have come back.
    pub(in crate::watch) fn complete_update(&mut self) {
        if self.is_stale {
            self.rescan();
        } else if self.has_missing_roots() {
            self.visit_roots();
        }
    }
}

/// Updating single paths.
impl Snapshot {
    /// Updates a path where a file or folder may have appeared or disappeared.
    pub(in crate::watch) fn refresh(&mut self, path: &Path) {
        // A folder that was moved away and back looks the same, but the system no longer reports its events.
        self.remove(path);
        let Some(parent) = path.parent() else { return };
        let Some(folder) = self.folders.get_mut(parent) else { return };
        let metadata = fs::metadata(path).ok();
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            self.update_file(path, None, false);
            let Some(folder) = self.folders.get_mut(parent) else { return };
            if let Some(filter) = self.scope.subfolder_filter(path, &folder.filter) {
                folder.folders.retain(|folder| folder != path);
                folder.folders.push(path.into());
                let mut queue = VisitQueue::default();
                queue.folders.push_back((path.into(), filter));
                self.visit_queued(queue);
            }
        } else {
            folder.folders.retain(|folder| folder != path);
            self.update_file(path, metadata.filter(Metadata::is_file), false);
        }
    }

    /// Updates a file that was written to.
    pub(in crate::watch) fn file_written(&mut self, path: &Path) {
        self.update_file(path, fs::metadata(path).ok().filter(Metadata::is_file), true);
    }

    /// The folder of a file in the snapshot, and the file's index in it.
    pub(super) fn find(&self, path: &Path) -> Option<(PathBuf, usize)> {
        let parent = path.parent()?;
        let files = &self.folders.get(parent)?.files;
        let index = files.binary_search_by(|file| file.path.as_os_str().cmp(path.as_os_str())).ok()?;
        Some((parent.into(), index))
    }

    fn update_file(&mut self, path: &Path, metadata: Option<Metadata>, written: bool) {
        let Some(folder) = path.parent().and_then(|parent| self.folders.get_mut(parent)) else { return };
        let Some(role) = self.scope.file_role(path, &folder.filter) else { return };
        let place = folder.files.binary_search_by(|file| file.path.as_os_str().cmp(path.as_os_str()));
        let before = place.ok().map(|index| folder.files[index].stamp);
        let now = metadata.as_ref().map(FileStamp::of);
        match (place, now) {
            (Ok(index), Some(stamp)) => folder.files[index].stamp = stamp,
            (Ok(index), None) => {
                folder.files.remove(index);
            }
            (Err(index), Some(stamp)) => {
                let file = WatchedFile { path: path.into(), stamp, role, is_link: is_link(path) };
                folder.files.insert(index, file);
            }
            (Err(_), None) => return,
        }
        self.record(path, role, before, now, written);
    }

    /// Records that a file has changed, if it has.
    fn record(
        &mut self,
        path: &Path,
        role: FileRole,
        before: Option<FileStamp>,
        now: Option<FileStamp>,
        written: bool,
    ) {
        if before == now && !written {
            return;
        }
        self.is_stale |= self.scope.is_ignore_file(path);
        // Watching the folder of a link does not report changes of the link's target; the link needs a watch of its
        // own.
        if before.map(|stamp| stamp.identity) != now.map(|stamp| stamp.identity) {
            if before.is_some() {
                self.observer.unwatch(path);
            }
            if now.is_some() && is_link(path) {
                self.observer.watch(path, false, false);
            }
        }
        if role == FileRole::Reported {
            match (before, now) {
                (Some(before), Some(now)) if written => self.pending.record_write(path, before, now),
                _ => self.pending.record(path, before, now),
            }
        }
    }
}

/// Walking folders.
impl Snapshot {
    pub(super) fn visit_queued(&mut self, mut queue: VisitQueue) {
        while let Some((path, filter)) = queue.next() {
            self.visit(&path, filter, false, &mut queue);
        }
    }

    /// Adds a folder to the snapshot, or extends the filter of the folder if it is there. Returns its path in the
    /// snapshot.
    fn visit(&mut self, path: &Path, filter: FolderFilter, is_root: bool, queue: &mut VisitQueue) -> Option<PathBuf> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_dir)?;
        let identity = identity(&metadata);
        if !is_root && is_link(path) && self.leads_above_a_root(path) {
            return None;
        }
        if let Some(known) = self.by_identity.get(&identity).cloned() {
            if known == path || fs::metadata(&known).is_ok_and(|there| self::identity(&there) == identity) {
                if known != path && !is_root {
                    self.repeated += 1;
                    return None;
                }
                let filter = self.scope.enter_folder(&known, filter);
                let folder = self.folders.get_mut(&known)?;
                folder.is_root |= is_root;
                if folder.filter.merge(filter) {
                    self.observer.watch(&known, is_root, folder.filter.is_recursive());
                    self.read(&known, &metadata, queue);
                }
                return Some(known);
            }
            // The folder was moved here.
            self.remove(&known);
        }
        // The snapshot may still contain another folder that had this path.
        self.remove(path);
        self.observer.watch(path, is_root, filter.is_recursive());
        let folder = Folder {
            identity,
            modified: modified(&metadata),
            read_again: None,
            filter: self.scope.enter_folder(path, filter),
            is_root,
            files: Vec::new(),
            folders: Vec::new(),
        };
        self.folders.insert(path.into(), folder);
        self.by_identity.insert(identity, path.into());
        self.generation += 1;
        // The folder's ignore rules are new, but they are part of its filter already.
        let is_stale = self.is_stale;
        self.read(path, &metadata, queue);
        self.is_stale = is_stale;
        Some(path.into())
    }

    fn leads_above_a_root(&self, link: &Path) -> bool {
        let Ok(real) = fs::canonicalize(link) else { return true };
        self.real_roots.iter().any(|root| root.starts_with(&real) && *root != real)
    }

    /// Reads the names in a folder of the snapshot. `metadata` is the metadata of the folder from before the call.
    /// Returns the number of names.
    pub(super) fn read(&mut self, path: &Path, metadata: &Metadata, queue: &mut VisitQueue) -> usize {
        let Some(folder) = self.folders.get_mut(path) else { return 0 };
        let is_recent = metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < CLOCK_TICK));
        folder.read_again = (is_recent || modified(metadata) != folder.modified).then(|| Instant::now() + CLOCK_TICK);
        folder.modified = modified(metadata);
        let paths = match candidates(path, &folder.filter) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.refresh(path);
                return 0;
            }
            Err(_) => {
                // A change of permissions does not change the folder's modification time.
                folder.read_again = Some(Instant::now() + CLOCK_TICK);
                return 0;
            }
        };
        let count = paths.len();
        let filter = folder.filter.clone();
        let mut files: Vec<PathBuf> = Vec::new();
        let mut folders = Vec::new();
        for path in paths {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let is_link = metadata.is_symlink();
            let Ok(metadata) = (if is_link { fs::metadata(&path) } else { Ok(metadata) }) else { continue };
            if metadata.is_dir() {
                if let Some(filter) = self.scope.subfolder_filter(&path, &filter) {
                    folders.push(path.clone());
                    let queue = if is_link { &mut queue.links } else { &mut queue.folders };
                    queue.push_back((path, filter));
                }
            } else if metadata.is_file() {
                self.update_file(&path, Some(metadata), false);
                files.push(path);
            }
        }
        self.remove_missing(path, files, folders);
        count
    }

    /// Removes what a folder contained before and no longer contains.
    fn remove_missing(&mut self, path: &Path, mut files: Vec<PathBuf>, mut folders: Vec<PathBuf>) {
        let Some(folder) = self.folders.get_mut(path) else { return };
        files.sort_unstable();
        folders.sort_unstable();
        let before = std::mem::replace(&mut folder.folders, folders);
        let missing_folders: Vec<PathBuf> =
            before.into_iter().filter(|path| folder.folders.binary_search(path).is_err()).collect();
        let is_missing = |file: &&WatchedFile| files.binary_search(&file.path).is_err();
        let missing_files: Vec<PathBuf> =
            folder.files.iter().filter(is_missing).map(|file| file.path.clone()).collect();
        for path in missing_folders {
            self.remove(&path);
        }
        for path in missing_files {
            self.update_file(&path, None, false);
        }
    }

    /// Removes a folder and everything below it from the snapshot.
    fn remove(&mut self, path: &Path) {
        let Some(folder) = self.folders.remove(path) else { return };
        if self.by_identity.get(&folder.identity).is_some_and(|known| known == path) {
            self.by_identity.remove(&folder.identity);
        }
        self.generation += 1;
        if folder.is_root {
            // If the folder is found here again without being a root, its filter may accept less.
            self.root_paths.iter_mut().filter(|root| root.as_deref() == Some(path)).for_each(|root| *root = None);
        }
        // A folder that was left out may be reachable only by its other path now.
        self.is_stale |= self.repeated > 0;
        for file in &folder.files {
            if file.is_link {
                self.observer.unwatch(&file.path);
            }
            if file.role == FileRole::Reported {
                self.pending.record(&file.path, Some(file.stamp), None);
            }
        }
        self.observer.unwatch(path);
        for path in &folder.folders {
            self.remove(path);
        }
    }
}
