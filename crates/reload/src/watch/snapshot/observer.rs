//! The interface by which the snapshot asks for the events of its folders.

use std::path::Path;

/// Observes which folders enter and leave the snapshot, to subscribe to their events.
pub(in crate::watch) trait DirObserver: Send {
    /// Called before a folder is read, so that no change in between is missed. Also called for a file that a symbolic
    /// link leads to. `is_recursive` says whether anything below the path may count.
    fn watch(&mut self, path: &Path, is_root: bool, is_recursive: bool);

    /// Called when the path has left the snapshot.
    fn unwatch(&mut self, path: &Path);
}

/// Subscribes to nothing, for polling.
impl DirObserver for () {
    fn watch(&mut self, _: &Path, _: bool, _: bool) {}
    fn unwatch(&mut self, _: &Path) {}
}
