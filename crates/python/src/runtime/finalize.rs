//! Threads of the server that outlive the interpreter.
//!
//! A program may end while a request is stuck, or while a server runs in a daemon thread. A thread that wants to go on
//! in an interpreter that has ended can't. Up to CPython 3.13 it is ended there and then by unwinding its stack, and on
//! the way this library's frames would let go of an interpreter that they don't hold, which aborts the process. From
//! 3.14 on such threads wait forever, and so they do here: the process is about to end.

use std::mem;
use std::thread;

use pyo3::prelude::*;

/// Stands around whatever enters the interpreter. Where a stack is unwound to end its thread, it goes no further.
pub(crate) struct Stay(());

impl Stay {
    pub(crate) fn begin() -> Stay {
        Stay(())
    }

    /// The interpreter was left in good order.
    pub(crate) fn end(self) {
        mem::forget(self);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // A panic unwinds too, and is to be caught.
        if !thread::panicking() {
            wait_for_the_end();
        }
    }
}

/// Waits until the process ends.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// [`Python::detach`] in a thread that the interpreter may not outlive.
pub(crate) fn detach<R: Send>(py: Python<'_>, run: impl FnOnce() -> R + Send) -> R {
    let stay = Stay::begin();
    let result = py.detach(run);
    stay.end();
    result
}
