//! The only file with unsafe code: thread states, strings and bytes without extra copies, and the borrows that the
//! server hands to an application for the duration of one call.
//!
//! Every function here is safe to call; the argument for that stands at each `unsafe` block.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, TryLockError};

use amboss::{Input, StartResponse};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyBytes, PyString};

use crate::runtime::finalize::{detach, park_forever, FinalizeGuard};
use crate::runtime::sync::lock;

/// Attaches a server thread to the interpreter and runs `run`.
///
/// The thread keeps its Python thread state until it ends. Otherwise every call would create and destroy one, which
/// costs more than everything else here, and applications would lose their `threading.local` data with each request.
pub(crate) fn attach<R>(run: impl FnOnce(Python<'_>) -> R) -> R {
    thread_local! {
        static THREAD_STATE: OnceCell<ThreadState> = const { OnceCell::new() };
    }
    // This fails in a thread that is ending; such a thread attaches without a kept thread state.
    let _ = THREAD_STATE.try_with(|state| {
        state.get_or_init(ThreadState::new);
    });
    let outer = FinalizeGuard::new();
    let result = Python::try_attach(|py| {
        let inner = FinalizeGuard::new();
        let result = run(py);
        inner.disarm();
        result
    });
    outer.disarm();
    result.unwrap_or_else(|| park_forever())
}

/// Receives the audit events of the interpreter (PEP 578), while there is one.
static OBSERVER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);
/// Whether there is an observer. The hook itself can't be removed.
static IS_OBSERVED: AtomicBool = AtomicBool::new(false);

extern "C" {
    /// <https://docs.python.org/3/c-api/sys.html#c.PySys_AddAuditHook>
    fn PySys_AddAuditHook(
        hook: extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// Calls a function with the name and the arguments of each audit event, until it is called with `None`. An exception of
/// the function ends what has raised the event. Events that the function itself raises are not reported.
///
/// A hook of `sys.addaudithook` could not be removed, and would cost a call of Python for each later event.
#[pyfunction]
pub(crate) fn observe(hook: Option<Py<PyAny>>) -> PyResult<()> {
    static INSTALLED: Once = Once::new();
    let is_observed = hook.is_some();
    let previous = std::mem::replace(&mut *lock(&OBSERVER), hook);
    IS_OBSERVED.store(is_observed, Ordering::SeqCst);
    drop(previous);
    // SAFETY: the interpreter is initialized, and this thread is attached to it. The hook is a function of this library,
    // which is never unloaded, and it does not use the data.
    INSTALLED.call_once(|| unsafe {
        PySys_AddAuditHook(report_audit_event, std::ptr::null_mut());
    });
    Ok(())
}

extern "C" fn report_audit_event(event: *const c_char, arguments: *mut ffi::PyObject, _: *mut c_void) -> c_int {
    thread_local! {
        static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_OBSERVED.load(Ordering::Relaxed) || IS_INSIDE.get() || event.is_null() || arguments.is_null() {
        return 0;
    }
    // SAFETY: the interpreter calls a hook in a thread that is attached, with the name of the event as a string that ends
    // with a NUL, and with a borrowed reference to a tuple. Both live until this function returns.
    let (py, event, arguments) = unsafe {
        let py = Python::assume_attached();
        (py, CStr::from_ptr(event), Bound::from_borrowed_ptr(py, arguments))
    };
    let observer = lock(&OBSERVER).as_ref().map(|observer| observer.clone_ref(py));
    let Some(observer) = observer else { return 0 };
    IS_INSIDE.set(true);
    let called = observer.bind(py).call1((event.to_string_lossy(), arguments));
    IS_INSIDE.set(false);
    match called {
        Ok(_) => 0,
        Err(error) => {
            error.restore(py);
            -1
        }
    }
}

/// A Python thread state that is kept until its thread ends.
struct ThreadState {
    /// `None` in a thread that Python itself has started.
    kept: Cell<Option<(ffi::PyGILState_STATE, NonNull<ffi::PyThreadState>)>>,
}

impl ThreadState {
    fn new() -> ThreadState {
        // SAFETY: `PyGILState_Check` and `PyGILState_Ensure` may be called by any thread, attached or not. A thread
        // that is attached already has a thread state of its own, and nothing is kept for it. `PyEval_SaveThread`
        // requires an attached thread; it is called right after `PyGILState_Ensure`, which attaches the thread.
        let kept = unsafe {
            if ffi::PyGILState_Check() == 1 {
                None
            } else {
                let guard = FinalizeGuard::new();
                let gil_state = ffi::PyGILState_Ensure();
                let kept = NonNull::new(ffi::PyEval_SaveThread()).map(|thread| (gil_state, thread));
                guard.disarm();
                kept
            }
        };
        ThreadState { kept: Cell::new(kept) }
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        let Some((gil_state, thread)) = self.kept.take() else { return };
        // An interpreter that is finalized, or is being finalized, frees all thread states itself.
        if Python::try_attach(|_| ()).is_none() {
            return;
        }
        let guard = FinalizeGuard::new();
        // SAFETY: this reverts, in reverse order and in the same thread, the two calls that `new` made.
        unsafe {
            ffi::PyEval_RestoreThread(thread.as_ptr());
            ffi::PyGILState_Release(gil_state);
        }
        guard.disarm();
    }
}

/// Makes a native string of PEP 3333: each byte becomes the character with the same number.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: pointer and length come from one slice. The result is a new reference, or null with an exception set.
    let text = unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, std::ptr::null());
        Bound::from_owned_ptr_or_err(py, text)?
    };
    Ok(text.cast_into::<PyString>()?)
}

/// Returns the bytes of a native string; `None` if it contains characters outside Latin-1.
pub(crate) fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> Option<Cow<'a, [u8]>> {
    // SAFETY: a Python string is immutable, and `text` keeps it alive while the slice is borrowed.
    match unsafe { text.data() } {
        Ok(PyStringData::Ucs1(bytes)) => Some(Cow::Borrowed(bytes)),
        _ => None,
    }
}

/// Returns an object's reference count.
pub(crate) fn ref_count<T>(object: &Bound<'_, T>) -> usize {
    // SAFETY: the borrow keeps the object alive, and `Bound` proves that the thread is attached.
    usize::try_from(unsafe { ffi::Py_REFCNT(object.as_ptr()) }).unwrap_or(usize::MAX)
}

/// Makes an empty context for context variables.
pub(crate) fn new_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the result is a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) }
}

/// Makes `context` this thread's context until [`exit_context`].
pub(crate) fn enter_context(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the call fails with an exception if the object is not a context, or has been entered already.
    check(context.py(), unsafe { ffi::PyContext_Enter(context.as_ptr()) })
}

/// Restores the context that was active before `context` was entered.
pub(crate) fn exit_context(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the call fails with an exception if the object is not this thread's context.
    check(context.py(), unsafe { ffi::PyContext_Exit(context.as_ptr()) })
}

fn check(py: Python<'_>, code: c_int) -> PyResult<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(py))
    }
}

/// Builds a `bytes` object of at most `size` bytes, which are written in pieces by code that is not attached.
pub(crate) struct BytesBuilder<'py> {
    object: Bound<'py, PyAny>,
    size: usize,
    filled: usize,
}

/// Writes into the buffer of a [`BytesBuilder`]; may be used by a thread that is not attached.
pub(crate) struct BytesWriter<'a> {
    start: *mut u8,
    size: usize,
    filled: &'a mut usize,
}

// SAFETY: the pointer is into an object that only the `BytesBuilder` holds, which is mutably borrowed by this writer.
unsafe impl Send for BytesWriter<'_> {}

impl<'py> BytesBuilder<'py> {
    pub(crate) fn new(py: Python<'py>, size: usize) -> PyResult<BytesBuilder<'py>> {
        // SAFETY: with a null source, the object's bytes are uninitialised. No other code sees the object before
        // `finish`, which returns only the bytes that were written.
        let object = unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, object)?
        };
        Ok(BytesBuilder { object, size, filled: 0 })
    }

    pub(crate) fn writer(&mut self) -> BytesWriter<'_> {
        // SAFETY: the object is a `bytes` object of `size` bytes, and has no other owner.
        let start = unsafe { ffi::PyBytes_AsString(self.object.as_ptr()) }.cast();
        BytesWriter { start, size: self.size, filled: &mut self.filled }
    }

    pub(crate) fn finish(self) -> PyResult<Bound<'py, PyBytes>> {
        let py = self.object.py();
        if self.filled < self.size {
            // SAFETY: the first `filled` bytes of the object have been written, see `BytesWriter::push`.
            let filled = unsafe {
                std::slice::from_raw_parts(ffi::PyBytes_AsString(self.object.as_ptr()).cast::<u8>(), self.filled)
            };
            return Ok(PyBytes::new(py, filled));
        }
        Ok(self.object.cast_into::<PyBytes>()?)
    }
}

impl BytesWriter<'_> {
    /// Returns the bytes written so far.
    pub(crate) fn filled(&self) -> &[u8] {
        // SAFETY: the first `filled` bytes have been written, see `push`, and only `self` can write more.
        unsafe { std::slice::from_raw_parts(self.start, *self.filled) }
    }

    /// Returns how many more bytes fit.
    pub(crate) fn remaining(&self) -> usize {
        self.size - *self.filled
    }

    /// Appends as much of `bytes` as fits, and returns its length.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.remaining());
        // SAFETY: `filled + count <= size`, and nothing else refers to that memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(*self.filled), count) };
        *self.filled += count;
        count
    }
}

/// A slot through which Python objects reach borrows of the server (its `start_response` and the request body) during
/// one application call: used by one thread at a time, and empty after the call.
#[derive(Default)]
pub(crate) struct ScopedBorrow(Mutex<Option<Borrowed>>);

struct Borrowed {
    start_response: NonNull<dyn StartResponse>,
    input: NonNull<Input<'static>>,
}

// SAFETY: both pointers are used only under the lock of `ScopedBorrow`, so by one thread at a time, while the thread
// that owns the borrows is inside `ScopedBorrow::lend` and uses neither. The data behind them (a socket, buffers, the
// server's shared state) is not tied to a thread.
unsafe impl Send for Borrowed {}

impl ScopedBorrow {
    /// Makes both borrows available while `run` runs.
    pub(crate) fn lend<R>(
        &self,
        py: Python<'_>,
        start_response: &mut dyn StartResponse,
        input: &mut Input<'_>,
        run: impl FnOnce() -> R,
    ) -> R {
        struct Clear<'a, 'py>(&'a ScopedBorrow, Python<'py>);
        impl Drop for Clear<'_, '_> {
            fn drop(&mut self) {
                *self.0.lock(self.1) = None;
            }
        }
        let pointer: *mut (dyn StartResponse + '_) = start_response;
        // SAFETY: only the lifetimes change. `Clear` enforces them at run time: before this function returns or
        // unwinds, and so before the borrows end, it takes the lock, which waits for any thread that uses them, and
        // empties the slot.
        let borrowed = unsafe {
            Borrowed {
                start_response: NonNull::new_unchecked(std::mem::transmute::<
                    *mut (dyn StartResponse + '_),
                    *mut (dyn StartResponse + 'static),
                >(pointer)),
                input: NonNull::from(input).cast(),
            }
        };
        *self.lock(py) = Some(borrowed);
        let _clear = Clear(self, py);
        run()
    }

    /// Uses the borrows without releasing the GIL; `None` after the call.
    pub(crate) fn with<R>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R,
    ) -> Option<R> {
        ScopedBorrow::open(self.lock(py), run)
    }

    /// Uses the borrows from a thread that is not attached and may block; `None` after the call.
    pub(crate) fn with_detached<R>(&self, run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R) -> Option<R> {
        ScopedBorrow::open(lock(&self.0), run)
    }

    fn open<R>(
        mut slot: MutexGuard<'_, Option<Borrowed>>,
        run: impl FnOnce(&mut dyn StartResponse, &mut Input<'_>) -> R,
    ) -> Option<R> {
        let borrowed = slot.as_mut()?;
        // SAFETY: the slot is full, so `lend` is still running and both borrows are valid; the lock makes this their
        // only use.
        let (start_response, input) = unsafe { (borrowed.start_response.as_mut(), borrowed.input.as_mut()) };
        Some(run(start_response, input))
    }

    /// Locks the slot. Another thread may hold the lock while it waits for the client, so this waits without the GIL.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<Borrowed>> {
        match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => detach(py, || SendGuard(lock(&self.0))).0,
        }
    }
}

/// A mutex guard that a detached section returns to the thread that ran it.
struct SendGuard<'a>(MutexGuard<'a, Option<Borrowed>>);

// SAFETY: `Python::detach` runs its closure in the calling thread, so the guard never changes threads.
unsafe impl Send for SendGuard<'_> {}

/// The size of a block of the interpreter's data stack (`DATA_STACK_CHUNK_SIZE` of CPython 3.11 and later), in bytes.
const DATA_STACK_BLOCK: usize = 16 * 1024;

/// The maximum number of blocks that are kept: those of as many greenlets as run one after the other in a burst.
const MAX_KEPT_BLOCKS: usize = 64;

/// The blocks that are kept, by their addresses.
static KEPT_BLOCKS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// The allocator that [`keep_data_stacks`] has wrapped.
static SYSTEM_ALLOCATOR: OnceLock<WrappedAllocator> = OnceLock::new();

struct WrappedAllocator {
    /// The address of its context.
    context: usize,
    allocate: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void, usize),
}

impl WrappedAllocator {
    fn context(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.context)
    }
}

/// Keeps freed blocks of the interpreter's data stack for reuse. Each greenlet has such a stack from CPython 3.11 on, which
/// is mapped for its first call and unmapped at its end; for a request that does not wait, that took 10 of 16 µs.
pub(crate) fn keep_data_stacks(_: Python<'_>) {
    if SYSTEM_ALLOCATOR.get().is_some() {
        return;
    }
    let mut found = ffi::PyObjectArenaAllocator { ctx: std::ptr::null_mut(), alloc: None, free: None };
    // SAFETY: the call fills the struct; `Python` proves that the thread is attached.
    unsafe { ffi::PyObject_GetArenaAllocator(&mut found) };
    let (Some(allocate), Some(free)) = (found.alloc, found.free) else { return };
    let context = found.ctx.expose_provenance();
    if SYSTEM_ALLOCATOR.set(WrappedAllocator { context, allocate, free }).is_err() {
        return;
    }
    let mut keeping =
        ffi::PyObjectArenaAllocator { ctx: std::ptr::null_mut(), alloc: Some(allocate_block), free: Some(free_block) };
    // SAFETY: the functions live as long as the process, and return and accept what the wrapped allocator's do.
    unsafe { ffi::PyObject_SetArenaAllocator(&mut keeping) };
}

extern "C" fn allocate_block(_: *mut c_void, size: usize) -> *mut c_void {
    if size == DATA_STACK_BLOCK {
        if let Some(address) = lock(&KEPT_BLOCKS).pop() {
            return std::ptr::with_exposed_provenance_mut(address);
        }
    }
    SYSTEM_ALLOCATOR.get().map_or(std::ptr::null_mut(), |system| (system.allocate)(system.context(), size))
}

/// Frees a block of the wrapped allocator, unless it is kept. Such a block may be older than this function.
extern "C" fn free_block(_: *mut c_void, block: *mut c_void, size: usize) {
    if size == DATA_STACK_BLOCK && !block.is_null() {
        let mut kept = lock(&KEPT_BLOCKS);
        if kept.len() < MAX_KEPT_BLOCKS {
            kept.push(block.expose_provenance());
            return;
        }
    }
    if let Some(system) = SYSTEM_ALLOCATOR.get() {
        (system.free)(system.context(), block, size);
    }
}

/// Runs `run` with a file descriptor that a Python object owns.
pub(crate) fn with_borrowed_fd<R>(number: i32, run: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
    assert!(number >= 0, "a file descriptor must not be negative");
    // SAFETY: the number is not -1, see above. The object that owns the descriptor is responsible for keeping it open
    // while `run` uses it. If another thread closes it, calls with it fail or reach another open file, as in Python.
    run(unsafe { BorrowedFd::borrow_raw(number) })
}
