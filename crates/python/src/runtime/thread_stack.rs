//! The stack size of threads that run Python.
//!
//! CPython's recursion limit assumes the stack of a thread that Python itself has started. On a smaller stack,
//! recursion through C code (a sort key, `__getattr__`) overflows the stack before it reaches the limit, and the
//! process dies of SIGSEGV instead of raising a RecursionError. Rust's default of 2 MiB is smaller.

use pyo3::prelude::*;
use rustix::process::{getrlimit, Resource};

const MIB: usize = 1 << 20;

/// The minimum: the usual `RLIMIT_STACK`, for which the interpreter's recursion limit is chosen.
const MIN: usize = 8 * MIB;

/// The maximum. Each thread reserves its stack as address space, so an unlimited `RLIMIT_STACK` needs a bound: 1,000
/// threads of this size reserve 64 GiB. Deeper recursion is better answered with an error.
const MAX: usize = 64 * MIB;

/// Returns the stack size for a thread that runs Python, in bytes: `threading.stack_size()` if it was set, else the
/// soft `RLIMIT_STACK`, clamped to 8 to 64 MiB.
pub(crate) fn size(py: Python<'_>) -> usize {
    let size = match threading_stack_size(py) {
        Ok(size @ 1..) => size,
        // `None` means unlimited.
        _ => getrlimit(Resource::Stack).current.map_or(MAX, |limit| usize::try_from(limit).unwrap_or(MAX)),
    };
    size.clamp(MIN, MAX)
}

/// Returns `threading.stack_size()`; 0 if it was not set. The call itself resets the value to 0, so it is set again.
fn threading_stack_size(py: Python<'_>) -> PyResult<usize> {
    let stack_size = py.import("threading")?.getattr("stack_size")?;
    let size: usize = stack_size.call0()?.extract()?;
    if size > 0 {
        stack_size.call1((size,))?;
    }
    Ok(size)
}
