//! Context variables (`contextvars`), which frameworks keep the current request in.
//!
//! Between two blocks of a body its thread serves others, and any thread may ask for the next block. So a body takes the
//! context it was begun in along, and its blocks are asked for in that; the thread goes on with a new one. Requests
//! without such a body follow each other in their thread's context, as they do in other servers.

use std::cell::RefCell;

use pyo3::prelude::*;

use crate::runtime::ffi::{enter_context, exit_context, new_context};

thread_local! {
    /// The context that this thread is in, unless a body has taken it.
    static OWN: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// The context of a body, entered for each block.
pub(crate) struct Context(Option<Py<PyAny>>);

impl Context {
    /// Sees to it that this thread has one; before an application is called.
    pub(crate) fn provide(py: Python<'_>) -> PyResult<()> {
        // In a thread that is ending there is nothing to keep.
        let provided = OWN.try_with(|own| {
            let mut own = own.borrow_mut();
            if own.is_none() {
                let context = new_context(py)?;
                enter_context(&context)?;
                *own = Some(context.unbind());
            }
            Ok(())
        });
        provided.unwrap_or(Ok(()))
    }

    /// Takes this thread's along.
    pub(crate) fn take(py: Python<'_>) -> Context {
        let own = OWN.try_with(|own| own.borrow_mut().take()).ok().flatten();
        Context(own.filter(|own| exit_context(own.bind(py)).is_ok()))
    }

    /// Runs something in it.
    pub(crate) fn run<R>(&self, py: Python<'_>, run: impl FnOnce() -> R) -> R {
        let entered = self.0.as_ref().map(|context| context.bind(py)).filter(|context| enter_context(context).is_ok());
        let result = run();
        if let Some(context) = entered {
            // It fails when the application has left it on its own.
            let _ = exit_context(context);
        }
        result
    }
}
