//! One folder of the snapshot, and what the file system says about folders.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::watch::changes::FileStamp;
use crate::watch::scope::{FileRole, FolderFilter};

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// A folder of the snapshot.
pub(super) struct Folder {
    pub(super) identity: Identity,
    /// When its list of names last changed, by the clock of its file system.
    pub(super) modified: (i64, i64),
    /// When the list has to be read again, because it was read soon after a change.
    pub(super) read_again: Option<Instant>,
    pub(super) filter: FolderFilter,
    /// Whether the folder is a watch root, so that its filter may differ from the one that its parent passes to it.
    pub(super) is_root: bool,
    /// In the order of their paths.
    pub(super) files: Vec<WatchedFile>,
    pub(super) folders: Vec<PathBuf>,
}

pub(super) struct WatchedFile {
    pub(super) path: PathBuf,
    pub(super) stamp: FileStamp,
    pub(super) role: FileRole,
    pub(super) is_link: bool,
}

/// The folders to visit next. Links come last, so that a folder is known by its own path rather than by that of a link.
#[derive(Default)]
pub(super) struct VisitQueue {
    pub(super) folders: VecDeque<(PathBuf, FolderFilter)>,
    pub(super) links: VecDeque<(PathBuf, FolderFilter)>,
}

impl VisitQueue {
    pub(super) fn next(&mut self) -> Option<(PathBuf, FolderFilter)> {
        self.folders.pop_front().or_else(|| self.links.pop_front())
    }
}

/// The paths in a folder that may count, sorted, so that of two links to the same folder always the same one is first.
pub(super) fn candidates(folder: &Path, filter: &FolderFilter) -> io::Result<Vec<PathBuf>> {
    if !filter.is_recursive() {
        return Ok(filter.names().map(|name| folder.join(name)).collect());
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(paths)
}

pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

pub(super) fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}
