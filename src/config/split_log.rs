//! A log whose access lines and errors go to different places.

use std::time::Duration;

use crate::{AccessRecord, Log, TextLog};

/// Two logs, each of which may be missing.
pub(super) struct SplitLog {
    pub(super) access: Option<TextLog>,
    pub(super) errors: Option<TextLog>,
}

impl SplitLog {
    fn both(&self) -> impl Iterator<Item = &TextLog> {
        self.access.iter().chain(&self.errors)
    }
}

impl Log for SplitLog {
    fn access(&self, record: &AccessRecord<'_>) {
        if let Some(log) = &self.access {
            log.access(record);
        }
    }

    fn error(&self, message: &str) {
        if let Some(log) = &self.errors {
            log.error(message);
        }
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        self.both().filter_map(|log| log.flush(idle)).min()
    }

    fn sync(&self) {
        self.both().for_each(Log::sync);
    }

    fn wants_access(&self) -> bool {
        self.access.is_some()
    }
}
