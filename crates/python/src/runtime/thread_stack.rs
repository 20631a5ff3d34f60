//! The stack size of threads that run Python.
//!
//! CPython's recursion limit assumes the stack of a thread that Python itself has started. In a smaller one, recursion
//! through C code (a sort key, `__getattr__`) overflows the stack before it reaches the limit, and ends the process by
//! SIGSEGV instead of a RecursionError. Rust's default of 2 MiB is smaller.

use pyo3::prelude::*;
use rustix::process::{getrlimit, Resource};

const MIB: usize = 1 << 20;

/// The usual `RLIMIT_STACK`, which the interpreter's recursion limits are made for.
const SMALLEST: usize = 8 * MIB;

/// Recursion deeper than this is better answered with an error. Each thread reserves its stack as address space, so an
/// unlimited `RLIMIT_STACK` needs a bound: 1,000 threads of this size reserve 64 GiB.
const LARGEST: usize = 64 * MIB;

/// The stack size of a thread that runs Python, in bytes: `threading.stack_size()` if that was set, otherwise the soft
/// `RLIMIT_STACK`, but from 8 to 64 MiB.
pub(crate) fn size(py: Python<'_>) -> usize {
    let size = match asked(py) {
        Ok(size @ 1..) => size,
        // Unlimited is as large as it gets.
        _ => getrlimit(Resource::Stack).current.map_or(LARGEST, |limit| usize::try_from(limit).unwrap_or(LARGEST)),
    };
    size.clamp(SMALLEST, LARGEST)
}

/// `threading.stack_size()`; 0 when it was not set. Asking for it sets it to 0, so it is set again.
fn asked(py: Python<'_>) -> PyResult<usize> {
    let stack_size = py.import("threading")?.getattr("stack_size")?;
    let size: usize = stack_size.call0()?.extract()?;
    if size > 0 {
        stack_size.call1((size,))?;
    }
    Ok(size)
}
