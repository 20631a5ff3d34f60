//! Converts the options of `make_server` and `run_simple` to settings of the server.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amboss::toolkit::files::Folder;
use amboss::toolkit::Response;
use amboss::{
    Address, Application, BodyMode, Log, ProxyProtocol, ProxySettings, RunOptions, ShutdownHandle, SslContext, TextLog,
    TransportLayer,
};
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::failure;
use crate::guest::GuestParts;
use crate::runtime::process::{flush_streams, fork_for_request};
use crate::runtime::{gil, thread_stack};
use crate::ssl::PySslLayer;
use crate::worker::watchdog::Watchdog;
use crate::wsgi::application::{AfterCall, PyApplication};
use crate::wsgi::convert::type_name;
use crate::wsgi::environ::ServerInfo;
use crate::wsgi::request_handler::{DeferredLogs, HandlerLog, PyRequestHandler, SERVER_VERSION};
use crate::wsgi::task::TaskHost;
use crate::wsgi::task_application::TaskApplication;

/// The options that `make_server` and `run_simple` share, as `amboss/serving.py` passes them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options<'py> {
    threaded: Option<bool>,
    processes: usize,
    threads: Option<usize>,
    pub(crate) request_handler: Option<Bound<'py, PyAny>>,
    passthrough_errors: bool,
    ssl_context: Option<Bound<'py, PyAny>>,
    quiet: bool,
    body_mode: String,
    body_directory: Option<PathBuf>,
    static_files: Vec<(String, PathBuf)>,
    pub(crate) hosts: Vec<(String, Bound<'py, PyAny>)>,
    trusted_proxies: Option<String>,
    forwarded_hops: Option<String>,
    forwarded_rfc7239: bool,
    proxy_protocol: Option<String>,
    use_debugger: bool,
    debug_anywhere: bool,
    allowed_hosts: Option<Vec<String>>,
    /// The library in whose greenlets requests run; `None` for threads.
    pub(crate) greenlets: Option<String>,
    pub(crate) worker_connections: usize,
}

/// The default maximum number of requests that run at once in a process. Waiting for the GIL counts as running; more
/// threads would only wait for each other.
const DEFAULT_THREADS: usize = 16;

/// How long complete responses may wait to be written together. A framework's call takes a tenth of a millisecond, and
/// waking a client takes a tenth of that. With the core's own bound, clients are woken more often, and Flask answered a
/// fifth fewer requests.
const BATCH: Duration = Duration::from_millis(2);

/// Converts options to settings. The requests that handlers of users have to log are kept in the second value, if the
/// server becomes a guest.
pub(crate) fn to_run_options(py: Python<'_>, options: &Options<'_>) -> PyResult<(RunOptions, Arc<DeferredLogs>)> {
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
    run.static_files.clone_from(&options.static_files);
    for (host, app) in &options.hosts {
        run.hosts.push((host.clone(), to_host_app(app)?));
    }
    run.settings.proxies = to_proxy_settings(options)?;
    run.use_debugger = options.use_debugger;
    run.debug_anywhere = options.debug_anywhere;
    run.allowed_hosts.clone_from(&options.allowed_hosts);
    if let Some(context) = &options.ssl_context {
        if context.is_instance(&py.import("ssl")?.getattr("SSLContext")?)? {
            run.settings.transport = Some(to_transport_layer(context, options, run.settings.log.clone())?);
        } else {
            run.ssl_context = Some(to_ssl_context(context)?);
        }
    }
    apply_python_settings(py, &mut run, options.threads);
    if options.greenlets.is_some() {
        run.guest_of.clone_from(&options.greenlets);
    }
    let deferred = Arc::<DeferredLogs>::default();
    if let Some(handler) = &options.request_handler {
        let version: String = handler.call_method0("_server_version")?.extract()?;
        let server_version = (!version.is_empty()).then_some(version);
        run.request_handler =
            Some(Arc::new(PyRequestHandler { is_custom: true, deferred: deferred.clone(), server_version }));
        run.settings.log = Arc::new(HandlerLog(run.settings.log.clone()));
    }
    Ok((run, deferred))
}

/// Converts the application of a host: a folder, or a placeholder for a WSGI application, which replaces it when it is
/// made.
fn to_host_app(app: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Application>> {
    if app.is_callable() {
        return Ok(Arc::new(Response::empty(503)));
    }
    let folder: PathBuf = app.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "hosts maps names to WSGI applications and to paths of folders; {} is neither",
            type_name(app)
        ))
    })?;
    Ok(Arc::new(Folder::new(folder).map_err(|error| PyValueError::new_err(error.to_string()))?))
}

/// Converts the options that concern proxies.
fn to_proxy_settings(options: &Options<'_>) -> PyResult<ProxySettings> {
    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> PyResult<T> {
        text.parse().map_err(|error: T::Err| PyValueError::new_err(error.to_string()))
    }
    let mut settings = ProxySettings::default();
    if let Some(text) = &options.trusted_proxies {
        settings.trusted = parse(text)?;
    }
    if let Some(text) = &options.forwarded_hops {
        settings.hops = parse(text)?;
    }
    settings.forwarded = options.forwarded_rfc7239;
    settings.protocol = match options.proxy_protocol.as_deref() {
        None => ProxyProtocol::Off,
        Some("optional") => ProxyProtocol::Optional,
        Some(_) => ProxyProtocol::Required,
    };
    Ok(settings)
}

/// Applies the settings that every Python application needs.
pub(crate) fn apply_python_settings(py: Python<'_>, run: &mut RunOptions, threads: Option<usize>) {
    run.settings.runtime.threads = threads.unwrap_or(DEFAULT_THREADS).max(1);
    // The GIL lets one thread run at a time, so a second event loop would only compete with the first. 0 lets the
    // server decide.
    run.settings.runtime.loops = usize::from(is_gil_enabled(py));
    run.settings.runtime.thread_stack_size = Some(thread_stack::size(py));
    run.settings.runtime.batch_delay = BATCH;
    if is_gil_enabled(py) {
        run.settings.runtime.may_hand_over = Some(Arc::new(gil::is_released));
    }
    run.explain_error = Some(Arc::new(failure::explain));
    let server_version = Some(SERVER_VERSION.to_owned());
    run.request_handler =
        Some(Arc::new(PyRequestHandler { is_custom: false, deferred: Arc::default(), server_version }));
    // Python programs fork without exec, as with multiprocessing.
    run.settings.runtime.guard_forks = true;
    run.settings.runtime.fork = Some(Arc::new(fork_for_request));
}

fn is_gil_enabled(py: Python<'_>) -> bool {
    let ask = || py.import("sys")?.call_method0("_is_gil_enabled")?.extract::<bool>();
    // The function exists since CPython 3.13.
    ask().unwrap_or(true)
}

/// What the applications of a server share.
#[derive(Default)]
pub(crate) struct AppSetup {
    /// The user's `WSGIRequestHandler` class.
    pub(crate) handler_class: Option<Py<PyAny>>,
    /// Receives the handle of the server later.
    pub(crate) shutdown: Arc<OnceLock<ShutdownHandle>>,
    /// Runs after each call.
    pub(crate) after_call: Option<AfterCall>,
    pub(crate) watchdog: Option<Arc<Watchdog>>,
    /// Set if requests run in greenlets.
    pub(crate) host: Option<Arc<TaskHost>>,
}

impl AppSetup {
    /// Returns what the server needs as the guest of a hub; `None` if requests run in threads.
    pub(crate) fn guest(self, logs: Arc<DeferredLogs>, connections: usize, use_debugger: bool) -> Option<GuestParts> {
        let AppSetup { host, watchdog, after_call, .. } = self;
        host.map(|host| GuestParts { host, logs, watchdog, after_requests: after_call, connections, use_debugger })
    }
}

/// Returns the name of a library as a constant.
pub(crate) fn library(name: &str) -> &'static str {
    if name == "eventlet" {
        "eventlet"
    } else {
        "gevent"
    }
}

/// Makes the server's application from a WSGI application.
pub(crate) fn make_application(
    py: Python<'_>,
    app: Py<PyAny>,
    run: &RunOptions,
    setup: &AppSetup,
) -> PyResult<Arc<dyn Application>> {
    if !app.bind(py).is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a WSGI application is called with environ and start_response, and {} can't be called",
            type_name(app.bind(py))
        )));
    }
    let server = ServerInfo { log: run.settings.log.clone(), shutdown: setup.shutdown.clone() };
    let handler_class = setup.handler_class.as_ref().map(|class| class.clone_ref(py));
    let watchdog = setup.watchdog.clone();
    if let Some(host) = setup.host.clone() {
        return Ok(Arc::new(TaskApplication::new(py, host, app, handler_class, &server, watchdog)?));
    }
    // A process that answers one request exits without finalizing the interpreter, which would lose its output.
    let flush: Option<AfterCall> = (run.processes > 1).then(|| Arc::new(flush_streams) as AfterCall);
    let after_call = setup.after_call.clone().or(flush);
    Ok(Arc::new(PyApplication::new(py, app, handler_class, &server, after_call, watchdog)?))
}

/// Converts an `ssl.SSLContext`.
fn to_transport_layer(
    context: &Bound<'_, PyAny>,
    options: &Options<'_>,
    log: Arc<dyn Log>,
) -> PyResult<Arc<dyn TransportLayer>> {
    if options.processes > 1 {
        return Err(PyValueError::new_err(
            "an ssl.SSLContext is used by a thread, which a process for a request does not have; use threads, or pass \
             (certfile, keyfile)",
        ));
    }
    let ssl = context.py().import("ssl")?;
    if context.getattr("protocol")?.eq(ssl.getattr("PROTOCOL_TLS_CLIENT")?)? {
        return Err(PyValueError::new_err(
            "this ssl.SSLContext is a client's; create it with ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) and load a \
             certificate",
        ));
    }
    Ok(Arc::new(PySslLayer::new(context.clone().unbind(), log)))
}

/// Converts an `ssl_context` argument: `'adhoc'`, the files of a certificate and its key, or a list of such pairs.
fn to_ssl_context(context: &Bound<'_, PyAny>) -> PyResult<SslContext> {
    let result = if let Ok(name) = context.cast::<PyString>() {
        if name != "adhoc" {
            return Err(PyValueError::new_err(format!(
                "ssl_context must be 'adhoc' or (certfile, keyfile), not {name:?}"
            )));
        }
        SslContext::adhoc()
    } else if let Ok(files) = context.cast::<PyTuple>() {
        let (certificate, key) = to_certificate_files(files)?;
        SslContext::from_files(certificate, key.as_deref())
    } else if let Ok(pairs) = context.extract::<Vec<Bound<'_, PyTuple>>>() {
        let pairs = pairs.iter().map(to_certificate_files).collect::<PyResult<Vec<_>>>()?;
        let Some(((certificate, key), others)) = pairs.split_first() else {
            return Err(PyValueError::new_err("ssl_context must contain at least one (certfile, keyfile)"));
        };
        let first = SslContext::from_files(certificate, key.as_deref());
        let add = |all: SslContext, (certificate, key): &(PathBuf, Option<PathBuf>)| {
            all.with_certificate(certificate, key.as_deref())
        };
        first.and_then(|first| others.iter().try_fold(first, add))
    } else {
        return Err(PyTypeError::new_err(format!(
            "ssl_context must be 'adhoc' or (certfile, keyfile), a list of such pairs or an ssl.SSLContext, not {}",
            context.repr()?
        )));
    };
    result.map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Converts a tuple `(certfile, keyfile)` or `(certfile,)`.
fn to_certificate_files(files: &Bound<'_, PyTuple>) -> PyResult<(PathBuf, Option<PathBuf>)> {
    match files.len() {
        1 => Ok((files.get_item(0)?.extract()?, None)),
        2 => Ok((files.get_item(0)?.extract()?, files.get_item(1)?.extract()?)),
        other => Err(PyTypeError::new_err(format!(
            "ssl_context must be a tuple (certfile, keyfile), not a tuple of {other}"
        ))),
    }
}

/// Parses addresses.
pub(crate) fn parse_addresses(texts: &[String]) -> PyResult<Vec<Address>> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: amboss::AddressError| PyValueError::new_err(error.to_string())))
        .collect()
}
