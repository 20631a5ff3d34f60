//! Where a scan of the scope starts: its folders, files and globs.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::error::ScopeError;

/// The characters that make a path a glob.
const GLOB_CHARACTERS: &[u8] = b"*?[{";

/// A folder where a scan starts, and what counts in it.
#[derive(Debug)]
pub(super) enum WatchRoot {
    /// Everything in a folder.
    Folder {
        path: PathBuf,
        /// Whether the `.gitignore` files above the folder apply.
        gitignore_above: bool,
    },
    /// Single files of a folder.
    Files { folder: PathBuf, names: BTreeSet<OsString> },
    /// The matches of a glob below `base`, its longest leading path without a wildcard.
    Glob { base: PathBuf, index: usize },
}

impl WatchRoot {
    /// A root for a path; a path that does not exist is taken for a file.
    pub(super) fn new(path: &Path, gitignore_above: bool) -> WatchRoot {
        let path = normalize(path);
        match (path.is_dir(), path.parent(), path.file_name()) {
            (false, Some(folder), Some(name)) => WatchRoot::file(folder, name),
            _ => WatchRoot::Folder { path, gitignore_above },
        }
    }

    pub(super) fn file(folder: &Path, name: &OsStr) -> WatchRoot {
        WatchRoot::Files { folder: folder.into(), names: BTreeSet::from([name.into()]) }
    }

    /// The folder where the scan starts.
    pub(super) fn folder(&self) -> &Path {
        match self {
            WatchRoot::Folder { path, .. } => path,
            WatchRoot::Files { folder, .. } => folder,
            WatchRoot::Glob { base, .. } => base,
        }
    }
}

/// A parsed glob.
#[derive(Debug)]
pub(super) struct ExtraGlob {
    pub(super) base: PathBuf,
    matcher: GlobMatcher,
    /// The maximum number of path components below the base that it can match; `None` for any depth.
    max_depth: Option<usize>,
}

impl ExtraGlob {
    pub(super) fn parse(pattern: &Path) -> Result<ExtraGlob, ScopeError> {
        let plain = pattern.components().take_while(|part| !is_glob(part.as_os_str()));
        let base: PathBuf = plain.clone().collect();
        let wild: PathBuf = pattern.components().skip(plain.count()).collect();
        let text = wild.to_str().ok_or_else(|| ScopeError::invalid_glob(pattern, &"it is not UTF-8"))?;
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| ScopeError::invalid_glob(pattern, error.kind()))?;
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
        if !base.is_dir() {
            return Err(ScopeError::missing(&base, &format!("the folder of the pattern '{}'", pattern.display())));
        }
        // Braces may contain slashes, so the number of components is unknown.
        let max_depth = (!text.contains("**") && !text.contains('{')).then(|| wild.components().count());
        Ok(ExtraGlob { base: normalize(&base), matcher: glob.compile_matcher(), max_depth })
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        path.strip_prefix(&self.base).is_ok_and(|rest| self.matcher.is_match(rest))
    }

    /// Whether a path inside this folder may match.
    pub(super) fn may_match_below(&self, folder: &Path) -> bool {
        let Some(depth) = self.max_depth else { return true };
        folder.strip_prefix(&self.base).is_ok_and(|rest| rest.components().count() < depth)
    }
}

/// Whether a path contains a wildcard.
pub(super) fn is_glob(path: &OsStr) -> bool {
    path.as_bytes().iter().any(|byte| GLOB_CHARACTERS.contains(byte))
}

/// The absolute path without `..`. On macOS also without symbolic links, because its events name paths that way.
pub(super) fn normalize(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    if cfg!(target_os = "macos") || absolute.components().any(|part| part == Component::ParentDir) {
        return fs::canonicalize(&absolute).unwrap_or(absolute);
    }
    absolute
}
