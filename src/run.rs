//! `run_simple` and its options.

use std::fmt;
use std::io;
use std::sync::Arc;

use amboss_core::{make_server, Address, Application, Concurrency, RequestHandler, ServeError, Server, Settings};

use crate::banner::banner;

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

    /// What these options mean for [`make_server`]: how requests run, and the settings.
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
/// # Errors
/// Contradictory options, an address that can't be listened on, or what ended the server.
///
/// # Panics
/// With a panic of the application, with [`RunOptions::passthrough_errors`].
pub fn run_simple(host: &str, port: u16, app: impl Application + 'static, options: RunOptions) -> Result<(), RunError> {
    let quiet = options.quiet;
    let fingerprint = options.fingerprint();
    let mut server = make_run_server(&[Address::new(host, port)], app, options)?;
    if !quiet {
        eprint!("{}", banner(&server, fingerprint.as_deref()));
    }
    Ok(server.serve_forever()?)
}

/// The server that [`run_simple`] runs, not started yet.
///
/// # Errors
/// As `run_simple`.
pub fn make_run_server(
    addresses: &[Address],
    app: impl Application + 'static,
    options: RunOptions,
) -> Result<Server, RunError> {
    let next_free_port = options.next_free_port;
    let mut addresses: Vec<Address> = addresses.iter().chain(&options.also).cloned().collect();
    let (concurrency, settings) = options.resolve()?;
    let app: Arc<dyn Application> = Arc::new(app);
    loop {
        match make_server(&addresses, app.clone(), concurrency, settings.clone()) {
            Ok(server) => return Ok(server),
            Err(ServeError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                let taken = addresses.iter_mut().find(|address| error.to_string().contains(&address.to_string()));
                match taken {
                    Some(Address::Tcp { port, .. }) if next_free_port && *port < u16::MAX => {
                        eprintln!("Port {port} is in use by another program; trying {}.", *port + 1);
                        *port += 1;
                    }
                    Some(address) => {
                        let address = address.clone();
                        return Err(RunError::AddressInUse { address, error: error.to_string() });
                    }
                    None => return Err(ServeError::Io(error).into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
