//! Files that are named while the watch runs: those that a program says it consists of. There may be thousands, in
//! hundreds of folders, so that each folder is one anchor.

use std::path::{Path, PathBuf};

use super::{tidy, Anchor, Scope, ScopeError};

impl Scope {
    /// Names a file; its anchor and its path here, unless it was named before.
    pub(crate) fn add(&mut self, file: &Path) -> Option<(usize, PathBuf)> {
        let (folder, name) = (tidy(file.parent()?), file.file_name()?);
        let path = folder.join(name);
        let index = match self.added.get(&folder) {
            Some(&index) => index,
            None => {
                self.anchors.push(Anchor::file(&folder, name));
                self.added.insert(folder, self.anchors.len() - 1);
                return Some((self.anchors.len() - 1, path));
            }
        };
        let Anchor::Files { names, .. } = &mut self.anchors[index] else { return None };
        names.insert(name.into()).then_some((index, path))
    }

    /// Was an anchor made for files that were added?
    pub(crate) fn is_added(&self, anchor: usize) -> bool {
        self.added.get(self.anchors[anchor].place()) == Some(&anchor)
    }

    /// What the glob matches counts until a file is added; the anchor for it, unless one was.
    pub(crate) fn add_provisionally(&mut self, glob: &Path) -> Result<Option<usize>, ScopeError> {
        if !self.added.is_empty() || self.provisional.is_some() {
            return Ok(None);
        }
        self.glob(glob)?;
        self.provisional = Some(self.anchors.len() - 1);
        Ok(self.provisional)
    }

    /// Is there something that only counts until a file is added?
    pub(crate) fn is_provisional(&self) -> bool {
        self.provisional.is_some()
    }

    /// It does not count any more. Nothing was added yet, so that no other anchor gets another number.
    pub(crate) fn end_provisional(&mut self) {
        if let Some(anchor) = self.provisional.take() {
            self.anchors.truncate(anchor);
            self.globs.pop();
        }
    }
}
