//! Files that come into the scope later. They are new to the tree and not to the world: what they are is no change, unless
//! it is newer than the reason to watch them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Tree;
use crate::scope::ScopeError;

/// The times that a file system writes down are taken from a clock that goes in steps: so much may they be too early.
const CLOCK_STEP: Duration = Duration::from_millis(10);

impl Tree {
    /// Takes files into the scope, also such as aren't there yet. What was modified after the moment that comes with it
    /// counts as changed. The folders that they lie in, as far as they are new.
    pub(in crate::watch) fn add(&mut self, files: &[(PathBuf, SystemTime)]) -> Vec<PathBuf> {
        self.end_provisional();
        let known = self.scope.anchors().count();
        let (mut changed, mut new) = (BTreeMap::new(), HashMap::new());
        for (file, since) in files {
            let Some((anchor, path)) = self.scope.add(file) else { continue };
            changed.insert(anchor, path.parent().map(PathBuf::from).unwrap_or_default());
            if self.find(&path).is_none() {
                new.insert(path, *since);
            }
        }
        self.landed.resize(self.scope.anchors().count(), None);
        let noticed = std::mem::take(&mut self.journal);
        for (&anchor, folder) in &changed {
            self.visit_anchor(anchor, folder);
        }
        let found = std::mem::replace(&mut self.journal, noticed);
        self.journal.absorb(found, |path| new.contains_key(path));
        let now = SystemTime::now();
        for (path, since) in new {
            let Some((folder, index)) = self.find(&path) else { continue };
            let stamp = self.folders[&folder].files[index].stamp;
            // A time to come was set by another clock, and says nothing.
            if stamp.time().is_some_and(|modified| modified + CLOCK_STEP > since && modified <= now) {
                self.journal.written(&path, stamp, stamp);
            }
        }
        changed.into_iter().filter(|(anchor, _)| *anchor >= known).map(|(_, folder)| folder).collect()
    }

    /// Takes what a glob matches into the scope, until files are added.
    pub(in crate::watch) fn add_provisionally(&mut self, glob: &Path) -> Result<(), ScopeError> {
        if self.scope.add_provisionally(glob)?.is_some() {
            let noticed = std::mem::take(&mut self.journal);
            self.visit_anchors();
            let found = std::mem::replace(&mut self.journal, noticed);
            self.journal.absorb(found, |_| true);
        }
        Ok(())
    }

    fn end_provisional(&mut self) {
        if !self.scope.is_provisional() {
            return;
        }
        // What has changed until now is not lost with it.
        self.replant();
        let noticed = std::mem::take(&mut self.journal);
        self.scope.end_provisional();
        self.replant();
        // What is not watched any more looks deleted. A file that is has changed between the two walks.
        let found = std::mem::replace(&mut self.journal, noticed);
        let (folders, scope) = (&self.folders, &self.scope);
        self.journal.absorb_only(found, |path| {
            let folder = path.parent().and_then(|parent| folders.get(parent));
            folder.is_some_and(|folder| scope.file(path, &folder.interest).is_some())
        });
    }
}
