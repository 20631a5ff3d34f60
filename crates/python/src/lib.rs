//! The Python package `amboss`: serves WSGI applications with the server of `amboss-core`.
//!
//! Sockets, HTTP, TLS and waiting need no interpreter; the GIL is held only while the application's code runs. For a
//! request, the server enters the interpreter once: it builds the environ, calls the application and takes the first
//! block of the response. It asks for more blocks when the client has room for them.
//!
//! From the top down, each module importing only modules below it:
//!
//! | module | purpose |
//! |---|---|
//! | `command` | the command line |
//! | `api` | `make_server` and `run_simple` |
//! | `app_loader` | creates the application in the process that serves |
//! | `options` | options of the Python functions as settings of the server |
//! | `guest` | a server that gevent's or eventlet's hub drives |
//! | `failure` | reports of exceptions for the debugger's pages |
//! | `ssl` | TLS by a context of Python's `ssl` module |
//! | `wsgi` | PEP 3333: environ, `start_response`, request and response bodies |
//! | `worker` | request timeouts and limits, reports to the supervisor |
//! | `errors` | exceptions and conversions |
//! | `runtime` | the interpreter: GIL, threads, signals, processes; all unsafe code |

mod api;
mod app_loader;
mod command;
mod errors;
mod failure;
mod guest;
mod options;
mod runtime;
mod ssl;
mod worker;
mod wsgi;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _amboss(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("InputError", py.get_type::<errors::InputError>())?;
    module.add("ClientDisconnected", py.get_type::<errors::ClientDisconnected>())?;
    module.add_class::<wsgi::file_wrapper::FileWrapper>()?;
    module.add_class::<api::Server>()?;
    module.add_class::<guest::Guest>()?;
    module.add_class::<wsgi::task::Task>()?;
    module.add_function(wrap_pyfunction!(api::make_ssl_devcert, module)?)?;
    module.add_function(wrap_pyfunction!(api::run, module)?)?;
    module.add_function(wrap_pyfunction!(command::main, module)?)?;
    module.add_function(wrap_pyfunction!(api::check, module)?)?;
    module.add_function(wrap_pyfunction!(worker::module_reporter::report_files, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::ffi::observe, module)?)?;
    Ok(())
}
