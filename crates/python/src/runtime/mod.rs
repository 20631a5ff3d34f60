//! Access to the Python interpreter: attaching threads, releasing and probing the GIL, signals, processes.
//!
//! Nothing here knows WSGI, apart from [`ffi::ScopedBorrow`], which needs unsafe code.

pub(crate) mod contextvars;
pub(crate) mod ffi;
pub(crate) mod finalize;
pub(crate) mod gil;
pub(crate) mod main_thread;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod sync;
pub(crate) mod thread_stack;
