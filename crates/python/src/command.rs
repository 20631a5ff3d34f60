//! The command `amboss` of the package: the library parses the command line, this module loads the application and
//! handles signals in Python.

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;

use amboss::cli::{self, AppConfig, Runner, Signals, WorkerClass};
use amboss::{
    AppLoader, Application, RunError, RunErrorKind, ServeError, ServeErrorKind, Server, ServerBuilder, SourceKnowledge,
    Worker,
};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;

use crate::app_loader::{flatten, GuestSlot, LoadedApps, PyAppLoader};
use crate::errors::{to_run_error, AppException};
use crate::guest::Guest;
use crate::options::{apply_python_settings, library, make_application, AppSetup};
use crate::runtime::ffi::attach;
use crate::runtime::process::{flush_streams, fork_worker};
use crate::runtime::sync::lock;
use crate::runtime::{main_thread, signals};
use crate::worker::in_flight;
use crate::worker::module_reporter::ModuleReporter;
use crate::worker::python_sources::PythonSources;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::application::AfterCall;
use crate::wsgi::task::TaskHost;

/// Runs the command without modules of the working directory, which `-m` would search first.
const WITHOUT_DIRECTORY: &str =
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from amboss.__main__ import main; sys.exit(main())";
/// The exit code if the application can't be loaded.
const EXIT_NO_APPLICATION: i32 = 2;
/// The default maximum number of requests that run at once in greenlets, as in gunicorn.
const DEFAULT_CONNECTIONS: usize = 1000;
/// The exit code if CTRL+C ends the command at once: the second one, or the first before it serves.
const EXIT_INTERRUPTED: u8 = 130;

/// Runs the command line and returns the exit code. If requests run in greenlets, returns the server when it is ready, for
/// its hub to drive.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<(u8, Option<Guest>)> {
    let respawn_command = vec![sys_executable(py)?, "-m".into(), "amboss".into()];
    let words = std::iter::once(OsString::from("amboss")).chain(arguments);
    // CTRL+C is ignored until it is known which process handles it. A supervisor, if there is one, handles CTRL+C
    // without Python.
    signals::module(py)?.call_method0("discard_interrupts")?;
    // The application may start processes and wait for them.
    signals::module(py)?.call_method0("restore_sigchld")?;
    let slot = GuestSlot::default();
    let mut runner = PyRunner { respawn_command, interrupted: false, slot: slot.clone() };
    let code = py.detach(|| cli::run(words, &mut runner));
    let code = if runner.interrupted { EXIT_INTERRUPTED } else { code };
    if in_flight::count() > 0 {
        // Requests are still running. Finalizing the interpreter would interrupt their threads at arbitrary points.
        flush_streams(py);
        py.import("os")?.call_method1("_exit", (code,))?;
    }
    let guest = lock(&slot).take();
    Ok((code, guest))
}

fn sys_executable(py: Python<'_>) -> PyResult<OsString> {
    py.import("sys")?.getattr("executable")?.extract()
}

/// Serves Python applications for the command line.
struct PyRunner {
    /// The command that starts `amboss` again, without its arguments.
    respawn_command: Vec<OsString>,
    /// Whether CTRL+C has ended the server at once.
    interrupted: bool,
    slot: GuestSlot,
}

impl Runner for PyRunner {
    fn serve(&mut self, target: Option<&str>, mut config: AppConfig) -> Result<(), RunError> {
        let threads = config.options.settings.runtime.threads;
        attach(|py| {
            if config.options.use_debugger {
                // Otherwise Flask answers failures itself. It reads the variable when an application is made.
                py.import("os")?.getattr("environ")?.call_method1("setdefault", ("FLASK_DEBUG", "1"))?;
            }
            apply_python_settings(py, &mut config.options, Some(threads));
            let is_worker = amboss::is_running_from_reloader() || !config.options.wants_supervisor(&config.plan);
            if is_worker || config.preload || config.check {
                // This process imports the application, and CTRL+C must end the import.
                signals::module(py)?.call_method0("raise_interrupts")?;
                if let Some(library) = config.worker_class.and_then(WorkerClass::library) {
                    // Before the application is imported, so that it imports what has been replaced.
                    py.import("amboss._monkey_patching")?.call_method1("patch", (library,))?;
                }
            }
            PyResult::Ok(())
        })
        .map_err(|error| match attach(|py| error.is_instance_of::<PyKeyboardInterrupt>(py)) {
            true => RunErrorKind::Exit(EXIT_INTERRUPTED.into()).into(),
            false => to_run_error(error),
        })?;
        let targets = Targets::new(target, &config);
        if config.check {
            return check(&targets, &config);
        }
        if config.preload {
            return serve_preloaded(targets, config);
        }
        let watchdog = Watchdog::new(&config).map(Arc::new);
        let options = config.options.clone();
        let (class, conflict) = (config.worker_class, config.greenlet_conflict.clone());
        let connections = config.worker_connections;
        // Werkzeug's console keeps the frames of earlier requests, so it works in a single process only.
        let has_console = options.use_debugger && options.workers <= 1;
        let spare_target = targets.main.clone();
        let make = move |py: Python<'_>, worker: &Worker| {
            let loaded = targets.load(py);
            let reporter = ModuleReporter::start(py, worker, loaded.as_ref().err().map(|(_, error)| error))?;
            let mut apps = explain_failure(py, loaded)?;
            if has_console {
                let console = py.import("amboss._console")?;
                apps = console.call_method1("with_console", (apps, options.debug_anywhere))?.extract()?;
            }
            let greenlets = greenlets_of(py, class, conflict)?;
            check_connections(connections, greenlets)?;
            let setup = AppSetup {
                after_call: reporter
                    .map(|reporter| Arc::new(move |py: Python<'_>| reporter.report_new(py)) as AfterCall),
                watchdog,
                host: greenlets.map(|library| Arc::new(TaskHost::new(library, options.settings.log.clone()))),
                ..AppSetup::default()
            };
            targets.prepare(py, apps, &options, worker, setup, connections.unwrap_or(DEFAULT_CONNECTIONS))
        };
        let loader = PyAppLoader::new(make, self.slot.clone(), signals::installer(&config.options))
            .with_spare_target(spare_target);
        let served = ServerBuilder::with_loader(loader)
            .bind_all(config.addresses)
            .options(config.options)
            .launch(config.plan)
            .run();
        self.interrupted = served.as_ref().is_err_and(is_interrupt);
        if self.interrupted {
            return Ok(());
        }
        served
    }

    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError> {
        signals::install(server.shutdown_handle(), worker, &signals).map_err(to_run_error)
    }

    fn set_variable(&mut self, name: &str, value: &str) {
        // Python has a copy of the environment, and changes both.
        let set = |py: Python<'_>| py.import("os")?.getattr("environ")?.set_item(name, value);
        if let Err(error) = attach(set) {
            let _ = writeln!(std::io::stderr(), "amboss: can't set the variable {name}: {error}");
        }
    }

    fn wait(&mut self, server: Server) -> Result<(), ServeError> {
        let outcome = attach(|py| {
            let outcome = main_thread::serve_forever(py, server, main_thread::stop_gracefully_first);
            self.interrupted = outcome.as_ref().is_err_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py));
            outcome
        });
        if self.interrupted {
            return Ok(());
        }
        flatten(outcome)
    }

    fn respawn_argv(&self, as_root: bool) -> Option<Vec<OsString>> {
        let mut argv = self.respawn_command.clone();
        if as_root {
            argv.splice(1.., ["-c".into(), WITHOUT_DIRECTORY.into()]);
        }
        Some(argv)
    }

    fn sources(&self) -> Option<Arc<dyn SourceKnowledge>> {
        Some(Arc::new(PythonSources))
    }
}

/// Imports the applications without serving them.
fn check(targets: &Targets, config: &AppConfig) -> Result<(), RunError> {
    #[cfg(target_os = "linux")]
    if let Some(run_as) = &config.options.run_as {
        run_as.apply()?;
    }
    let imported = attach(|py| {
        explain_failure(py, targets.load(py))?;
        let greenlets = greenlets_of(py, config.worker_class, config.greenlet_conflict.clone())?;
        check_connections(config.worker_connections, greenlets)
    });
    imported.map_err(to_run_error)?;
    let _ = writeln!(std::io::stderr(), "amboss: the configuration is valid, and the application can be imported");
    Ok(())
}

/// Whether CTRL+C has ended the server.
fn is_interrupt(error: &RunError) -> bool {
    let RunErrorKind::Serve(error) = error.kind() else { return false };
    let ServeErrorKind::Application(error) = error.kind() else { return false };
    error.downcast_ref::<AppException>().is_some_and(AppException::is_interrupt)
}

/// Serves with `--preload`: imports the applications once, and forks the workers from this process.
fn serve_preloaded(targets: Targets, mut config: AppConfig) -> Result<(), RunError> {
    let apps = attach(|py| {
        let apps = explain_failure(py, targets.load(py))?;
        // An application that needs greenlets is refused.
        greenlets_of(py, config.worker_class, config.greenlet_conflict.clone())?;
        // From now on the supervisor handles CTRL+C.
        signals::module(py)?.call_method0("discard_interrupts")?;
        PyResult::Ok(apps.into_iter().map(Bound::unbind).collect::<Vec<_>>())
    });
    let apps = apps.map_err(to_run_error)?;
    let worker_config = config.clone();
    config.plan.fork = Some(Arc::new(move |forked| {
        let child = fork_worker()?;
        if child != 0 {
            return Ok(child.unsigned_abs());
        }
        let code = serve_in_fork(forked, &targets, &apps, &worker_config);
        // The callers of this function belong to the supervisor, so the worker must not return to them.
        attach(|py| signals::module(py)?.call_method1("exit_worker", (code,)).map(drop)).ok();
        std::process::exit(code)
    }));
    ServerBuilder::with_loader(SupervisorOnly)
        .bind_all(config.addresses)
        .options(config.options)
        .launch(config.plan)
        .run()
}

/// Serves in a forked worker until it is told to stop. Returns the exit code.
fn serve_in_fork(forked: amboss::Forked, targets: &Targets, apps: &[Py<PyAny>], config: &AppConfig) -> i32 {
    let apps: Vec<_> = attach(|py| apps.iter().map(|app| app.clone_ref(py)).collect());
    let options = config.options.clone();
    // Made here, because each worker has its own jitter.
    let watchdog = Watchdog::new(config).map(Arc::new);
    let make = move |py: Python<'_>, worker: &Worker| {
        // Discards the signals that the parent process received during the import.
        signals::module(py)?.call_method0("defer_until_installed")?;
        let apps = apps.into_iter().map(|app| app.into_bound(py)).collect();
        targets.prepare(py, apps, &options, worker, AppSetup { watchdog, ..AppSetup::default() }, 0)
    };
    let loader = PyAppLoader::new(make, GuestSlot::default(), signals::installer(&config.options));
    match ServerBuilder::with_loader(loader).options(config.options.clone()).run_forked(forked) {
        Ok(()) => 0,
        Err(error) => {
            if let RunErrorKind::Exit(code) = error.kind() {
                return *code;
            }
            let _ = writeln!(std::io::stderr(), "amboss: {error}");
            1
        }
    }
}

/// The loader of a supervisor whose workers are forked from it with the application.
struct SupervisorOnly;

impl AppLoader for SupervisorOnly {
    fn load_app(&mut self, _: &Worker) -> Result<Arc<dyn Application>, RunError> {
        Err(RunErrorKind::Options("with --preload, only forked workers serve".into()).into())
    }
}

/// Returns the library in whose greenlets the imported application has to be served; `None` for threads. `conflict` is the
/// reason why that is impossible.
fn greenlets_of(
    py: Python<'_>,
    class: Option<WorkerClass>,
    conflict: Option<String>,
) -> PyResult<Option<&'static str>> {
    let named = class.map(|class| class.library().unwrap_or("threads"));
    let found = py.import("amboss._monkey_patching")?.call_method1("greenlets", (named,));
    let found: Option<String> = match found {
        Ok(found) => found.extract()?,
        Err(error) if error.is_instance_of::<PyRuntimeError>(py) => return Err(refuse(&error.value(py).to_string())),
        Err(error) => return Err(error),
    };
    match (found, conflict) {
        (Some(_), Some(conflict)) => Err(refuse(&conflict)),
        (found, _) => Ok(found.as_deref().map(library)),
    }
}

/// Refuses a number of greenlets for an application that is served in threads.
fn check_connections(connections: Option<usize>, greenlets: Option<&str>) -> PyResult<()> {
    if greenlets.is_none() && connections.is_some() {
        return Err(refuse(
            "--worker-connections is for greenlets, and this application uses threads; add --worker-class gevent, or use \
             --threads",
        ));
    }
    Ok(())
}

/// Prints why the application can't be served, and returns the exit.
fn refuse(message: &str) -> PyErr {
    let _ = writeln!(std::io::stderr(), "amboss: {message}");
    PySystemExit::new_err(EXIT_NO_APPLICATION)
}

/// Imported applications, or the name of the first one that can't be imported, with the reason.
type Imported<'py> = Result<Vec<Bound<'py, PyAny>>, (String, PyErr)>;

/// If an application could not be imported, prints why and converts the error to an exit.
fn explain_failure<'py>(py: Python<'py>, loaded: Imported<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    loaded.or_else(|(target, error)| {
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            return Err(PySystemExit::new_err(EXIT_INTERRUPTED));
        }
        let text = py.import("amboss._loader")?.call_method1("explain", (target, error.value(py)))?;
        let _ = writeln!(std::io::stderr(), "{text}");
        Err(PySystemExit::new_err(EXIT_NO_APPLICATION))
    })
}

/// What the command line names: Python applications by their names, and the command's own application.
struct Targets {
    /// The application for all hosts without one of their own.
    main: Option<String>,
    /// The application in place of `main`.
    own_app: Option<Arc<dyn Application>>,
    hosts: Vec<(String, String)>,
}

impl Targets {
    fn new(main: Option<&str>, config: &AppConfig) -> Targets {
        Targets { main: main.map(str::to_owned), own_app: config.own_app.clone(), hosts: config.hosts.clone() }
    }

    /// Imports the applications: `main` first, and then those of the hosts.
    fn load<'py>(&self, py: Python<'py>) -> Imported<'py> {
        let names = self.main.iter().chain(self.hosts.iter().map(|(_, name)| name));
        let load = |name: &str| py.import("amboss._loader")?.call_method1("load_app", (name,));
        names.map(|name| load(name).map_err(|error| (name.clone(), error))).collect()
    }

    /// Makes the server's applications from those that [`load`](Targets::load) has imported. `connections` is the maximum
    /// number of greenlets.
    fn prepare(
        &self,
        py: Python<'_>,
        apps: Vec<Bound<'_, PyAny>>,
        options: &amboss::RunOptions,
        worker: &Worker,
        setup: AppSetup,
        connections: usize,
    ) -> PyResult<LoadedApps> {
        let shutdown = setup.shutdown.clone();
        if let Some(watchdog) = &setup.watchdog {
            watchdog.start(worker.clone(), options.settings.log.clone(), shutdown.clone());
        }
        let mut made = apps.into_iter().map(|app| make_application(py, app.unbind(), options, &setup));
        let main = match &self.own_app {
            Some(app) => Some(app.clone()),
            None => made.next().transpose()?,
        };
        let main = main.ok_or_else(|| PyRuntimeError::new_err("there is no application to serve"))?;
        let names = self.hosts.iter().map(|(host, _)| host.clone());
        let hosts = names.zip(&mut made).map(|(host, app)| Ok((host, app?))).collect::<PyResult<_>>()?;
        drop(made);
        let guest = setup.guest(Arc::default(), connections, options.use_debugger);
        Ok(LoadedApps { main, hosts, shutdown, guest })
    }
}
