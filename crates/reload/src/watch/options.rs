//! The settings of a watch.

use std::fmt;
use std::time::Duration;

/// The settings of a [`Watch`](crate::Watch). Start from `WatchOptions::default()` and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchOptions {
    /// How changes are noticed (`Auto`).
    pub backend: Backend,
    /// How long the `stat` back-end waits between two passes, and the `notify` back-end between two checks for a
    /// missing watch root (1 s). At least 10 ms. As in Werkzeug, and short compared to the time it takes to switch to
    /// the browser. In large projects one pass checks all files only after a change; while nothing changes, twelve
    /// passes do. Passes that take long are followed by longer waits.
    pub poll_interval: Duration,
    /// How long nothing must change before a report is made (50 ms): longer than the gaps between the writes of one
    /// save or checkout, too short to notice.
    pub debounce: Duration,
    /// The same if every changed file is known to be complete, that is, closed by its writer or moved into place (10
    /// ms): longer than the gap between two files of one save or checkout. Only the `notify` back-end on Linux knows.
    pub debounce_closed: Duration,
    /// How long after the first change a report is made at the latest, even if changes continue (500 ms).
    pub max_debounce: Duration,
    /// How often the `notify` back-end checks whether the watch roots are still the same folders (10 s). The system
    /// reports no event when a folder above them is renamed.
    pub root_check_interval: Duration,
    /// The maximum number of files that can be [added](crate::Waker::add_files) (50,000): several times what the
    /// largest applications load, and few enough to check.
    pub max_added_files: usize,
    /// The number of watched folders after which the system's limit counts as reached; for tests.
    #[doc(hidden)]
    pub watch_limit: Option<usize>,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions {
            backend: Backend::Auto,
            poll_interval: Duration::from_secs(1),
            debounce: Duration::from_millis(50),
            debounce_closed: Duration::from_millis(10),
            max_debounce: Duration::from_millis(500),
            root_check_interval: Duration::from_secs(10),
            max_added_files: 50_000,
            watch_limit: None,
        }
    }
}

/// How changes are noticed. Displayed as `auto`, `stat` or `notify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The system's file events where they work, otherwise polling.
    Auto,
    /// Polling of each file's modification time, size and inode. Works everywhere.
    Stat,
    /// The system's file events: they arrive at once and cost almost nothing while no file changes.
    Notify,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Stat => "stat",
            Backend::Notify => "notify",
        })
    }
}
