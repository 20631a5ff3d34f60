//! Locks that ignore poisoning. The data under each of this server's locks is consistent at every point where its
//! holder can panic, so a poisoned lock is safe to use.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'m, T>(condition: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits at most `timeout`. Returns the guard, and whether the wait timed out.
pub(crate) fn wait_timeout<'m, T>(
    condition: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Duration,
) -> (MutexGuard<'m, T>, bool) {
    let (guard, result) = condition.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner);
    (guard, result.timed_out())
}
