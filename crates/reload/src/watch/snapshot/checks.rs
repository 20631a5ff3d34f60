//! Checking parts of the snapshot against the file system: what a pass of polling does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::folder::{identity, modified, VisitQueue, WatchedFile};
use super::scan::Snapshot;
use crate::watch::changes::FileStamp;

impl Snapshot {
    /// The paths of all folders.
    pub(in crate::watch) fn folders(&self) -> Vec<PathBuf> {
        self.folders.keys().cloned().collect()
    }

    /// The number of files.
    pub(in crate::watch) fn file_count(&self) -> usize {
        self.folders.values().map(|folder| folder.files.len()).sum()
    }

    /// The paths of the most recently modified files.
    pub(in crate::watch) fn newest(&self, count: usize) -> Vec<PathBuf> {
        let mut files: Vec<&WatchedFile> = self.folders.values().flat_map(|folder| &folder.files).collect();
        if count < files.len() {
            files.select_nth_unstable_by_key(count, |file| std::cmp::Reverse(file.stamp.modified));
            files.truncate(count);
        }
        files.into_iter().map(|file| file.path.clone()).collect()
    }

    /// Checks whether a folder is still the same one and contains the same names. Returns the number of checks, one of
    /// them for each name that was read.
    pub(in crate::watch) fn check_folder(&mut self, path: &Path) -> usize {
        let Some(folder) = self.folders.get(path) else { return 0 };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() && identity(&metadata) == folder.identity => {
                let must_read = folder.read_again.is_some_and(|again| again <= Instant::now());
                if !must_read && modified(&metadata) == folder.modified {
                    return 1;
                }
                let mut queue = VisitQueue::default();
                let names = self.read(path, &metadata, &mut queue);
                self.visit_queued(queue);
                1 + names
            }
            _ => {
                self.refresh(path);
                1
            }
        }
    }

    /// Checks up to `limit` files of a folder, starting at the index `from`. Returns how many were checked.
    pub(in crate::watch) fn check_files(&mut self, folder: &Path, from: usize, limit: usize) -> usize {
        let Some(files) = self.folders.get(folder).and_then(|folder| folder.files.get(from..)) else { return 0 };
        let files = &files[..limit.min(files.len())];
        let checked = files.len();
        let is_same = |file: &&WatchedFile| {
            fs::metadata(&file.path).is_ok_and(|now| now.is_file() && FileStamp::of(&now) == file.stamp)
        };
        let changed: Vec<PathBuf> = files.iter().filter(|file| !is_same(file)).map(|file| file.path.clone()).collect();
        for path in changed {
            self.refresh(&path);
        }
        checked
    }

    /// Checks one file if it is in the snapshot. Returns the number of checks.
    pub(in crate::watch) fn check_file(&mut self, path: &Path) -> usize {
        self.find(path).map_or(0, |(folder, index)| self.check_files(&folder, index, 1))
    }

    /// Checks whether the watch roots are still the same folders: no event reports that a folder above was renamed.
    pub(in crate::watch) fn check_roots(&mut self) {
        for path in self.present_roots() {
            self.check_folder(&path);
        }
    }
}
