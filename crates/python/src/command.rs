//! The command `amboss` as the package installs it: the command line is the library's, applications and signals are
//! Python's.

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;

use amboss::cli::{self, AppConfig, HangUp, ReopenLogs, Runner, Signals};
use amboss::{Application, Host, RunError, ServeError, Server, ShutdownHandle, Worker};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use crate::application::{self, PyApplication};
use crate::failure::Failure;
use crate::host::{raised, PyHost};
use crate::overseer::Overseer;
use crate::raw::attach;
use crate::reporting::{self, Reporter};
use crate::server::{self, flush_streams, set_up};
use crate::waiting;

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
    // The application may start processes, too, and want to know how they end.
    signals(py)?.call_method0("notice_ends_of_children")?;
    let mut package = Package { itself, interrupted: false };
    let code = py.detach(|| cli::run(words, &mut package));
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
    fn serve(&mut self, target: &str, mut told: AppConfig) -> Result<(), RunError> {
        let threads = told.options.settings.threads;
        attach(|py| {
            set_up(py, &mut told.options, false, Some(threads));
            if amboss::is_running_from_reloader() || !told.options.wants_supervisor() || told.preload {
                // It ends the import.
                signals(py)?.call_method0("take_interrupts")?;
            }
            PyResult::Ok(())
        })
        .map_err(raised)?;
        if told.preload {
            return serve_copies(target, told);
        }
        let overseer = Overseer::new(&told).map(Arc::new);
        let (target, options) = (target.to_owned(), told.options.clone());
        let make = move |py: Python<'_>, worker: &Worker| {
            let imported = import(py, &target);
            let reporter = reporting::begin(py, worker, imported.as_ref().err())?;
            serving(py, explained(py, &target, imported)?, &options, worker, reporter, overseer.as_ref())
        };
        let host = PyHost::new(make).with_signals(signals_of(&told.options));
        let served = amboss::run_host(&told.addresses, host, told.options);
        self.interrupted = served.as_ref().is_err_and(is_interrupt);
        if self.interrupted {
            return Ok(());
        }
        served
    }

    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError> {
        follow(server.shutdown_handle(), worker, &signals).map_err(raised)
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

    fn respawn_argv(&self) -> Option<Vec<OsString>> {
        Some(self.itself.clone())
    }
}

/// Did CTRL+C end it?
fn is_interrupt(error: &RunError) -> bool {
    let RunError::Serve(ServeError::Application(error)) = error else { return false };
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| attach(|py| failure.error.is_instance_of::<PyKeyboardInterrupt>(py)))
}

/// `--preload`: imports the application once, and serves from copies of this process.
fn serve_copies(target: &str, mut told: AppConfig) -> Result<(), RunError> {
    let app = attach(|py| {
        let app = explained(py, target, import(py, target))?;
        // From here on it is the supervisor's affair.
        signals(py)?.call_method0("leave_interrupts")?;
        PyResult::Ok(app.unbind())
    });
    let app = app.map_err(raised)?;
    let in_copy = told.clone();
    told.options.fork = Some(Arc::new(move |forked| {
        let child = server::fork("os")?;
        if child != 0 {
            return Ok(child.unsigned_abs());
        }
        let code = serve_as_copy(forked, &app, &in_copy);
        // What lies further down belongs to the supervisor.
        attach(|py| signals(py)?.call_method1("end_copy", (code,)).map(drop)).ok();
        std::process::exit(code)
    }));
    amboss::run_host(&told.addresses, Nobody, told.options)
}

/// In the copy: serves until it is told to stop.
fn serve_as_copy(forked: amboss::Forked, app: &Py<PyAny>, told: &AppConfig) -> i32 {
    let (app, options) = (attach(|py| app.clone_ref(py)), told.options.clone());
    // Its jitter is its own.
    let overseer = Overseer::new(told).map(Arc::new);
    let make = move |py: Python<'_>, worker: &Worker| {
        // What came during the import was said to the process that this one is a copy of.
        signals(py)?.call_method0("note_until_served")?;
        serving(py, app.into_bound(py), &options, worker, None, overseer.as_ref())
    };
    let host = PyHost::new(make).with_signals(signals_of(&told.options));
    match amboss::run_forked(forked, host, told.options.clone()) {
        Ok(()) => 0,
        Err(RunError::Exit(code)) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "amboss: {error}");
            1
        }
    }
}

/// The host of a supervisor whose children are copies.
struct Nobody;

impl Host for Nobody {
    fn application(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Err(RunError::Options("a supervisor serves nothing by itself"))
    }
}

fn import<'py>(py: Python<'py>, target: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("amboss._target")?.call_method1("load", (target,))
}

/// Says why an application could not be imported, and ends with the code for that.
fn explained<'py>(py: Python<'py>, target: &str, imported: PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    imported.or_else(|error| {
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            return Err(PySystemExit::new_err(INTERRUPTED));
        }
        let text = py.import("amboss._target")?.call_method1("explain", (target, error.value(py)))?;
        let _ = writeln!(std::io::stderr(), "{text}");
        Err(PySystemExit::new_err(CAN_T_BE_SERVED))
    })
}

/// The application as the server calls it.
fn serving(
    py: Python<'_>,
    app: Bound<'_, PyAny>,
    options: &amboss::RunOptions,
    worker: &Worker,
    reporter: Option<Reporter>,
    overseer: Option<&Arc<Overseer>>,
) -> PyResult<PyApplication> {
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

/// What signals do where these options are served with.
fn signals_of(options: &amboss::RunOptions) -> impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static {
    let signals = Signals::new(options);
    move |handle, worker| follow(handle, worker, &signals)
}

fn signals<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
    py.import("amboss._signals")
}

/// Has Python's handlers do what signals ask for.
fn follow(handle: ShutdownHandle, worker: &Worker, told: &Signals) -> PyResult<()> {
    attach(|py| {
        let hang_up = OnHangUp { hang_up: told.hang_up.clone(), handle: handle.clone(), worker: worker.clone() };
        let stop = Py::new(py, Stop { handle, worker: worker.clone() })?;
        let reopen = Py::new(py, Reopen { reopen: told.reopen_logs.clone() })?;
        let actions = (stop, reopen, Py::new(py, hang_up)?, worker.is_supervised());
        signals(py)?.call_method1("follow", actions).map(drop)
    })
}

/// The same for a script that calls `run_simple`: under a supervisor, or without one, where TERM and HUP have an effect
/// only as long as the script has no handlers of its own for them.
pub(crate) fn signals_of_script(
    options: &amboss::RunOptions,
) -> impl FnOnce(ShutdownHandle, &Worker) -> PyResult<()> + Send + 'static {
    const ADVICE: &str = "serve the application by the command amboss, with --workers 2 or more";
    let hang_up = HangUp::new(options, ADVICE);
    move |handle, worker| {
        if worker.is_supervised() {
            return follow(handle, worker, &Signals { quiet: true, reopen_logs: None, hang_up });
        }
        attach(|py| {
            let hang_up = Py::new(py, OnHangUp { hang_up, handle: handle.clone(), worker: worker.clone() })?;
            let stop = Py::new(py, Stop { handle, worker: worker.clone() })?;
            signals(py)?.call_method1("follow_in_script", (stop, hang_up)).map(drop)
        })
    }
}

/// Stops a server.
#[pyclass(frozen, module = "amboss._amboss")]
struct Stop {
    handle: ShutdownHandle,
    worker: Worker,
}

#[pymethods]
impl Stop {
    fn __call__(&self) {
        self.worker.leave();
        self.handle.shutdown();
    }
}

/// Reopens the log.
#[pyclass(frozen, module = "amboss._amboss")]
struct Reopen {
    reopen: Option<ReopenLogs>,
}

#[pymethods]
impl Reopen {
    fn __call__(&self, py: Python<'_>) {
        py.detach(|| self.reopen.iter().for_each(|reopen| reopen()));
    }
}

/// Does what HUP asks for: of a supervisor another process in this one's place, without one what can be read again.
#[pyclass(frozen, module = "amboss._amboss")]
struct OnHangUp {
    hang_up: HangUp,
    handle: ShutdownHandle,
    worker: Worker,
}

#[pymethods]
impl OnHangUp {
    /// `stays`: the server is to outlive its terminal.
    fn __call__(&self, py: Python<'_>, stays: bool) {
        py.detach(|| {
            if self.worker.is_supervised() {
                self.worker.ask_to_be_replaced();
            } else if !self.hang_up.received() && !stays {
                self.handle.shutdown();
            }
        });
    }
}
