//! Context variables (`contextvars`), in which frameworks keep the current request.
//!
//! Between two blocks of a response body, its thread serves other requests, and any thread may produce the next block.
//! A body therefore takes over the context of its call, and every block is produced in that context. The thread
//! continues with a new context. Requests without such a body share their thread's context, as in other servers.

use std::cell::RefCell;

use pyo3::prelude::*;

use crate::runtime::ffi::{enter_context, exit_context, new_context};

thread_local! {
    /// The context that this thread has entered, unless a body has taken it.
    static THREAD_CONTEXT: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// The context of a response body, entered for each block.
pub(crate) struct Context(Option<Py<PyAny>>);

impl Context {
    /// Enters a new context if this thread has none. Called before an application is called.
    pub(crate) fn ensure(py: Python<'_>) -> PyResult<()> {
        // A thread that is ending has no thread-local storage any more, and needs no context.
        let ensured = THREAD_CONTEXT.try_with(|slot| {
            let mut slot = slot.borrow_mut();
            if slot.is_none() {
                let context = new_context(py)?;
                enter_context(&context)?;
                *slot = Some(context.unbind());
            }
            Ok(())
        });
        ensured.unwrap_or(Ok(()))
    }

    /// Exits this thread's context and returns it.
    pub(crate) fn take(py: Python<'_>) -> Context {
        let context = THREAD_CONTEXT.try_with(|slot| slot.borrow_mut().take()).ok().flatten();
        Context(context.filter(|context| exit_context(context.bind(py)).is_ok()))
    }

    /// Runs `run` in this context.
    pub(crate) fn run<R>(&self, py: Python<'_>, run: impl FnOnce() -> R) -> R {
        let entered = self.0.as_ref().map(|context| context.bind(py)).filter(|context| enter_context(context).is_ok());
        let result = run();
        if let Some(context) = entered {
            // This fails if the application has exited the context itself.
            let _ = exit_context(context);
        }
        result
    }
}
