//! The Python package `amboss`: WSGI applications behind the server of `amboss-core`.
//!
//! Sockets, HTTP, TLS and waiting need no interpreter; its lock is taken for the application's own code alone. A request
//! is one stay in the interpreter (`application`), from a dict that is mostly copied (`environ`) to the first block
//! of the answer (`body`); what follows is asked for when the client has room for it.

mod api;
mod app_loader;
mod command;
mod errors;
mod runtime;
mod worker;
mod wsgi;

use std::sync::Arc;

use pyo3::create_exception;
use pyo3::exceptions::{PyConnectionError, PyOSError};
use pyo3::prelude::*;

/// Where the server's log goes.
type Log = Arc<dyn amboss::Log>;

create_exception!(
    amboss,
    InputError,
    PyOSError,
    "The body of a request is cut short, malformed, too large or too slow."
);
create_exception!(amboss, ClientDisconnected, PyConnectionError, "The client has left before it had the whole answer.");

#[pymodule(gil_used = false)]
fn _amboss(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("InputError", py.get_type::<InputError>())?;
    module.add("ClientDisconnected", py.get_type::<ClientDisconnected>())?;
    module.add_class::<wsgi::file_wrapper::FileWrapper>()?;
    module.add_class::<api::Server>()?;
    module.add_function(wrap_pyfunction!(api::make_ssl_devcert, module)?)?;
    module.add_function(wrap_pyfunction!(api::run, module)?)?;
    module.add_function(wrap_pyfunction!(command::main, module)?)?;
    module.add_function(wrap_pyfunction!(api::check, module)?)?;
    Ok(())
}
