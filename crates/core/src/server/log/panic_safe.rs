//! Protection from panics of a custom log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::record::{AccessRecord, Log};
use crate::server::panics::{catch, PanicReport};
use crate::server::sync::lock;

/// The maximum number of distinct panics of a custom log whose backtraces are printed. Backtraces for each entry would bury
/// the entries.
const MAX_BACKTRACES: usize = 16;

/// A log that calls the embedder's log. When that panics, the lost entry and the panic go to standard error.
pub(crate) struct PanicSafeLog {
    log: Arc<dyn Log>,
    /// The messages of the panics whose backtrace has been printed.
    explained: Mutex<Vec<String>>,
}

impl PanicSafeLog {
    pub(crate) fn new(log: Arc<dyn Log>) -> PanicSafeLog {
        PanicSafeLog { log, explained: Mutex::default() }
    }

    fn run<R: Default>(&self, entry: &str, call: impl FnOnce(&dyn Log) -> R) -> R {
        catch(|| call(&*self.log)).unwrap_or_else(|panic| {
            let PanicReport { headline, backtrace } = panic.report;
            let backtrace = if self.is_new(&headline) { backtrace } else { String::new() };
            // When standard error can't be written either, there is no place left to report to.
            let _ = writeln!(io::stderr(), "{entry}\npanic in the log: {headline}\n{backtrace}");
            R::default()
        })
    }

    fn is_new(&self, headline: &str) -> bool {
        let mut explained = lock(&self.explained);
        let is_new = explained.len() < MAX_BACKTRACES && !explained.iter().any(|known| known == headline);
        if is_new {
            explained.push(headline.to_owned());
        }
        is_new
    }
}

impl Log for PanicSafeLog {
    fn access(&self, record: &AccessRecord<'_>) {
        // Only hooks of the request handler call this, and the service catches their panics.
        self.log.access(record);
    }

    fn error(&self, message: &str) {
        self.run(message, |log| log.error(message));
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        self.run("", |log| log.flush(idle))
    }

    fn sync(&self) {
        self.run("", |log| log.sync());
    }

    fn wants_access(&self) -> bool {
        self.log.wants_access()
    }
}
