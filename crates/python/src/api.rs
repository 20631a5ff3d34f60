//! The Rust side of `make_server` and `run_simple`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use amboss::{Listeners, LocalAddr, RunOptions, ServeEnd, ServerBuilder, ShutdownHandle, Worker};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::app_loader::{GuestSlot, LoadedApps, PyAppLoader};
use crate::errors::{from_run_error, from_serve_error};
use crate::guest::{Guest, GuestParts};
use crate::options::{library, make_application, parse_addresses, to_run_options, AppSetup, Options};
use crate::runtime::ffi::with_borrowed_fd;
use crate::runtime::finalize::detach;
use crate::runtime::main_thread::{run_in_thread, serve_forever, stop_at_once, stop_gracefully_first};
use crate::runtime::signals;
use crate::runtime::sync::lock;
use crate::worker::module_reporter::ModuleReporter;
use crate::wsgi::task::TaskHost;

/// The timeout of `handle_request` when none is given: 100 years.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A server that listens, and serves on request.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Server {
    /// `None` while it serves, and after it was closed.
    server: Mutex<Option<amboss::Server>>,
    /// What the server needs as the guest of a hub; `None` if requests run in threads.
    guest: Mutex<Option<GuestParts>>,
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
        let (mut run, logs) = to_run_options(py, &options)?;
        if options.greenlets.is_some() {
            run.settings.runtime.threads = options.worker_connections;
        }
        let addresses = parse_addresses(&addresses)?;
        let listeners = fd.map(duplicate_listener).transpose()?;
        let setup = setup(&options, &run);
        let shutdown = setup.shutdown.clone();
        let app = make_application(py, app, &run, &setup)?;
        let guest = Mutex::new(setup.guest(logs, options.worker_connections, run.use_debugger));
        let builder = ServerBuilder::new(app).bind_all(addresses).options(run);
        let server = detach(py, || match listeners {
            Some(listeners) => builder.listeners(listeners).build(),
            None => builder.build(),
        });
        let server = server.map_err(|error| from_run_error(py, error))?;
        let (handle, local_addrs) = (server.shutdown_handle(), server.local_addrs().to_vec());
        let _ = shutdown.set(handle.clone());
        Ok(Server { server: Mutex::new(Some(server)), guest, handle, local_addrs })
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

    /// Makes the server the guest of the hub of gevent or eventlet, which drives it instead of `serve_forever`. Raises
    /// RuntimeError if its requests run in threads.
    fn become_guest(&self, py: Python<'_>) -> PyResult<Guest> {
        let server = self.take()?;
        let Some(parts) = lock(&self.guest).take() else {
            return Err(PyRuntimeError::new_err("the requests of this server run in threads"));
        };
        Guest::new(py, server, parts, ServeEnd::default())
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

/// Serves an application until the server stops, under a supervisor or without one. If requests run in greenlets, returns
/// the server when it is ready, for its hub to drive.
#[pyfunction]
pub(crate) fn run(
    py: Python<'_>,
    addresses: Vec<String>,
    app: Py<PyAny>,
    options: Options<'_>,
) -> PyResult<Option<Guest>> {
    let (mut run, logs) = to_run_options(py, &options)?;
    // The loader tells it, and a worker prints it, since its supervisor does not know.
    run.guest_of = None;
    let addresses = parse_addresses(&addresses)?;
    let mut setup = setup(&options, &run);
    let is_app = |(_, app): &&(String, Bound<'_, PyAny>)| app.is_callable();
    let hosts = options.hosts.iter().filter(is_app).map(|(host, app)| (host.clone(), app.clone().unbind()));
    let hosts: Vec<(String, Py<PyAny>)> = hosts.collect();
    // Reports what can't be served before anything is started.
    for app in hosts.iter().map(|(_, app)| app).chain([&app]) {
        make_application(py, app.clone_ref(py), &run, &setup)?;
    }
    let (made_for, use_debugger, connections) = (run.clone(), run.use_debugger, options.worker_connections);
    let make = move |py: Python<'_>, worker: &Worker| {
        if let Some(reporter) = ModuleReporter::start(py, worker, None)? {
            setup.after_call = Some(Arc::new(move |py| reporter.report_new(py)));
        }
        let main = make_application(py, app, &made_for, &setup)?;
        let made = |(host, app)| Ok((host, make_application(py, app, &made_for, &setup)?));
        let hosts = hosts.into_iter().map(made).collect::<PyResult<_>>()?;
        let shutdown = setup.shutdown.clone();
        Ok(LoadedApps { main, hosts, shutdown, guest: setup.guest(logs, connections, use_debugger) })
    };
    let slot = GuestSlot::default();
    let loader = PyAppLoader::new(make, slot.clone(), signals::script_installer(&run));
    let builder = ServerBuilder::with_loader(loader).bind_all(addresses).options(run);
    detach(py, || builder.run()).map_err(|error| from_run_error(py, error))?;
    let guest = lock(&slot).take();
    Ok(guest)
}

/// Returns what the applications of a server share.
fn setup(options: &Options<'_>, run: &RunOptions) -> AppSetup {
    AppSetup {
        handler_class: options.request_handler.clone().map(Bound::unbind),
        host: options.greenlets.as_deref().map(|name| Arc::new(TaskHost::new(library(name), run.settings.log.clone()))),
        ..AppSetup::default()
    }
}

/// Raises the errors that the options would cause in a process started later, and prints a line about options that put
/// the user at risk.
#[pyfunction]
pub(crate) fn check(py: Python<'_>, addresses: Vec<String>, options: Options<'_>) -> PyResult<()> {
    let (run, _) = to_run_options(py, &options)?;
    run.check(&parse_addresses(&addresses)?).map_err(|error| from_run_error(py, error))?;
    run.warn();
    Ok(())
}
