//! Creates Python applications in the process that serves them, when the library asks for them.

use std::sync::{Arc, Mutex, OnceLock};

use amboss::{
    AppLoader, Application, RunError, RunErrorKind, ServeEnd, ServeError, ServeErrorKind, Server, Settings,
    ShutdownHandle, Worker,
};
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::errors::{to_app_error, to_run_error};
use crate::guest::{Guest, GuestParts};
use crate::runtime::ffi::attach;
use crate::runtime::sync::lock;
use crate::runtime::{main_thread, thread_stack};

/// A function that installs signal handlers for a server.
type InstallSignals = Box<dyn FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send>;

/// The applications of a process.
pub(crate) struct LoadedApps {
    /// The application for all hosts without one of their own.
    pub(crate) main: Arc<dyn Application>,
    pub(crate) hosts: Vec<(String, Arc<dyn Application>)>,
    /// Receives the handle of the server.
    pub(crate) shutdown: Arc<OnceLock<ShutdownHandle>>,
    /// Set if requests run in greenlets.
    pub(crate) guest: Option<GuestParts>,
}

/// Receives a server that is the guest of a hub. It is driven when no Rust code is on the stack any more.
pub(crate) type GuestSlot = Arc<Mutex<Option<Guest>>>;

/// Creates the application when the library asks for it, and serves while Python's main thread waits for signals.
pub(crate) struct PyAppLoader<F> {
    make: Option<F>,
    /// The target that a spare prepares for.
    spare_target: Option<String>,
    install_signals: Option<InstallSignals>,
    shutdown: Option<Arc<OnceLock<ShutdownHandle>>>,
    hosts: Vec<(String, Arc<dyn Application>)>,
    guest: Option<GuestParts>,
    slot: GuestSlot,
}

impl<F> PyAppLoader<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<LoadedApps>,
{
    /// `make` creates the applications; `install_signals` runs before the server serves. `slot` receives a server whose
    /// requests run in greenlets.
    pub(crate) fn new(
        make: F,
        slot: GuestSlot,
        install_signals: impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static,
    ) -> PyAppLoader<F> {
        let install_signals: InstallSignals = Box::new(install_signals);
        PyAppLoader {
            make: Some(make),
            spare_target: None,
            install_signals: Some(install_signals),
            shutdown: None,
            hosts: Vec::new(),
            guest: None,
            slot,
        }
    }
}

impl<F> PyAppLoader<F> {
    /// Sets what `amboss._spare` prepares a spare worker for: the target of the application that is loaded first.
    pub(crate) fn with_spare_target(self, target: Option<String>) -> PyAppLoader<F> {
        PyAppLoader { spare_target: target, ..self }
    }
}

/// Calls a function of `amboss._spare` that answers with true or false. An exception counts as false: a worker is then
/// started as usual, and reports what is wrong.
fn ask_spare(function: &str, arguments: impl for<'py> PyCallArgs<'py>) -> bool {
    attach(|py| py.import("amboss._spare")?.call_method1(function, arguments)?.extract()).unwrap_or(false)
}

impl<F> AppLoader for PyAppLoader<F>
where
    F: FnOnce(Python<'_>, &Worker) -> PyResult<LoadedApps>,
{
    fn prepare_spare(&mut self, worker: &Worker) -> bool {
        self.spare_target.as_ref().is_some_and(|target| ask_spare("prepare", (target, worker.server_fd())))
    }

    fn start_spare(&mut self, generation: u64) -> bool {
        ask_spare("start", (generation,))
    }

    fn load_app(&mut self, worker: &Worker) -> Result<Arc<dyn Application>, RunError> {
        let Some(make) = self.make.take() else {
            return Err(RunErrorKind::Options("the application was loaded already".into()).into());
        };
        let apps = attach(|py| {
            py.import("amboss._child_environment")?.call_method1("sockets_adopted", (worker.server_fd(),))?;
            make(py, worker)
        });
        let LoadedApps { main, hosts, shutdown, guest } = apps.map_err(to_run_error)?;
        self.shutdown = Some(shutdown);
        self.hosts = hosts;
        self.guest = guest;
        Ok(main)
    }

    fn hosts(&mut self) -> Vec<(String, Arc<dyn Application>)> {
        std::mem::take(&mut self.hosts)
    }

    fn configure(&mut self, settings: &mut Settings) -> Result<(), RunError> {
        // The application may have called `threading.stack_size` while it was imported.
        settings.runtime.thread_stack_size = Some(attach(thread_stack::size));
        if let Some(guest) = &self.guest {
            settings.runtime.threads = guest.connections;
        }
        Ok(())
    }

    fn started(&mut self, server: &Server, worker: &Worker) -> Result<(), RunError> {
        if let Some(shutdown) = &self.shutdown {
            let _ = shutdown.set(server.shutdown_handle());
        }
        let install = self.install_signals.take();
        install.map_or(Ok(()), |install| install(server.shutdown_handle(), worker)).map_err(to_run_error)
    }

    fn guest_of(&self) -> Option<String> {
        self.guest.as_ref().map(|guest| guest.host.library.to_owned())
    }

    fn serve(&mut self, server: Server, end: ServeEnd) -> Result<(), ServeError> {
        let Some(parts) = self.guest.take() else {
            let outcome = attach(|py| main_thread::serve_forever(py, server, main_thread::stop_gracefully_first));
            drop(end);
            return flatten(outcome);
        };
        let guest = attach(|py| Guest::new(py, server, parts, end).map_err(|error| to_app_error(py, error)));
        *lock(&self.slot) = Some(guest.map_err(ServeErrorKind::Application)?);
        Ok(())
    }
}

/// Converts the outcome of a server to one result, where an exception becomes an error of the application.
pub(crate) fn flatten<R>(outcome: PyResult<main_thread::Outcome<R>>) -> Result<R, ServeError> {
    match outcome {
        Ok((_, result)) => result,
        Err(error) => Err(ServeErrorKind::Application(attach(|py| to_app_error(py, error))).into()),
    }
}
