//! Subscribing to the system's events.
//!
//! On Linux each folder of the snapshot has its own watch, so ignored folders cost none. Elsewhere the system watches
//! whole trees, and the snapshot drops events of paths that do not count.

use std::path::Path;
use std::sync::Arc;

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::failure::{failure_reason, other_reason};
use super::queue::EventQueue;
use crate::watch::snapshot::DirObserver;

/// Subscribes to the events of the folders in the snapshot, and puts them into an [`EventQueue`].
pub(in crate::watch) struct EventObserver {
    watcher: RecommendedWatcher,
    queue: Arc<EventQueue>,
    /// How many more watches are allowed; beyond, each fails as if the system's limit were reached.
    watches_left: usize,
}

impl EventObserver {
    /// Connects to the system's events. `limit` is the maximum number of watches, for tests.
    ///
    /// # Errors
    /// A sentence that says why the system reports no events.
    pub(in crate::watch) fn new(queue: &Arc<EventQueue>, limit: Option<usize>) -> Result<EventObserver, String> {
        let sink = queue.clone();
        let handler = move |event| sink.push(event);
        let watcher = RecommendedWatcher::new(handler, Config::default())
            .map_err(|error| failure_reason(&error).unwrap_or_else(|| other_reason(&error)))?;
        Ok(EventObserver { watcher, queue: queue.clone(), watches_left: limit.unwrap_or(usize::MAX) })
    }
}

impl DirObserver for EventObserver {
    fn watch(&mut self, path: &Path, is_root: bool, is_recursive: bool) {
        let mode = if cfg!(target_os = "linux") || !is_recursive {
            RecursiveMode::NonRecursive
        } else if is_root {
            RecursiveMode::Recursive
        } else {
            return;
        };
        let result = match self.watches_left.checked_sub(1) {
            Some(left) => {
                self.watches_left = left;
                self.watcher.watch(path, mode)
            }
            None => Err(notify::Error::new(ErrorKind::MaxFilesWatch)),
        };
        if let Some(reason) = result.err().and_then(|error| failure_reason(&error)) {
            self.queue.set_failure(reason);
        }
    }

    fn unwatch(&mut self, path: &Path) {
        // The watch of a path that was deleted is gone with it, so an error here is expected.
        let _ = self.watcher.unwatch(path);
    }
}
