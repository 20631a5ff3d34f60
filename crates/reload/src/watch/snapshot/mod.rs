//! The state of all watched files when they were last checked. Both back-ends keep it up to date; they differ in how
//! they know where to check. Every difference is recorded in the pending changes.
//!
//! Each real folder is in the snapshot once, even if several links lead to it, so a link to a folder above itself
//! cannot make the scan endless. Folders and files that cannot be read are skipped.

mod added;
mod checks;
mod folder;
mod observer;
mod scan;

pub(super) use observer::DirObserver;
pub(super) use scan::Snapshot;
