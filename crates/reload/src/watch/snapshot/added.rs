//! Files that enter the scope while the watch runs. Adding a file is not a change; the file counts as changed only if
//! it was modified after the time that is given with it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::scan::Snapshot;
use crate::watch::scope::ScopeError;

/// How far timestamps of a file system may lag behind: they are taken from a clock that advances in steps.
const CLOCK_STEP: Duration = Duration::from_millis(10);

impl Snapshot {
    /// Adds files to the scope, including files that do not exist yet. A file that was modified after the time given
    /// with it counts as changed. Returns the folders of these files that are new to the scope.
    pub(in crate::watch) fn add_files(&mut self, files: &[(PathBuf, SystemTime)]) -> Vec<PathBuf> {
        self.remove_provisional_glob();
        let known = self.scope.root_folders().count();
        let (mut changed, mut new) = (BTreeMap::new(), HashMap::new());
        for (file, since) in files {
            let Some((root, path)) = self.scope.add_file(file) else { continue };
            changed.insert(root, path.parent().map(PathBuf::from).unwrap_or_default());
            if self.find(&path).is_none() {
                new.insert(path, *since);
            }
        }
        self.root_paths.resize(self.scope.root_folders().count(), None);
        let pending = std::mem::take(&mut self.pending);
        for (&root, folder) in &changed {
            self.visit_root(root, folder);
        }
        let found = std::mem::replace(&mut self.pending, pending);
        self.pending.absorb(found, |path| new.contains_key(path));
        let now = SystemTime::now();
        for (path, since) in new {
            let Some((folder, index)) = self.find(&path) else { continue };
            let stamp = self.folders[&folder].files[index].stamp;
            // A time in the future was set by another clock, and cannot be compared.
            if stamp.time().is_some_and(|modified| modified + CLOCK_STEP > since && modified <= now) {
                self.pending.record_write(&path, stamp, stamp);
            }
        }
        changed.into_iter().filter(|(root, _)| *root >= known).map(|(_, folder)| folder).collect()
    }

    /// Adds the matches of a glob to the scope until the first file is added.
    pub(in crate::watch) fn add_provisional_glob(&mut self, glob: &Path) -> Result<(), ScopeError> {
        if self.scope.add_provisional_glob(glob)? {
            let pending = std::mem::take(&mut self.pending);
            self.visit_roots();
            let found = std::mem::replace(&mut self.pending, pending);
            self.pending.absorb(found, |_| true);
        }
        Ok(())
    }

    fn remove_provisional_glob(&mut self) {
        if !self.scope.has_provisional_glob() {
            return;
        }
        // This scan finds what has changed until now in the files that leave the scope.
        self.rescan();
        let pending = std::mem::take(&mut self.pending);
        self.scope.remove_provisional_glob();
        self.rescan();
        // Files that left the scope look deleted. A file that is still in it has changed between the two scans.
        let found = std::mem::replace(&mut self.pending, pending);
        let (folders, scope) = (&self.folders, &self.scope);
        self.pending.absorb_only(found, |path| {
            let folder = path.parent().and_then(|parent| folders.get(parent));
            folder.is_some_and(|folder| scope.file_role(path, &folder.filter).is_some())
        });
    }
}
