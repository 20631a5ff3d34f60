//! Threads of the server that outlive the interpreter.
//!
//! A program may end while a request hangs, or while a server runs in a daemon thread. A thread can't enter an
//! interpreter that has been finalized. Up to CPython 3.13, the interpreter ends such a thread by unwinding its stack;
//! on the way, PyO3's frames would release a GIL that they don't hold, which aborts the process. From 3.14 on, the
//! interpreter parks such threads forever. The guard here does the same on all versions: the process is about to end.

use std::mem;
use std::thread;

use pyo3::prelude::*;

/// Guards a call into the interpreter: parks the thread when its stack is unwound to end it.
pub(crate) struct FinalizeGuard(());

impl FinalizeGuard {
    pub(crate) fn new() -> FinalizeGuard {
        FinalizeGuard(())
    }

    /// Disarms the guard after the call has returned normally.
    pub(crate) fn disarm(self) {
        mem::forget(self);
    }
}

impl Drop for FinalizeGuard {
    fn drop(&mut self) {
        // A panic unwinds as well; it continues to the server's `catch_unwind`.
        if !thread::panicking() {
            park_forever();
        }
    }
}

/// Parks this thread until the process ends.
pub(crate) fn park_forever() -> ! {
    loop {
        thread::park();
    }
}

/// Calls [`Python::detach`] under a [`FinalizeGuard`]: the interpreter may be finalized while this thread is detached.
pub(crate) fn detach<R: Send>(py: Python<'_>, run: impl FnOnce() -> R + Send) -> R {
    let guard = FinalizeGuard::new();
    let result = py.detach(run);
    guard.disarm();
    result
}
