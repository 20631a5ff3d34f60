//! `run_simple` and its options.

use std::fmt;
use std::io;
#[cfg(all(unix, feature = "reload"))]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use amboss_core::{
    make_server_on, Address, Application, Concurrency, Listeners, RequestHandler, ServeError, Server, Settings,
};

use crate::banner::banner;
use crate::live::{Code, Live};
#[cfg(all(unix, feature = "reload"))]
use crate::reload::{self, BrokenSave, ReloaderType};

/// What [`run_simple`] can be told; named after Werkzeug's parameters where it has them.
///
/// ```
/// use amboss::RunOptions;
/// let mut options = RunOptions::default();
/// options.processes = 4;
/// options.quiet = true;
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// A thread for each running request. Unless said otherwise that is so, as long as `processes` is not more than 1.
    pub threaded: Option<bool>,
    /// More than 1: a process for each running request, at most so many. 0 and 1 mean none.
    pub processes: usize,
    /// Speaks TLS: [`SslContext::adhoc`](crate::SslContext::adhoc),
    /// [`from_files`](crate::SslContext::from_files), or a configuration of your own.
    #[cfg(feature = "tls")]
    pub ssl_context: Option<crate::SslContext>,
    /// Serves from a child process that is replaced whenever a file of the project changes; no request is lost by it. A
    /// program in the target folder of a cargo project is built first. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub use_reloader: bool,
    /// Also watched: files, folders and globs.
    #[cfg(all(unix, feature = "reload"))]
    pub extra_files: Vec<PathBuf>,
    /// Never reacted to: patterns as in Python's `fnmatch`, matched against whole paths.
    #[cfg(all(unix, feature = "reload"))]
    pub exclude_patterns: Vec<String>,
    /// How long the `stat` reloader rests between two looks; one second by default.
    #[cfg(all(unix, feature = "reload"))]
    pub reloader_interval: Option<Duration>,
    /// How changes are noticed.
    #[cfg(all(unix, feature = "reload"))]
    pub reloader_type: ReloaderType,
    /// What clients get while the newest code is broken.
    #[cfg(all(unix, feature = "reload"))]
    pub broken_save: BrokenSave,
    /// Open pages load again when the code has been replaced: a script for that goes into HTML responses, which no
    /// cache keeps then. A page with a Content-Security-Policy has to allow scripts and connections to `'self'`.
    pub live: bool,
    /// More than 1: so many processes serve beside each other, under one that replaces those that die. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub workers: usize,
    /// Serves with this program and its arguments instead of this process: any that takes its sockets from its parent
    /// (`AMBOSS_SERVER_FD`, `LISTEN_FDS`).
    #[cfg(all(unix, feature = "reload"))]
    pub program: Option<Vec<std::ffi::OsString>>,
    /// Arguments of this executable that make it run [`exec_as_child`](crate::exec_as_child) on the rest.
    #[cfg(all(unix, feature = "reload"))]
    #[doc(hidden)]
    pub shim: Option<Vec<std::ffi::OsString>>,
    /// Listen on the sockets that systemd passes on, when it does.
    pub from_systemd: bool,
    /// Called in the process that serves when the logs are to be reopened: on USR1 to its supervisor. Without one,
    /// whoever wants it listens to the signal.
    pub reopen_logs: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Replaces the default handler.
    pub request_handler: Option<Arc<dyn RequestHandler>>,
    /// An error of the application ends the server.
    pub passthrough_errors: bool,
    /// More addresses to listen on, besides host and port.
    pub also: Vec<Address>,
    /// When the port is taken, use the next free one and say so.
    pub next_free_port: bool,
    /// No banner.
    pub quiet: bool,
    /// Limits, deadlines, log and the rest.
    pub settings: Settings,
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("threaded", &self.threaded)
            .field("processes", &self.processes)
            .field("passthrough_errors", &self.passthrough_errors)
            .field("live", &self.live)
            .field("also", &self.also)
            .field("next_free_port", &self.next_free_port)
            .field("quiet", &self.quiet)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl RunOptions {
    /// The SHA-256 fingerprint of the certificate, to compare with what a browser shows; `None` without one.
    pub fn fingerprint(&self) -> Option<String> {
        #[cfg(feature = "tls")]
        return self.ssl_context.as_ref()?.fingerprint();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// The scheme of the server's URLs.
    fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.ssl_context.is_some() {
            return "https";
        }
        self.settings.transport.as_ref().map_or("http", |layer| layer.scheme())
    }

    /// What these options mean for [`make_server`](amboss_core::make_server): how requests run, and the settings.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn resolve(self) -> Result<(Concurrency, Settings), RunError> {
        let RunOptions { threaded, processes, request_handler, passthrough_errors, mut settings, .. } = self;
        #[cfg(feature = "tls")]
        if let Some(context) = self.ssl_context {
            settings.transport = Some(context.log(settings.log.clone()).layer());
        }
        let concurrency = match (threaded, processes) {
            (Some(true), 2..) => {
                return Err(RunError::Options("Cannot have a multi-thread and multi-process server."));
            }
            (_, 2..) => Concurrency::Processes,
            (Some(false), _) => Concurrency::Single,
            _ => Concurrency::Threads,
        };
        if processes > 1 {
            settings.processes = processes;
        }
        if let Some(handler) = request_handler {
            settings.handler = handler;
        }
        settings.passthrough_errors |= passthrough_errors;
        Ok((concurrency, settings))
    }
}

/// Why nothing is served, or not any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Options that contradict each other.
    Options(&'static str),
    /// An address is taken.
    AddressInUse {
        /// The address.
        address: Address,
        /// The system's message.
        error: String,
    },
    /// Anything else that a server can fail with.
    Serve(ServeError),
    /// What is to be watched or started can't be.
    Reload(String),
    /// The supervisor ended with this exit code.
    Exit(i32),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Options(sentence) => f.write_str(sentence),
            RunError::AddressInUse { address: Address::Tcp { port, .. }, error } => {
                writeln!(f, "{error}")?;
                write!(
                    f,
                    "Port {port} is in use by another program. Either identify and stop that program, or start the \
                     server with a different port."
                )?;
                if cfg!(target_os = "macos") && *port == 5000 {
                    write!(f, "\nOn macOS, try searching for and disabling 'AirPlay Receiver' in System Settings.")?;
                }
                Ok(())
            }
            RunError::AddressInUse { error, .. } => f.write_str(error),
            RunError::Serve(error) => error.fmt(f),
            RunError::Reload(sentence) => f.write_str(sentence),
            RunError::Exit(code) => write!(f, "stopped with exit code {code}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Serve(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> RunError {
        RunError::Serve(error.into())
    }
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> RunError {
        RunError::Serve(error)
    }
}

/// Serves an application until the server is told to stop.
///
/// `host` is a name, an IPv4 or IPv6 address, or `unix://path`; `localhost` listens on both families. Port 0 lets the
/// system pick one; the banner says which.
///
/// With `use_reloader` or `workers` this process becomes the one that holds the sockets and watches: the same command
/// line is started again, and this function serves there
/// ([`is_running_from_reloader`](crate::is_running_from_reloader)).
///
/// # Errors
/// Contradictory options, an address that can't be listened on, or what ended the server.
///
/// # Panics
/// With a panic of the application, with [`RunOptions::passthrough_errors`].
pub fn run_simple(host: &str, port: u16, app: impl Application + 'static, options: RunOptions) -> Result<(), RunError> {
    run_on(&[Address::new(host, port)], app, options, |_| Ok(()))
}

/// [`run_simple`] on several addresses, with a look at the server before it serves: in the process that does, to watch
/// for signals there.
///
/// # Errors
/// As [`run_simple`], and the error of `started`.
///
/// # Panics
/// As [`run_simple`].
pub fn run_on(
    addresses: &[Address],
    app: impl Application + 'static,
    #[cfg_attr(not(all(unix, feature = "reload")), allow(unused_mut))] mut options: RunOptions,
    started: impl FnOnce(&Server) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let app: Arc<dyn Application> = Arc::new(app);
    #[cfg(all(unix, feature = "reload"))]
    {
        if let Some(child) = reload::Child::inherited(options.program.is_some())? {
            let app = child.application(app);
            let reopen_logs = options.reopen_logs.clone();
            options.live |= child.is_told_to_be_live();
            let mut server = make(child.listeners(), app, options, child.code())?;
            started(&server)?;
            return Ok(child.serve(&mut server, move || reopen_logs.iter().for_each(|reopen| reopen()))?);
        }
        if options.use_reloader || options.workers > 1 || options.program.is_some() {
            // What contradicts itself does so before anything is started.
            options.clone().resolve()?;
            let (quiet, fingerprint) = (options.quiet, options.fingerprint());
            let scheme = options.scheme();
            let code = reload::supervise(&options, || {
                let listeners = bind(addresses, &options)?;
                if !quiet {
                    eprint!("{}", banner(&listeners.local_addrs(), scheme, fingerprint.as_deref()));
                }
                Ok(listeners)
            })?;
            return if code == 0 { Ok(()) } else { Err(RunError::Exit(code)) };
        }
    }
    let (quiet, fingerprint, scheme) = (options.quiet, options.fingerprint(), options.scheme());
    let mut server = make(bind(addresses, &options)?, app, options, Code::of_this_process())?;
    // First, so that CTRL+C does what the banner says.
    started(&server)?;
    if !quiet {
        eprint!("{}", banner(server.local_addrs(), scheme, fingerprint.as_deref()));
    }
    Ok(server.serve_forever()?)
}

/// The server that [`run_simple`] runs without a reloader, not started yet.
///
/// # Errors
/// As `run_simple`.
pub fn make_run_server(
    addresses: &[Address],
    app: impl Application + 'static,
    options: RunOptions,
) -> Result<Server, RunError> {
    make(bind(addresses, &options)?, Arc::new(app), options, Code::of_this_process())
}

fn make(listeners: Listeners, app: Arc<dyn Application>, options: RunOptions, code: Code) -> Result<Server, RunError> {
    let live = options.live;
    let (concurrency, mut settings) = options.resolve()?;
    if !live {
        return Ok(make_server_on(listeners, app, concurrency, settings)?);
    }
    let app = Live::new(app, code, concurrency, &mut settings);
    let stop = app.stop();
    let server = make_server_on(listeners, app, concurrency, settings)?;
    stop.set(server.shutdown_handle());
    Ok(server)
}

fn bind(addresses: &[Address], options: &RunOptions) -> Result<Listeners, RunError> {
    if options.from_systemd {
        let listeners = Listeners::from_systemd()?;
        if !listeners.is_empty() {
            return Ok(listeners);
        }
    }
    let mut addresses: Vec<Address> = addresses.iter().chain(&options.also).cloned().collect();
    loop {
        match Listeners::bind(&addresses, &options.settings) {
            Ok(listeners) => return Ok(listeners),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let taken = addresses.iter_mut().find(|address| error.to_string().contains(&address.to_string()));
                match taken {
                    Some(Address::Tcp { port, .. }) if options.next_free_port && *port < u16::MAX => {
                        eprintln!("Port {port} is in use by another program; trying {}.", *port + 1);
                        *port += 1;
                    }
                    Some(address) => {
                        let address = address.clone();
                        return Err(RunError::AddressInUse { address, error: error.to_string() });
                    }
                    None => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
