//! Installs Python signal handlers that act on a server; the handlers themselves are in `amboss/_signals.py`.

use amboss::cli::{HangUp, ReopenLogs, Signals};
use amboss::{RunOptions, ShutdownHandle, Worker};
use pyo3::prelude::*;

use crate::runtime::ffi::attach;

/// The advice in the log when a script without a supervisor receives HUP.
const SCRIPT_ADVICE: &str = "serve the application by the command amboss, with --workers 2 or more";

/// Imports `amboss._signals`.
pub(crate) fn module<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
    py.import("amboss._signals")
}

/// Returns a function that installs the handlers of the command, see [`install`].
pub(crate) fn installer(options: &RunOptions) -> impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static {
    let signals = Signals::new(options);
    move |handle, worker| install(handle, worker, &signals)
}

/// Installs the handlers of the command: TERM stops the server, USR1 reopens the log, HUP also reloads the certificate.
pub(crate) fn install(handle: ShutdownHandle, worker: &Worker, signals: &Signals) -> PyResult<()> {
    attach(|py| {
        let hang_up = OnHangUp { hang_up: signals.hang_up.clone(), handle: handle.clone(), worker: worker.clone() };
        let stop = Py::new(py, OnTerminate { handle, worker: worker.clone() })?;
        let reopen = Py::new(py, OnReopen { reopen_logs: signals.reopen_logs.clone() })?;
        let actions = (stop, reopen, Py::new(py, hang_up)?, worker.is_supervised());
        module(py)?.call_method1("install", actions).map(drop)
    })
}

/// Returns a function that installs the handlers of a script that calls `run_simple`. Under a supervisor they are those
/// of the command. Otherwise TERM and HUP have an effect only if the script has installed no handlers for them.
pub(crate) fn script_installer(
    options: &RunOptions,
) -> impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static {
    let hang_up = HangUp::new(options, SCRIPT_ADVICE);
    move |handle, worker| {
        if worker.is_supervised() {
            return install(handle, worker, &Signals { quiet: true, reopen_logs: None, hang_up });
        }
        attach(|py| {
            let hang_up = Py::new(py, OnHangUp { hang_up, handle: handle.clone(), worker: worker.clone() })?;
            let stop = Py::new(py, OnTerminate { handle, worker: worker.clone() })?;
            module(py)?.call_method1("install_in_script", (stop, hang_up)).map(drop)
        })
    }
}

/// The action for TERM: stops the server.
#[pyclass(frozen, module = "amboss._amboss")]
struct OnTerminate {
    handle: ShutdownHandle,
    worker: Worker,
}

#[pymethods]
impl OnTerminate {
    fn __call__(&self) {
        self.worker.announce_exit();
        self.handle.shutdown();
    }
}

/// The action for USR1: reopens the log file.
#[pyclass(frozen, module = "amboss._amboss")]
struct OnReopen {
    reopen_logs: Option<ReopenLogs>,
}

#[pymethods]
impl OnReopen {
    fn __call__(&self, py: Python<'_>) {
        py.detach(|| self.reopen_logs.iter().for_each(|reopen_logs| reopen_logs()));
    }
}

/// The action for HUP: under a supervisor, asks it to replace this process; otherwise, reloads the log file and the
/// certificate.
#[pyclass(frozen, module = "amboss._amboss")]
struct OnHangUp {
    hang_up: HangUp,
    handle: ShutdownHandle,
    worker: Worker,
}

#[pymethods]
impl OnHangUp {
    /// `outlives_terminal`: whether HUP was ignored at the start (`nohup`), so the server must survive its terminal.
    fn __call__(&self, py: Python<'_>, outlives_terminal: bool) {
        py.detach(|| {
            if self.worker.is_supervised() {
                self.worker.request_replacement();
            } else if !self.hang_up.received() && !outlives_terminal {
                self.handle.shutdown();
            }
        });
    }
}
