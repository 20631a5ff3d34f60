//! Panics of applications: caught wherever their code runs, with message, place and backtrace, and also where the server
//! drops what is theirs.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic in this thread leaves a report.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static REPORT: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Panic {
    pub(crate) report: PanicReport,
    pub(crate) payload: AppOwned<Box<dyn Any + Send>>,
}

/// The message, the place and the backtrace of a panic.
pub(crate) struct PanicReport {
    pub(super) headline: String,
    pub(super) backtrace: String,
}

impl PanicReport {
    /// A report that another process has made.
    #[cfg(unix)]
    pub(super) fn from_text(text: &str) -> PanicReport {
        let (headline, backtrace) = text.split_once('\n').unwrap_or((text, ""));
        PanicReport { headline: headline.to_owned(), backtrace: backtrace.to_owned() }
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.headline, self.backtrace)
    }
}

/// A value that the application owns. A panic in its drop goes no further than the process's panic hook. Where the panic
/// can be logged, the inner value is dropped inside [`catch`].
pub(crate) struct AppOwned<T>(Option<T>);

impl<T> AppOwned<T> {
    pub(crate) fn new(value: T) -> AppOwned<T> {
        AppOwned(Some(value))
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// Returns the value, which is always there: only this method takes it out.
    #[inline]
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for AppOwned<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        let outer = CATCHING.replace(false);
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
            // Dropping the payload could panic again, and again.
            mem::forget(payload);
        }
        CATCHING.set(outer);
    }
}

/// Installs a panic hook that keeps a report of panics inside [`catch`] instead of printing them. The hook that was there
/// before still handles every other panic of the process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let (headline, backtrace) = (info.to_string(), Backtrace::force_capture().to_string());
                let report = PanicReport { headline, backtrace };
                REPORT.with(|slot| *slot.borrow_mut() = Some(report));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs code of the application, and catches its panic.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    let outer = CATCHING.replace(true);
    // Unwind safety: what the application has borrowed is discarded after a panic, and the connection's own state is changed
    // only between calls.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    result.map_err(|payload| {
        let report = REPORT.with(|slot| slot.borrow_mut().take());
        // There is none when another hook has replaced this one.
        let report = report.unwrap_or_else(|| PanicReport { headline: "panicked".into(), backtrace: String::new() });
        Panic { report, payload: AppOwned::new(payload) }
    })
}
