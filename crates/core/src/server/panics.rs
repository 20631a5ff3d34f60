//! Panics of applications: caught, with message, place and backtrace.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static REPORT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
pub(crate) struct Panic {
    /// Message, place and backtrace.
    pub(crate) report: String,
    pub(crate) payload: Box<dyn Any + Send>,
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
        Panic { report: report.unwrap_or_else(|| "panicked".into()), payload }
    })
}
