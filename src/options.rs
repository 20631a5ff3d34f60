//! What users can ask for.

use std::fmt;
#[cfg(all(unix, feature = "reload"))]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use amboss_core::{Concurrency, RequestHandler, Settings};

use crate::error::{RunError, RunErrorKind};
#[cfg(all(unix, feature = "reload"))]
use crate::supervise::{LaunchPlan, OnLoadFailure, ReloaderType};

/// The options of [`run_simple`](crate::run_simple) and [`ServerBuilder`](crate::ServerBuilder). They have the names of
/// Werkzeug's parameters where Werkzeug has them.
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
    /// Whether each running request has a thread. By default it has, unless `processes` is more than 1.
    pub threaded: Option<bool>,
    /// The maximum number of processes for running requests, one for each request. 0 and 1 mean none.
    pub processes: usize,
    /// The certificate and settings of TLS: [`SslContext::adhoc`](crate::SslContext::adhoc),
    /// [`from_files`](crate::SslContext::from_files), or a configuration of your own. Plain HTTP by default.
    #[cfg(feature = "tls")]
    pub ssl_context: Option<crate::SslContext>,
    /// Whether a worker process serves that is replaced whenever a file of the project changes, without losing a request. A
    /// program in the target directory of a cargo project is built first. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub use_reloader: bool,
    /// Files, directories and globs that are watched as well.
    #[cfg(all(unix, feature = "reload"))]
    pub extra_files: Vec<PathBuf>,
    /// Patterns of paths whose changes are ignored, as in Python's `fnmatch`, matched against whole paths.
    #[cfg(all(unix, feature = "reload"))]
    pub exclude_patterns: Vec<String>,
    /// How long the `stat` reloader waits between two scans; 1 second by default.
    #[cfg(all(unix, feature = "reload"))]
    pub reloader_interval: Option<Duration>,
    /// How changes are detected.
    #[cfg(all(unix, feature = "reload"))]
    pub reloader_type: ReloaderType,
    /// What clients get while the newest code does not run.
    #[cfg(all(unix, feature = "reload"))]
    pub on_load_failure: OnLoadFailure,
    /// Whether open pages reload in the browser when the code has been replaced. A script for that is inserted into HTML
    /// responses, which no cache keeps then. A page with a Content-Security-Policy has to allow scripts and connections to
    /// `'self'`.
    pub live_reload: bool,
    /// The number of worker processes. With more than 1, a supervisor replaces those that die. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub workers: usize,
    /// Whether to listen on the sockets that systemd passes on, if it does.
    pub from_systemd: bool,
    /// Called in the process that serves when the logs are to be reopened: when its supervisor receives USR1. Without a
    /// supervisor, the program has to handle the signal itself.
    pub reopen_logs: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Replaces the default request handler.
    pub request_handler: Option<Arc<dyn RequestHandler>>,
    /// Whether an error of the application ends the server.
    pub passthrough_errors: bool,
    /// Whether to use the next free port, and say so, when the port is in use.
    pub next_free_port: bool,
    /// Whether to print no banner.
    pub quiet: bool,
    /// Limits, timeouts, log and the rest.
    pub settings: Settings,
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("threaded", &self.threaded)
            .field("processes", &self.processes)
            .field("passthrough_errors", &self.passthrough_errors)
            .field("live_reload", &self.live_reload)
            .field("next_free_port", &self.next_free_port)
            .field("quiet", &self.quiet)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl RunOptions {
    /// The SHA-256 fingerprint of the certificate, to compare with what a browser shows. `None` without a certificate.
    pub fn fingerprint(&self) -> Option<String> {
        #[cfg(feature = "tls")]
        return self.ssl_context.as_ref()?.fingerprint();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Whether these options and this plan need a supervisor: this process holds the sockets, and others serve.
    #[cfg(all(unix, feature = "reload"))]
    pub fn wants_supervisor(&self, plan: &LaunchPlan) -> bool {
        self.use_reloader || self.workers > 1 || plan.needs_supervisor()
    }

    /// The scheme of the server's URLs.
    pub(crate) fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.ssl_context.is_some() {
            return "https";
        }
        self.settings.transport.as_ref().map_or("http", |layer| layer.scheme())
    }

    /// Returns what these options mean for [`make_server`](amboss_core::make_server): how requests run, and the settings.
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
                return Err(RunErrorKind::Options("Cannot have a multi-thread and multi-process server.").into());
            }
            (_, 2..) => Concurrency::Processes,
            (Some(false), _) => Concurrency::Single,
            _ => Concurrency::Threads,
        };
        if processes > 1 {
            settings.runtime.processes = processes;
        }
        if let Some(handler) = request_handler {
            settings.handler = handler;
        }
        settings.passthrough_errors |= passthrough_errors;
        Ok((concurrency, settings))
    }
}
