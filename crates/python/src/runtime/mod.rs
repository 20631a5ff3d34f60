//! Access to the Python interpreter.

pub(crate) mod contextvars;
pub(crate) mod ffi;
pub(crate) mod finalize;
pub(crate) mod gil;
pub(crate) mod main_thread;
pub(crate) mod thread_stack;
