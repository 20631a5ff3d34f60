//! The one file with unsafe code: threads that the interpreter knows, text and bytes without a copy too many, and what
//! the server lends an application for the time of a call.
//!
//! Each function is safe to call; what makes it so stands with each block.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, TryLockError};

use amboss::{Input, StartResponse};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::runtime::finalize::{detach, wait_for_the_end, Stay};

/// Runs Python code in a thread of the server.
///
/// The interpreter keeps its record of this thread until the thread ends. Without that, each call would make and
/// destroy one, which costs more than everything else here; and what applications keep in `threading.local` would be
/// gone with each request.
pub(crate) fn attach<R>(run: impl FnOnce(Python<'_>) -> R) -> R {
    thread_local! {
        static KNOWN: OnceCell<Known> = const { OnceCell::new() };
    }
    // A thread that is ending does it the slower way.
    let _ = KNOWN.try_with(|known| {
        known.get_or_init(Known::new);
    });
    let around = Stay::begin();
    let result = Python::try_attach(|py| {
        let inside = Stay::begin();
        let result = run(py);
        inside.end();
        result
    });
    around.end();
    result.unwrap_or_else(|| wait_for_the_end())
}

struct Known {
    outermost: Cell<Option<(ffi::PyGILState_STATE, NonNull<ffi::PyThreadState>)>>,
}

impl Known {
    fn new() -> Known {
        // SAFETY: called by a thread that may or may not be attached; `Ensure` is for both. An attached thread (the one
        // that runs Python's own code) is known already and has nothing to keep.
        let outermost = unsafe {
            if ffi::PyGILState_Check() == 1 {
                None
            } else {
                let stay = Stay::begin();
                let state = ffi::PyGILState_Ensure();
                let thread = NonNull::new(ffi::PyEval_SaveThread()).map(|thread| (state, thread));
                stay.end();
                thread
            }
        };
        Known { outermost: Cell::new(outermost) }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let Some((state, thread)) = self.outermost.take() else { return };
        // An interpreter that is gone, or is going, has forgotten its threads by itself.
        if Python::try_attach(|_| ()).is_none() {
            return;
        }
        let stay = Stay::begin();
        // SAFETY: this undoes, in reverse order and in the same thread, what `new` did.
        unsafe {
            ffi::PyEval_RestoreThread(thread.as_ptr());
            ffi::PyGILState_Release(state);
        }
        stay.end();
    }
}

/// A native string of PEP 3333: each byte is the character of the same number.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: pointer and length are one slice's. The result is a new string or null with an exception set.
    let text = unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, std::ptr::null());
        Bound::from_owned_ptr_or_err(py, text)?
    };
    Ok(text.cast_into::<PyString>()?)
}

/// The bytes of a native string; `None` when it has characters beyond them.
pub(crate) fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> Option<std::borrow::Cow<'a, [u8]>> {
    // SAFETY: a string is immutable, and `text` keeps it alive for as long as the slice is borrowed.
    match unsafe { text.data() } {
        Ok(pyo3::types::string::PyStringData::Ucs1(bytes)) => Some(std::borrow::Cow::Borrowed(bytes)),
        _ => None,
    }
}

/// How many references to an object there are.
pub(crate) fn references<T>(object: &Bound<'_, T>) -> usize {
    // SAFETY: the object is alive for as long as it is borrowed, and the interpreter is attached.
    usize::try_from(unsafe { ffi::Py_REFCNT(object.as_ptr()) }).unwrap_or(usize::MAX)
}

/// A context for context variables, empty.
pub(crate) fn new_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the result is a new object or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) }
}

/// Makes a context the one of this thread, until [`exit_context`].
pub(crate) fn enter_context(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: an object that is no context, or is entered already, is refused with an exception.
    succeeded(context.py(), unsafe { ffi::PyContext_Enter(context.as_ptr()) })
}

/// Goes back to the context before this one.
pub(crate) fn exit_context(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: an object that is not this thread's context is refused with an exception.
    succeeded(context.py(), unsafe { ffi::PyContext_Exit(context.as_ptr()) })
}

fn succeeded(py: Python<'_>, code: std::os::raw::c_int) -> PyResult<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(py))
    }
}

/// Makes a `bytes` object of at most `size` bytes, filled piece by piece by other code than Python's.
pub(crate) struct BytesUnderWay<'py> {
    object: Bound<'py, PyAny>,
    size: usize,
    filled: usize,
}

/// Where its bytes go; for a thread that is not attached.
pub(crate) struct Filling<'a> {
    start: *mut u8,
    size: usize,
    filled: &'a mut usize,
}

// SAFETY: the pointer is into an object that only `BytesUnderWay` holds, which is borrowed for as long.
unsafe impl Send for Filling<'_> {}

impl<'py> BytesUnderWay<'py> {
    pub(crate) fn new(py: Python<'py>, size: usize) -> PyResult<BytesUnderWay<'py>> {
        // SAFETY: without a source the object's bytes are not initialised; nobody sees it before `finish`, which cuts it
        // to what was filled.
        let object = unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, object)?
        };
        Ok(BytesUnderWay { object, size, filled: 0 })
    }

    pub(crate) fn filling(&mut self) -> Filling<'_> {
        // SAFETY: the object is a `bytes` object of `size` bytes, and has no other owner.
        let start = unsafe { ffi::PyBytes_AsString(self.object.as_ptr()) }.cast();
        Filling { start, size: self.size, filled: &mut self.filled }
    }

    pub(crate) fn finish(self) -> PyResult<Bound<'py, PyBytes>> {
        let py = self.object.py();
        if self.filled < self.size {
            // SAFETY: so many bytes of the object were written, see `Filling::push`.
            let filled = unsafe {
                std::slice::from_raw_parts(ffi::PyBytes_AsString(self.object.as_ptr()).cast::<u8>(), self.filled)
            };
            return Ok(PyBytes::new(py, filled));
        }
        Ok(self.object.cast_into::<PyBytes>()?)
    }
}

impl Filling<'_> {
    pub(crate) fn filled(&self) -> &[u8] {
        // SAFETY: so many bytes were written, see `push`, and nobody else writes there while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start, *self.filled) }
    }

    pub(crate) fn room(&self) -> usize {
        self.size - *self.filled
    }

    /// Adds what fits of `bytes`; how many that were.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        // SAFETY: `filled + count <= size`, and nothing else refers to that memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(*self.filled), count) };
        *self.filled += count;
        count
    }
}

/// What the server lends the application: used by one thread at a time, and by none after the call.
#[derive(Default)]
pub(crate) struct Lent(Mutex<Option<Loan>>);

struct Loan {
    start_response: NonNull<dyn StartResponse>,
    input: NonNull<Input<'static>>,
}

// SAFETY: both are used under `Lent`'s lock alone, by one thread at a time, while the thread they belong to is inside
// `Lent::lend` and touches neither. What they reach (a socket, buffers, the server's shared state) belongs to no thread.
unsafe impl Send for Loan {}

impl Lent {
    /// Lends both for as long as `run` takes.
    pub(crate) fn lend<R>(
        &self,
        py: Python<'_>,
        start_response: &mut dyn StartResponse,
        input: &mut Input<'_>,
        run: impl FnOnce() -> R,
    ) -> R {
        struct TakeBack<'a, 'py>(&'a Lent, Python<'py>);
        impl Drop for TakeBack<'_, '_> {
            fn drop(&mut self) {
                *self.0.lock(self.1) = None;
            }
        }
        let pointer: *mut (dyn StartResponse + '_) = start_response;
        // SAFETY: only the lifetime changes, which `TakeBack` keeps by hand: it takes the loan back, waiting for whoever
        // uses it, before this function returns or unwinds and the borrows end.
        let loan = unsafe {
            Loan {
                start_response: NonNull::new_unchecked(std::mem::transmute::<
                    *mut (dyn StartResponse + '_),
                    *mut (dyn StartResponse + 'static),
                >(pointer)),
                input: NonNull::from(input).cast(),
            }
        };
        *self.lock(py) = Some(loan);
        let _take_back = TakeBack(self, py);
        run()
    }

    /// Uses what is lent, without giving the interpreter away; `None` after the call.
    pub(crate) fn with<R>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R,
    ) -> Option<R> {
        Lent::open(self.lock(py), run)
    }

    /// Uses what is lent from code that is not attached, and may block.
    pub(crate) fn with_detached<R>(&self, run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R) -> Option<R> {
        Lent::open(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), run)
    }

    fn open<R>(
        mut loan: MutexGuard<'_, Option<Loan>>,
        run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R,
    ) -> Option<R> {
        let loan = loan.as_mut()?;
        // SAFETY: the loan is there, so `lend` is still running and both are alive; the lock makes this the only use.
        let (start_response, input) = unsafe { (loan.start_response.as_mut(), loan.input.as_mut()) };
        Some(run(start_response, input))
    }

    /// Another thread may hold the lock while it waits for the client; the interpreter is not kept from it meanwhile.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<Loan>> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let waited =
                    Waited(detach(py, || Waited(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))).0);
                waited.0
            }
        }
    }
}

/// A guard on its way out of a detached section, in the thread that took it.
struct Waited<'a>(MutexGuard<'a, Option<Loan>>);

// SAFETY: `Python::detach` runs its closure in the calling thread; the guard never changes threads.
unsafe impl Send for Waited<'_> {}

/// Uses a descriptor that a Python object owns.
pub(crate) fn borrow_descriptor<R>(number: i32, run: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> R) -> R {
    assert!(number >= 0, "a file's descriptor");
    // SAFETY: not -1, see above. That it stays open while `run` uses it is its owner's affair; should another thread
    // close it, the calls made with it fail, or reach another open file, as they would in Python.
    run(unsafe { std::os::fd::BorrowedFd::borrow_raw(number) })
}
