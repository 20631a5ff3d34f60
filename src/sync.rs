//! Locks whose holders may panic: the data under each lock is whole wherever a panic can happen, so a poisoned lock is used
//! like any other.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
