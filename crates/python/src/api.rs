//! The Rust side of `make_server` and `run_simple`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use amboss::{Application, Listeners, LocalAddr, ServerBuilder, ShutdownHandle, Worker};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::app_loader::{LoadedApps, PyAppLoader};
use crate::errors::{from_run_error, from_serve_error};
use crate::options::{make_application, parse_addresses, to_run_options, Options};
use crate::runtime::ffi::with_borrowed_fd;
use crate::runtime::finalize::detach;
use crate::runtime::main_thread::{run_in_thread, serve_forever, stop_at_once, stop_gracefully_first};
use crate::runtime::signals;
use crate::runtime::sync::lock;
use crate::worker::module_reporter::ModuleReporter;

/// The timeout of `handle_request` when none is given: 100 years.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A server that listens, and serves on request.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Server {
    /// `None` while it serves, and after it was closed.
    server: Mutex<Option<amboss::Server>>,
    handle: ShutdownHandle,
    local_addrs: Vec<LocalAddr>,
}

impl Server {
    fn server(&self) -> MutexGuard<'_, Option<amboss::Server>> {
        lock(&self.server)
    }

    fn take(&self) -> PyResult<amboss::Server> {
        let server = self.server().take();
        server.ok_or_else(|| PyRuntimeError::new_err("this server serves already, or was closed"))
    }
}

#[pymethods]
impl Server {
    /// Binds the addresses, or duplicates the listening socket `fd`, which its owner keeps.
    #[new]
    #[pyo3(signature = (addresses, app, options, fd = None))]
    fn new(
        py: Python<'_>,
        addresses: Vec<String>,
        app: Py<PyAny>,
        options: Options<'_>,
        fd: Option<i32>,
    ) -> PyResult<Server> {
        let run = to_run_options(py, &options)?;
        let addresses = parse_addresses(&addresses)?;
        let listeners = fd.map(duplicate_listener).transpose()?;
        let shutdown = Arc::default();
        let app = Arc::new(make_application(py, app, &run, options.request_handler, &shutdown)?);
        let builder = ServerBuilder::new(app).bind_all(addresses).options(run);
        let server = detach(py, || match listeners {
            Some(listeners) => builder.listeners(listeners).build(),
            None => builder.build(),
        });
        let server = server.map_err(|error| from_run_error(py, error))?;
        let (handle, local_addrs) = (server.shutdown_handle(), server.local_addrs().to_vec());
        let _ = shutdown.set(handle.clone());
        Ok(Server { server: Mutex::new(Some(server)), handle, local_addrs })
    }

    /// Returns the bound addresses: `(host, port)`, or `("unix://path", 0)`.
    fn local_addrs(&self) -> Vec<(String, u16)> {
        let addrs = self.local_addrs.iter();
        addrs
            .map(|address| match address {
                LocalAddr::Tcp(address) => (address.ip().to_string(), address.port()),
                other => (other.to_string(), 0),
            })
            .collect()
    }

    /// Serves until `shutdown` is called or CTRL+C is pressed.
    fn serve_forever(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.take()?;
        let (server, result) = serve_forever(py, server, stop_gracefully_first)?;
        *self.server() = server;
        result.map_err(|error| from_serve_error(py, error))
    }

    /// Serves one request; returns False if none arrives within `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn handle_request(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = match timeout {
            None => NO_TIMEOUT,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| PyValueError::new_err("timeout must be a number of seconds, 0 or more, or None"))?,
        };
        let server = self.take()?;
        let run = move |server: &mut amboss::Server| server.handle_request(timeout);
        let (server, result) = run_in_thread(py, server, run, stop_at_once)?;
        *self.server() = server;
        result.map_err(|error| from_serve_error(py, error))
    }

    /// Makes `serve_forever` return after the running requests have finished, at the latest at the shutdown deadline.
    fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// Closes the sockets.
    fn server_close(&self, py: Python<'_>) {
        let server = self.server().take();
        detach(py, || drop(server));
    }
}

/// Duplicates a listening socket.
fn duplicate_listener(number: i32) -> PyResult<Listeners> {
    if number < 0 {
        return Err(PyValueError::new_err(format!("fd must be the number of an open socket, not {number}")));
    }
    let copy = with_borrowed_fd(number, |socket| socket.try_clone_to_owned());
    copy.and_then(|copy| Listeners::adopt([copy]))
        .map_err(|error| PyOSError::new_err(format!("can't listen on descriptor {number}: {error}")))
}

/// Writes a certificate for `host` and `*.host`, or for `cn`, to `base_path.crt` and its key to `base_path.key`.
#[pyfunction]
#[pyo3(signature = (base_path, host = None, cn = None))]
pub(crate) fn make_ssl_devcert(
    base_path: PathBuf,
    host: Option<&str>,
    cn: Option<&str>,
) -> PyResult<(PathBuf, PathBuf)> {
    amboss::make_ssl_devcert(&base_path, host, cn).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Serves an application until the server stops, under a supervisor or without one.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, addresses: Vec<String>, app: Py<PyAny>, options: Options<'_>) -> PyResult<()> {
    let run = to_run_options(py, &options)?;
    let addresses = parse_addresses(&addresses)?;
    let shutdown = Arc::default();
    let make_app = |app: Py<PyAny>| make_application(py, app, &run, options.request_handler.clone(), &shutdown);
    let mut main = make_app(app)?;
    let mut hosts = Vec::new();
    for (host, app) in options.hosts.iter().filter(|(_, app)| app.is_callable()) {
        hosts.push((host.clone(), make_app(app.clone().unbind())?));
    }
    let make = move |py: Python<'_>, worker: &Worker| {
        if let Some(reporter) = ModuleReporter::start(py, worker, None)? {
            let reporter = Arc::new(reporter);
            for application in hosts.iter_mut().map(|(_, app)| app).chain([&mut main]) {
                let reporter = reporter.clone();
                application.set_after_call(move |py| reporter.report_new(py));
            }
        }
        let hosts = hosts.into_iter().map(|(host, app)| (host, Arc::new(app) as Arc<dyn Application>)).collect();
        Ok(LoadedApps { main: Arc::new(main), hosts, shutdown })
    };
    let loader = PyAppLoader::new(make, signals::script_installer(&run));
    let builder = ServerBuilder::with_loader(loader).bind_all(addresses).options(run);
    detach(py, || builder.run()).map_err(|error| from_run_error(py, error))
}

/// Raises the errors that the options would cause in a process started later, and prints a line about options that put
/// the user at risk.
#[pyfunction]
pub(crate) fn check(py: Python<'_>, addresses: Vec<String>, options: Options<'_>) -> PyResult<()> {
    let run = to_run_options(py, &options)?;
    run.check(&parse_addresses(&addresses)?).map_err(|error| from_run_error(py, error))?;
    run.warn();
    Ok(())
}
