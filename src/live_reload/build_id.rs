//! Which code a process serves.

use std::time::{SystemTime, UNIX_EPOCH};

/// The identity of the code that a process serves.
pub(crate) struct BuildId {
    /// The identifier, made of digits and `-`. All processes that serve the same code at the same time share it.
    pub(crate) id: String,
    /// Whether the process serves the error page, which contains a script of its own that polls until the code runs again.
    pub(crate) is_error_page: bool,
}

impl BuildId {
    /// Returns the identity of a process that has no supervisor to number its code.
    pub(crate) fn of_this_process() -> BuildId {
        BuildId { id: format!("{}-{}", std::process::id(), start_timestamp()), is_error_page: false }
    }
}

/// Returns the time in nanoseconds, which tells one start of a program from all others.
pub(crate) fn start_timestamp() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
