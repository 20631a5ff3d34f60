//! `make_server` and `run_simple`, as far as they are Rust: options, sockets, and the errors that Python gets to see.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amboss::{Address, BodyMode, Listeners, LocalAddr, RunError, RunOptions, ServeError, SslContext, TextLog, Worker};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PySystemExit, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::app_loader::PyHost;
use crate::command;
use crate::errors::Failure;
use crate::runtime::finalize::detach;
use crate::runtime::gil as lock;
use crate::runtime::main_thread as waiting;
use crate::runtime::thread_stack as stack;
use crate::worker::module_reporter as reporting;
use crate::wsgi::application::PyApplication;
use crate::wsgi::environ::About;
use crate::wsgi::request_handler::PyHandler;
use crate::wsgi::start_response::kind;

/// What Python's functions take, in one place for both of them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options<'py> {
    threaded: Option<bool>,
    processes: usize,
    threads: Option<usize>,
    request_handler: Option<Bound<'py, PyAny>>,
    passthrough_errors: bool,
    ssl_context: Option<Bound<'py, PyAny>>,
    quiet: bool,
    body_mode: String,
    body_directory: Option<PathBuf>,
}

/// Requests that run at once in one process unless told otherwise: waiting for the interpreter is running, and more
/// threads than this only wait for each other.
pub(crate) const THREADS: usize = 16;

/// How long finished answers wait to be written together. A call takes a tenth of a millisecond where a framework is at
/// work, and waking a client for each answer a tenth of that: with the core's own bound Flask answered a fifth fewer
/// requests.
const BATCH: Duration = Duration::from_millis(2);

/// An application as the server calls it, and the options to serve it with.
pub(crate) fn prepare(py: Python<'_>, options: &Options<'_>) -> PyResult<RunOptions> {
    let mut run = RunOptions::default();
    run.threaded = options.threaded;
    run.processes = options.processes;
    run.passthrough_errors = options.passthrough_errors;
    run.quiet = options.quiet;
    if options.quiet {
        run.settings.log = Arc::new(TextLog::stderr().errors_only());
    }
    run.settings.body_mode = if options.body_mode == "stream" { BodyMode::Stream } else { BodyMode::Collect };
    run.settings.body_directory.clone_from(&options.body_directory);
    if let Some(context) = &options.ssl_context {
        run.ssl_context = Some(ssl_context(context)?);
    }
    set_up(py, &mut run, options.request_handler.is_some(), options.threads);
    Ok(run)
}

/// What is so for every Python application.
pub(crate) fn set_up(py: Python<'_>, run: &mut RunOptions, custom_handler: bool, threads: Option<usize>) {
    run.settings.threads = threads.unwrap_or(THREADS).max(1);
    // The interpreter lets one thread run at a time: a second loop would only take it from the first.
    run.settings.loops = usize::from(has_lock(py));
    run.settings.thread_stack_size = Some(stack::size(py));
    run.settings.timeouts.batch = BATCH;
    run.settings.may_hand_over = Some(Arc::new(lock::is_free));
    run.request_handler = Some(Arc::new(PyHandler { custom: custom_handler }));
    run.settings.fork = Some(Arc::new(|| fork("amboss._signals")));
}

/// Forks as this module does, which may be `os`: with Python's hooks around it; 0 in the child.
pub(crate) fn fork(module: &str) -> std::io::Result<i32> {
    crate::runtime::ffi::attach(|py| py.import(module)?.call_method0("fork")?.extract()).map_err(std::io::Error::other)
}

fn has_lock(py: Python<'_>) -> bool {
    let ask = || py.import("sys")?.call_method0("_is_gil_enabled")?.extract::<bool>();
    ask().unwrap_or(true)
}

/// The application, with what its environ says about the server.
pub(crate) fn application(
    py: Python<'_>,
    app: Py<PyAny>,
    run: &RunOptions,
    handler: Option<Bound<'_, PyAny>>,
) -> PyResult<PyApplication> {
    if !app.bind(py).is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a WSGI application is called with environ and start_response, and {} can't be called",
            kind(app.bind(py))
        )));
    }
    let about = About { log: run.settings.log.clone(), shutdown: Arc::new(OnceLock::new()) };
    let mut application = PyApplication::new(py, app, handler.map(Bound::unbind), &about)?;
    if run.processes > 1 {
        // The process of a request ends without Python's own end: what it printed would be lost.
        application.after(flush_streams);
    }
    Ok(application)
}

/// What was printed is to be seen before the process ends.
pub(crate) fn flush_streams(py: Python<'_>) {
    let flush = |name: &str| py.import("sys")?.getattr(name)?.call_method0("flush");
    let _ = (flush("stdout"), flush("stderr"));
}

/// `'adhoc'`, or files of a certificate and its key.
pub(crate) fn ssl_context(context: &Bound<'_, PyAny>) -> PyResult<SslContext> {
    let made = if let Ok(name) = context.cast::<PyString>() {
        if name != "adhoc" {
            return Err(PyValueError::new_err(format!(
                "ssl_context must be 'adhoc' or (certfile, keyfile), not {name:?}"
            )));
        }
        SslContext::adhoc()
    } else if let Ok(files) = context.cast::<PyTuple>() {
        let (certificate, key): (PathBuf, Option<PathBuf>) = match files.len() {
            1 => (files.get_item(0)?.extract()?, None),
            2 => (files.get_item(0)?.extract()?, files.get_item(1)?.extract()?),
            other => {
                return Err(PyTypeError::new_err(format!(
                    "ssl_context is a tuple of certfile and keyfile, not of {other}"
                )))
            }
        };
        SslContext::from_files(certificate, key.as_deref())
    } else {
        return Err(PyTypeError::new_err(format!(
            "ssl_context must be 'adhoc' or (certfile, keyfile), not {}: TLS is spoken outside of Python, which can't use \
             a context of the ssl module",
            kind(context)
        )));
    };
    made.map_err(|error| PyOSError::new_err(error.to_string()))
}

/// The exception for what kept a server from serving, or ended it.
pub(crate) fn serve_error(py: Python<'_>, error: ServeError) -> PyErr {
    match error {
        ServeError::Io(error) => error.into(),
        ServeError::Settings(sentence) => PyValueError::new_err(sentence),
        ServeError::Application(error) => match error.downcast::<Failure>() {
            Ok(failure) => failure.error.clone_ref(py),
            Err(error) => PyRuntimeError::new_err(error.to_string()),
        },
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

pub(crate) fn run_error(py: Python<'_>, error: RunError) -> PyErr {
    match error {
        RunError::Options(sentence) => PyValueError::new_err(sentence),
        RunError::Serve(error) => serve_error(py, error),
        RunError::Exit(code) => PySystemExit::new_err(code),
        error @ RunError::AddressInUse { .. } => PyOSError::new_err(error.to_string()),
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

/// Addresses from texts.
pub(crate) fn addresses(texts: &[String]) -> PyResult<Vec<Address>> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: amboss::AddressError| PyValueError::new_err(error.to_string())))
        .collect()
}

/// A copy of an open socket that listens.
fn listening(number: i32) -> PyResult<Listeners> {
    if number < 0 {
        return Err(PyValueError::new_err(format!("fd is the number of an open socket, not {number}")));
    }
    let copy = crate::runtime::ffi::borrow_descriptor(number, |socket| socket.try_clone_to_owned());
    copy.and_then(|copy| Listeners::adopt([copy]))
        .map_err(|error| PyOSError::new_err(format!("can't listen on descriptor {number}: {error}")))
}

/// A server that listens, and serves when it is told to.
#[pyclass(frozen, module = "amboss._amboss")]
pub(crate) struct Server {
    /// `None` while it serves, and after it was closed.
    server: std::sync::Mutex<Option<amboss::Server>>,
    handle: amboss::ShutdownHandle,
    local: Vec<LocalAddr>,
}

impl Server {
    fn server(&self) -> std::sync::MutexGuard<'_, Option<amboss::Server>> {
        self.server.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self) -> PyResult<amboss::Server> {
        let taken = self.server().take();
        taken.ok_or_else(|| PyRuntimeError::new_err("this server serves already, or was closed"))
    }
}

#[pymethods]
impl Server {
    /// Listens on addresses, or on an open socket, which stays its owner's: the server has a copy.
    #[new]
    #[pyo3(signature = (texts, app, options, fd = None))]
    fn new(
        py: Python<'_>,
        texts: Vec<String>,
        app: Py<PyAny>,
        options: Options<'_>,
        fd: Option<i32>,
    ) -> PyResult<Server> {
        let run = prepare(py, &options)?;
        let addresses = addresses(&texts)?;
        let listeners = fd.map(listening).transpose()?;
        let app = Arc::new(application(py, app, &run, options.request_handler)?);
        let shutdown = app.shutdown.clone();
        let made = detach(py, || match listeners {
            Some(listeners) => amboss::make_run_server_on(listeners, app, run),
            None => amboss::make_run_server(&addresses, app, run),
        });
        let server = made.map_err(|error| run_error(py, error))?;
        let (handle, local) = (server.shutdown_handle(), server.local_addrs().to_vec());
        let _ = shutdown.set(handle.clone());
        Ok(Server { server: std::sync::Mutex::new(Some(server)), handle, local })
    }

    /// The addresses it listens on: `(host, port)`, or `("unix://path", 0)`.
    fn local_addrs(&self) -> Vec<(String, u16)> {
        let local = self.local.iter();
        local
            .map(|address| match address {
                LocalAddr::Tcp(address) => (address.ip().to_string(), address.port()),
                other => (other.to_string(), 0),
            })
            .collect()
    }

    /// Serves until `shutdown` is called, or CTRL+C is pressed.
    fn serve_forever(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.take()?;
        let (server, served) = waiting::serve(py, server, waiting::graceful_first)?;
        *self.server() = server;
        served.map_err(|error| serve_error(py, error))
    }

    /// Serves one request; false when none came within `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn handle_request(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // Longer than anybody waits.
        const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let patience = match timeout {
            None => EVER,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| PyValueError::new_err("a timeout is a number of seconds, 0 or more, or None"))?,
        };
        let server = self.take()?;
        let (server, served) =
            waiting::wait_for(py, server, move |server| server.handle_request(patience), waiting::at_once)?;
        *self.server() = server;
        served.map_err(|error| serve_error(py, error))
    }

    /// Makes `serve_forever` return: running requests finish, within the deadline for that.
    fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// Lets go of the sockets.
    fn server_close(&self, py: Python<'_>) {
        let server = self.server().take();
        detach(py, || drop(server));
    }
}

/// Makes a certificate for `host` and `*.host`, or for `cn`, in `base_path.crt` and `base_path.key`.
#[pyfunction]
#[pyo3(signature = (base_path, host = None, cn = None))]
pub(crate) fn make_ssl_devcert(
    base_path: PathBuf,
    host: Option<&str>,
    cn: Option<&str>,
) -> PyResult<(PathBuf, PathBuf)> {
    amboss::make_ssl_devcert(&base_path, host, cn).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Serves an application that is there until the server stops: as a supervisor's child, or alone.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, texts: Vec<String>, app: Py<PyAny>, options: Options<'_>) -> PyResult<()> {
    let run = prepare(py, &options)?;
    let addresses = addresses(&texts)?;
    let application = application(py, app, &run, options.request_handler)?;
    let make = move |py: Python<'_>, worker: &Worker| {
        let mut application = application;
        if let Some(reporter) = reporting::begin(py, worker, None)? {
            application.after(move |py| reporter.look(py));
        }
        Ok(application)
    };
    let signals = command::signals_of_script(&run);
    let host = PyHost::new(make).with_signals(signals);
    detach(py, || amboss::run_host(&addresses, host, run)).map_err(|error| run_error(py, error))
}

/// What would fail in a process started later fails now; the certificate's fingerprint, if there is one.
#[pyfunction]
pub(crate) fn check(py: Python<'_>, options: Options<'_>) -> PyResult<Option<String>> {
    let run = prepare(py, &options)?;
    let fingerprint = run.fingerprint();
    run.resolve().map_err(|error| run_error(py, error))?;
    Ok(fingerprint)
}
