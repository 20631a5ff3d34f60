//! Panics of the application. They are caught wherever its code runs, including the drop of its values, with their message,
//! location and backtrace.

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

/// A caught panic.
pub(crate) struct Panic {
    pub(crate) report: PanicReport,
    pub(crate) payload: AppOwned<Box<dyn Any + Send>>,
}

/// The message, the location and the backtrace of a panic.
pub(crate) struct PanicReport {
    pub(super) headline: String,
    pub(super) backtrace: String,
}

impl PanicReport {
    /// Parses the report of another process.
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

/// A value that the application owns. A panic in its drop reaches the process's panic hook and nothing else. Where the panic
/// can be logged, the server drops the inner value inside [`catch`] instead.
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

    /// Returns the value, which is always present: only this method takes it out.
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
            // The drop of the payload could panic as well, and so could the payload of that panic.
            mem::forget(payload);
        }
        CATCHING.set(outer);
    }
}

/// Installs a panic hook that stores a report of panics inside [`catch`] instead of printing them. The previous hook still
/// handles every other panic of the process.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let (headline, backtrace) = (info.to_string(), Backtrace::force_capture().to_string());
                let report = PanicReport { headline, backtrace };
                REPORT.with(|slot| *slot.borrow_mut() = Some(report));
            } else {
                previous(info);
            }
        }));
    });
}

/// Runs code of the application and catches its panic.
///
/// The panic is boxed, so that the usual result is small: it is moved several times for each request.
#[inline]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Box<Panic>> {
    let outer = CATCHING.replace(true);
    // Unwind safety: after a panic, the values that the application has borrowed are discarded, and the state of the
    // connection changes only between calls.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    result.map_err(describe)
}

/// Adds the report of the panic that this thread has just caught.
#[cold]
fn describe(payload: Box<dyn Any + Send>) -> Box<Panic> {
    let report = REPORT.with(|slot| slot.borrow_mut().take());
    // There is no report if another hook has replaced this one.
    let report = report.unwrap_or_else(|| PanicReport { headline: "panicked".into(), backtrace: String::new() });
    Box::new(Panic { report, payload: AppOwned::new(payload) })
}

/// A panic that [`catch_panic`] has caught. `Display` writes the message and the backtrace.
pub struct CaughtPanic(Box<Panic>);

impl CaughtPanic {
    /// The location and the message, such as `panicked at src/main.rs:3:5:` and a second line.
    pub fn message(&self) -> &str {
        &self.0.report.headline
    }

    /// The backtrace, as [`Backtrace`] prints it; empty if another panic hook has replaced the server's.
    pub fn backtrace(&self) -> &str {
        &self.0.report.backtrace
    }
}

impl fmt::Display for CaughtPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.report.fmt(f)
    }
}

impl fmt::Debug for CaughtPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CaughtPanic").field(&self.message()).finish()
    }
}

/// Runs code of the application and catches its panic with the backtrace, as the server does: for middleware that
/// responds to a panic. Calls can be nested. Nothing is printed.
///
/// # Errors
/// The panic.
///
/// ```
/// let panic = amboss_core::catch_panic(|| panic!("no such anvil")).unwrap_err();
/// assert!(panic.message().ends_with("no such anvil"));
/// ```
pub fn catch_panic<R>(run: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    install_hook();
    catch(run).map_err(CaughtPanic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_another_call_is_reported_to_that_call_alone() {
        let outer = catch_panic(|| {
            let inner = catch_panic(|| panic!("inner")).unwrap_err();
            assert!(inner.message().ends_with("inner") && !inner.backtrace().is_empty());
            panic!("outer")
        });
        assert!(outer.unwrap_err().message().ends_with("outer"));
        assert_eq!(catch_panic(|| catch_panic(|| 7).unwrap()).unwrap(), 7);
    }
}
