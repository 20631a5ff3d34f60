//! The command `amboss` as the package installs it: the command line is the library's, applications and signals are
//! Python's.

use std::ffi::OsString;
use std::sync::Arc;

use amboss::command::{self, ReopenLogs, Runner, Signals, Told};
use amboss::{RunError, ServeError, Server, ShutdownHandle, Worker};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use crate::application::{self, PyApplication};
use crate::failure::Failure;
use crate::host::{raised, PyHost};
use crate::overseer::Overseer;
use crate::raw::attach;
use crate::server::{self, flush_streams, set_up};
use crate::{reporting, waiting};

/// Exit code of a command whose application can't be served.
const CAN_T_BE_SERVED: i32 = 2;
/// Exit code of a command that CTRL+C ends at once: the second one, or the first while nothing is served yet.
const INTERRUPTED: u8 = 130;

/// Does what the command line asks for; returns the exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let itself = vec![executable(py)?, "-m".into(), "amboss".into()];
    let words = std::iter::once(OsString::from("amboss")).chain(arguments);
    // Until it is clear whose affair CTRL+C is. Where a supervisor runs, that hears it, and is no Python.
    signals(py)?.call_method0("leave_interrupts")?;
    let mut package = Package { itself, interrupted: false };
    let code = py.detach(|| command::run(words, &mut package));
    let code = if package.interrupted { INTERRUPTED } else { code };
    if application::running() > 0 {
        // What still runs would be torn out of the interpreter while that is taken down.
        flush_streams(py);
        py.import("os")?.call_method1("_exit", (code,))?;
    }
    Ok(code)
}

fn executable(py: Python<'_>) -> PyResult<OsString> {
    py.import("sys")?.getattr("executable")?.extract()
}

struct Package {
    itself: Vec<OsString>,
    /// The second CTRL+C has come.
    interrupted: bool,
}

impl Runner for Package {
    fn serve(&mut self, target: &str, mut told: Told) -> Result<(), RunError> {
        let threads = told.options.settings.threads;
        let overseer = Overseer::new(&told).map(Arc::new);
        attach(|py| {
            set_up(py, &mut told.options, false, Some(threads));
            if amboss::is_running_from_reloader() || !told.options.wants_supervisor() {
                // It ends the import.
                signals(py)?.call_method0("take_interrupts")?;
            }
            PyResult::Ok(())
        })
        .map_err(raised)?;
        let (target, options) = (target.to_owned(), told.options.clone());
        let make = move |py: Python<'_>, worker: &Worker| load(py, &target, &options, worker, overseer.as_ref());
        let is_supervised = amboss::is_running_from_reloader();
        let signals = Signals { quiet: told.options.quiet, reopen_logs: told.options.reopen_logs.clone() };
        let host = PyHost::new(make).with_signals(move |handle| follow(handle, &signals, is_supervised));
        let served = amboss::run_host(&told.addresses, host, told.options);
        self.interrupted = served.as_ref().is_err_and(is_interrupt);
        if self.interrupted {
            return Ok(());
        }
        served
    }

    fn started(&mut self, server: &Server, signals: Signals) -> Result<(), RunError> {
        follow(server.shutdown_handle(), &signals, amboss::is_running_from_reloader()).map_err(raised)
    }

    fn wait(&mut self, server: Server) -> Result<(), ServeError> {
        let served = attach(|py| {
            let served = waiting::serve(py, server, waiting::graceful_first);
            self.interrupted = served.as_ref().is_err_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py));
            served
        });
        if self.interrupted {
            return Ok(());
        }
        waiting::flatten(served)
    }

    fn itself(&self) -> Option<Vec<OsString>> {
        Some(self.itself.clone())
    }
}

/// Did CTRL+C end it?
fn is_interrupt(error: &RunError) -> bool {
    let RunError::Serve(ServeError::Application(error)) = error else { return false };
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| attach(|py| failure.error.is_instance_of::<PyKeyboardInterrupt>(py)))
}

/// Imports the application in the process that serves; says why when it can't be.
fn load(
    py: Python<'_>,
    target: &str,
    options: &amboss::RunOptions,
    worker: &Worker,
    overseer: Option<&Arc<Overseer>>,
) -> PyResult<PyApplication> {
    let loaded = py.import("amboss._target")?.call_method1("load", (target,));
    let reporter = reporting::begin(py, worker, loaded.as_ref().err())?;
    let app = match loaded {
        Ok(app) => app,
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            return Err(PySystemExit::new_err(INTERRUPTED))
        }
        Err(error) => {
            let text = py.import("amboss._target")?.call_method1("explain", (target, error.value(py)))?;
            eprintln!("{text}");
            return Err(PySystemExit::new_err(CAN_T_BE_SERVED));
        }
    };
    let mut application = server::application(py, app.unbind(), options, None)?;
    if let Some(reporter) = reporter {
        application.after(move |py| reporter.look(py));
    }
    if let Some(overseer) = overseer {
        overseer.begin(worker.clone(), options.settings.log.clone(), application.shutdown.clone());
        application.oversee(overseer.clone());
    }
    Ok(application)
}

fn signals<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
    py.import("amboss._signals")
}

/// Has Python's handlers do what signals ask for.
fn follow(handle: ShutdownHandle, told: &Signals, is_supervised: bool) -> PyResult<()> {
    attach(|py| {
        let stop = Py::new(py, Stop { handle })?;
        let reopen = match (&told.reopen_logs, is_supervised) {
            // Under a supervisor the order comes from there.
            (Some(reopen), false) => Some(Py::new(py, Reopen { reopen: reopen.clone() })?),
            _ => None,
        };
        signals(py)?.call_method1("follow", (stop, reopen, is_supervised)).map(drop)
    })
}

/// The same for a script that calls `run_simple` under a supervisor.
pub(crate) fn follow_as_child(handle: ShutdownHandle) -> PyResult<()> {
    follow(handle, &Signals { quiet: true, reopen_logs: None }, true)
}

/// And for one that has no supervisor: TERM stops it like CTRL+C.
pub(crate) fn follow_term(handle: ShutdownHandle) -> PyResult<()> {
    attach(|py| signals(py)?.call_method1("term_stops", (Py::new(py, Stop { handle })?,)).map(drop))
}

/// Stops a server.
#[pyclass(frozen, module = "amboss._amboss")]
struct Stop {
    handle: ShutdownHandle,
}

#[pymethods]
impl Stop {
    fn __call__(&self) {
        self.handle.shutdown();
    }
}

/// Reopens the log.
#[pyclass(frozen, module = "amboss._amboss")]
struct Reopen {
    reopen: ReopenLogs,
}

#[pymethods]
impl Reopen {
    fn __call__(&self, py: Python<'_>) {
        py.detach(|| (self.reopen)());
    }
}
