//! Panics of applications: caught, with message, place and backtrace, wherever their code runs; when the server drops
//! what is theirs, too.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};
use std::time::Duration;

use super::log::{AccessRecord, Log};

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static REPORT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Panic {
    /// Message, place and backtrace.
    pub(crate) report: String,
    pub(crate) payload: Theirs<Box<dyn Any + Send>>,
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
                let report = format!("{info}\n{}", Backtrace::force_capture());
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
        Panic { report: report.unwrap_or_else(|| "panicked".into()), payload: Theirs::new(payload) }
    })
}

/// A log of somebody else's making: what it panics about goes to standard error, with the entry that is lost.
pub(super) struct Shielded(pub(super) Arc<dyn Log>);

impl Shielded {
    fn ask<R: Default>(&self, lost: &str, run: impl FnOnce(&dyn Log) -> R) -> R {
        catch(|| run(&*self.0)).unwrap_or_else(|panic| {
            // Where that can't be written either, nobody is left to tell.
            let _ = writeln!(io::stderr(), "{lost}\npanic in the log: {}", panic.report);
            R::default()
        })
    }
}

impl Log for Shielded {
    fn access(&self, record: &AccessRecord<'_>) {
        // Called by hooks only, which are shielded themselves.
        self.0.access(record);
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
        self.0.wants_access()
    }
}
