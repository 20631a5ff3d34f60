//! Which entries of a folder count.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::ignore_rules::IgnoreRules;

/// Which entries of one folder count: the union of its three parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct FolderFilter {
    /// If set, everything that these rules do not ignore counts, in this folder and in those below it.
    pub(super) ignore_rules: Option<Arc<IgnoreRules>>,
    /// Files that count by their names.
    pub(super) names: BTreeSet<OsString>,
    /// Indices of the scope's globs that may match below this folder.
    pub(super) globs: BTreeSet<usize>,
}

/// How a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    /// Its changes are reported.
    Reported,
    /// The changes of the file are not reported, but its rules decide which other files count.
    RulesOnly,
}

impl FolderFilter {
    /// Adds what another filter accepts. Returns whether anything was new.
    pub(crate) fn merge(&mut self, other: FolderFilter) -> bool {
        let before = (self.ignore_rules.is_some(), self.names.len(), self.globs.len());
        if self.ignore_rules.is_none() {
            self.ignore_rules = other.ignore_rules;
        }
        self.names.extend(other.names);
        self.globs.extend(other.globs);
        before != (self.ignore_rules.is_some(), self.names.len(), self.globs.len())
    }

    /// The files that count by their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.names.iter().map(OsString::as_os_str)
    }

    /// Whether more may count than the files listed by name.
    pub(crate) fn is_recursive(&self) -> bool {
        self.ignore_rules.is_some() || !self.globs.is_empty()
    }
}
