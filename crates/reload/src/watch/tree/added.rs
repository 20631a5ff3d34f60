//! Files that come into the scope later. They are new to the tree and not to the world: what they are is no change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Tree;
use crate::scope::ScopeError;

impl Tree {
    /// Takes files into the scope, also such as aren't there yet. The folders that they lie in, as far as they are new.
    pub(in crate::watch) fn add(&mut self, files: &[PathBuf]) -> Vec<PathBuf> {
        self.end_provisional();
        let known = self.scope.anchors().count();
        let mut changed = BTreeMap::new();
        for (anchor, path) in files.iter().filter_map(|file| self.scope.add(file)) {
            changed.insert(anchor, path.parent().map(PathBuf::from).unwrap_or_default());
        }
        self.landed.resize(self.scope.anchors().count(), None);
        let noticed = std::mem::take(&mut self.journal);
        for (&anchor, folder) in &changed {
            self.visit_anchor(anchor, folder);
        }
        let found = std::mem::replace(&mut self.journal, noticed);
        self.journal.absorb(found);
        changed.into_iter().filter(|(anchor, _)| *anchor >= known).map(|(_, folder)| folder).collect()
    }

    /// Takes what a glob matches into the scope, until files are added.
    pub(in crate::watch) fn add_provisionally(&mut self, glob: &Path) -> Result<(), ScopeError> {
        if self.scope.add_provisionally(glob)?.is_some() {
            let noticed = std::mem::take(&mut self.journal);
            self.visit_anchors();
            let found = std::mem::replace(&mut self.journal, noticed);
            self.journal.absorb(found);
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
        self.journal = noticed;
    }
}
