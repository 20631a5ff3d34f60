//! Lines about slow requests in the error log.

use std::sync::Arc;
use std::time::Duration;

use crate::{AccessRecord, Log};

/// A log that also has a line for each request that has taken longer than a limit.
pub(super) struct SlowLog {
    pub(super) log: Arc<dyn Log>,
    pub(super) limit: Duration,
}

impl Log for SlowLog {
    fn access(&self, record: &AccessRecord<'_>) {
        if record.duration >= self.limit {
            let request = String::from_utf8_lossy(record.request_line);
            let (status, bytes, peer) = (record.status, record.bytes, record.peer);
            let (took, waited) = (record.duration.as_secs_f64(), record.waited.as_secs_f64());
            let id = record.request_id.map(|id| format!(" ({id})")).unwrap_or_default();
            self.log.error(&format!(
                "slow request{id}: \"{request}\" from {peer} took {took:.3} s, of which {waited:.3} s waiting for a thread; \
                 status {status}, {bytes} bytes"
            ));
        }
        if self.log.wants_access() {
            self.log.access(record);
        }
    }

    fn error(&self, message: &str) {
        self.log.error(message);
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        self.log.flush(idle)
    }

    fn sync(&self) {
        self.log.sync();
    }
}
