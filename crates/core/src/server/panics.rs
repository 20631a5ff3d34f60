//! Panics of applications: caught, with message, place and backtrace, wherever their code runs; when the server drops
//! what is theirs, too.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use super::log::{AccessRecord, Log};

/// A log that panics each time has the backtraces of so many different panics written; one for each entry would bury them.
const EXPLAINED: usize = 16;

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static REPORT: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Panic {
    pub(crate) report: Report,
    pub(crate) payload: Theirs<Box<dyn Any + Send>>,
}

/// Place and message of a panic, and the backtrace.
pub(crate) struct Report {
    headline: String,
    backtrace: String,
}

impl Report {
    /// One that another process has made.
    #[cfg(unix)]
    pub(super) fn from_text(text: &str) -> Report {
        let (headline, backtrace) = text.split_once('\n').unwrap_or((text, ""));
        Report { headline: headline.to_owned(), backtrace: backtrace.to_owned() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.headline, self.backtrace)
    }
}

/// Something that an application made. When it panics on being dropped, that goes no further than the process's panic
/// hook; who can log it drops what is inside within [`catch`].
pub(crate) struct Theirs<T>(Option<T>);

impl<T> Theirs<T> {
    pub(crate) fn new(value: T) -> Theirs<T> {
        Theirs(Some(value))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// Always there, as it is taken only here, by value.
    #[inline]
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Theirs<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        let outer = WATCHING.replace(false);
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
            // Dropping this one could panic for ever.
            mem::forget(payload);
        }
        WATCHING.set(outer);
    }
}

/// Makes panics inside [`catch`] leave a report instead of printing one. The hook that was there before still handles
/// every other panic of the process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if WATCHING.get() {
                let (headline, backtrace) = (info.to_string(), Backtrace::force_capture().to_string());
                let report = Report { headline, backtrace };
                REPORT.with(|slot| *slot.borrow_mut() = Some(report));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs application code.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    let outer = WATCHING.replace(true);
    // Unwind safety: what the application borrowed is thrown away after a panic; the connection's own state is only
    // ever changed between calls.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    WATCHING.set(outer);
    result.map_err(|payload| {
        let report = REPORT.with(|slot| slot.borrow_mut().take());
        // Without one when somebody has put another hook in place of ours.
        let report = report.unwrap_or_else(|| Report { headline: "panicked".into(), backtrace: String::new() });
        Panic { report, payload: Theirs::new(payload) }
    })
}

/// A log of somebody else's making: what it panics about goes to standard error, with the entry that is lost.
pub(super) struct Shielded {
    log: Arc<dyn Log>,
    /// The ways in which it panicked that standard error has had the backtrace of.
    explained: Mutex<HashSet<String>>,
}

impl Shielded {
    pub(super) fn new(log: Arc<dyn Log>) -> Shielded {
        Shielded { log, explained: Mutex::default() }
    }

    fn ask<R: Default>(&self, lost: &str, run: impl FnOnce(&dyn Log) -> R) -> R {
        catch(|| run(&*self.log)).unwrap_or_else(|panic| {
            let Report { headline, backtrace } = panic.report;
            let backtrace = if self.is_new(&headline) { backtrace } else { String::new() };
            // Where that can't be written either, nobody is left to tell.
            let _ = writeln!(io::stderr(), "{lost}\npanic in the log: {headline}\n{backtrace}");
            R::default()
        })
    }

    fn is_new(&self, headline: &str) -> bool {
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        explained.len() < EXPLAINED && explained.insert(headline.to_owned())
    }
}

impl Log for Shielded {
    fn access(&self, record: &AccessRecord<'_>) {
        // Called by hooks only, which are shielded themselves.
        self.log.access(record);
    }

    fn error(&self, message: &str) {
        self.ask(message, |log| log.error(message));
    }

    fn flush(&self, idle: bool) -> Option<Duration> {
        self.ask("", |log| log.flush(idle))
    }

    fn sync(&self) {
        self.ask("", |log| log.sync());
    }

    fn wants_access(&self) -> bool {
        self.log.wants_access()
    }
}
