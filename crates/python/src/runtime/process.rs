//! Forking, and the output that a forked process must flush before it exits.

use std::io;

use pyo3::prelude::*;

use crate::runtime::ffi::attach;

/// Forks a worker (`--preload`) with `os.fork`, which runs Python's fork hooks. Returns 0 in the child.
pub(crate) fn fork_worker() -> io::Result<i32> {
    fork("os")
}

/// Forks a process that answers one request (`processes`), see `amboss._signals.fork`. Returns 0 in the child.
pub(crate) fn fork_for_request() -> io::Result<i32> {
    fork("amboss._signals")
}

fn fork(module: &str) -> io::Result<i32> {
    attach(|py| py.import(module)?.call_method0("fork")?.extract()).map_err(io::Error::other)
}

/// Flushes Python's standard output and standard error, in a process that ends without finalizing the interpreter.
pub(crate) fn flush_streams(py: Python<'_>) {
    let flush = |name: &str| py.import("sys")?.getattr(name)?.call_method0("flush");
    let _ = (flush("stdout"), flush("stderr"));
}
