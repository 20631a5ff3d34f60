//! The options of a server, as users set them.

use std::fmt;
#[cfg(any(feature = "toolkit", all(unix, feature = "reload")))]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

#[cfg(feature = "toolkit")]
use amboss_core::Application;
use amboss_core::{Concurrency, ProxyProtocol, ProxySettings, RequestHandler, Settings};
#[cfg(feature = "tls")]
use amboss_tls::SslContext;
#[cfg(feature = "toolkit")]
use amboss_toolkit::files::FolderOptions;

use crate::error::{RunError, RunErrorKind};
#[cfg(all(unix, feature = "reload"))]
use crate::launch_plan::LaunchPlan;
#[cfg(all(unix, feature = "reload"))]
use crate::reload_options::{OnLoadFailure, ReloaderType};

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
    /// Whether requests run in threads, several at once. `None` means yes, unless `processes` is more than 1.
    pub threaded: Option<bool>,
    /// The maximum number of request processes; each runs one request. With 0 or 1, requests do not run in separate
    /// processes.
    pub processes: usize,
    /// The certificate and settings of TLS: [`SslContext::adhoc`](crate::SslContext::adhoc),
    /// [`from_files`](crate::SslContext::from_files), or your own configuration. Plain HTTP by default.
    #[cfg(feature = "tls")]
    pub ssl_context: Option<SslContext>,
    /// Whether to serve in a worker process that is replaced, without losing a request, whenever a file of the project
    /// changes. If the program is in the target directory of a cargo project, it is built first. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub use_reloader: bool,
    /// Additional files, directories and globs to watch.
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
    /// What clients get while the newest code can't be loaded.
    #[cfg(all(unix, feature = "reload"))]
    pub on_load_failure: OnLoadFailure,
    /// Whether open pages reload in the browser when the code has been replaced. For this, a script is inserted into
    /// HTML responses, and they are marked as not cacheable. A page with a Content-Security-Policy has to allow scripts
    /// and connections to `'self'`. With the feature `toolkit`, only known hosts are answered: see `allowed_hosts`.
    pub live_reload: bool,
    /// The number of worker processes. With more than 1, a supervisor replaces workers that die. Unix only.
    #[cfg(all(unix, feature = "reload"))]
    pub workers: usize,
    /// Whether to listen on the sockets passed by systemd, if there are any.
    pub from_systemd: bool,
    /// Folders and files that are served without the application, each below a prefix of the path: Werkzeug's
    /// `static_files`. A file that does not exist is left to the application. See [`toolkit::files`](crate::toolkit::files).
    #[cfg(feature = "toolkit")]
    pub static_files: Vec<(String, PathBuf)>,
    /// How the folders of `static_files` are served.
    #[cfg(feature = "toolkit")]
    pub folder_options: FolderOptions,
    /// Folders of CGI scripts, each below a prefix of the path. See
    /// [`toolkit::cgi::CgiFolder`](crate::toolkit::cgi::CgiFolder). Unix only.
    #[cfg(all(unix, feature = "toolkit"))]
    pub cgi: Vec<(String, PathBuf)>,
    /// Other applications on the same port, each for a host: a name such as `api.localhost`, or `*.example.org` for all
    /// names below. Requests for other hosts go to the main application.
    #[cfg(feature = "toolkit")]
    pub hosts: Vec<(String, Arc<dyn Application>)>,
    /// The hosts that requests are answered for, besides `localhost`, the names below it, the names that the server is
    /// bound to, and IP addresses; others get 421. `None` answers requests for every host, unless live reload, the
    /// debugger or the page for code that can't be loaded is served: then it stands for an empty list. See
    /// [`toolkit::middleware::AllowedHosts`](crate::toolkit::middleware::AllowedHosts).
    #[cfg(feature = "toolkit")]
    pub allowed_hosts: Option<Vec<String>>,
    /// The path of health checks, such as `/healthz`: GET is answered with 200 while the server runs, for any host, without
    /// the application and without a thread. See [`toolkit::middleware::Health`](crate::toolkit::middleware::Health).
    #[cfg(feature = "toolkit")]
    pub health: Option<String>,
    /// The path below which clients find the application, such as `/shop`, because a proxy passes on what is below it. See
    /// [`toolkit::middleware::RootPath`](crate::toolkit::middleware::RootPath).
    #[cfg(feature = "toolkit")]
    pub root_path: Option<String>,
    /// The names that the server is bound to, which are allowed hosts.
    #[cfg(feature = "toolkit")]
    pub(crate) bound_names: Vec<String>,
    /// Whether a failure of the application is answered with a page that explains it, as HTML, text or JSON. The pages
    /// show source code, so the server has to listen on addresses of this machine. Not with `passthrough_errors`. See
    /// [`DebugPages`](crate::debugger::DebugPages).
    #[cfg(feature = "debugger")]
    pub use_debugger: bool,
    /// Whether the debugger may be used on addresses that other machines can reach, and shows its pages to them.
    #[cfg(feature = "debugger")]
    pub debug_anywhere: bool,
    /// How the debugger's reports of errors are made; [`explain_error`](crate::debugger::explain_error) by default.
    #[cfg(feature = "debugger")]
    pub explain_error: Option<Arc<crate::debugger::Explain>>,
    /// A file that contains the process ID of the server, or of the supervisor of workers, while
    /// [`run`](crate::ServerBuilder::run) serves. Unix only.
    #[cfg(all(unix, feature = "cli"))]
    pub pid_file: Option<PathBuf>,
    /// The user and the group as which requests run, if root starts the server. An application that is loaded before its
    /// workers are forked ([`LaunchPlan::fork`](crate::LaunchPlan::fork)) is loaded as root. Linux only.
    #[cfg(all(target_os = "linux", feature = "cli"))]
    pub run_as: Option<crate::RunAs>,
    /// Reopens the logs. Called in the process that serves when its supervisor receives USR1. Without a supervisor, the
    /// program has to handle the signal itself.
    pub reopen_logs: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The request handler; with `None`, the server uses the one in `settings`.
    pub request_handler: Option<Arc<dyn RequestHandler>>,
    /// The name of the event loop that drives the server as its guest, such as `gevent`, for the banner of a supervisor.
    /// `None` for a server that drives itself. In the process that serves, the loader decides
    /// ([`AppLoader::guest_of`](crate::AppLoader::guest_of)).
    pub guest_of: Option<String>,
    /// Whether an error of the application ends the server.
    pub passthrough_errors: bool,
    /// Whether to use the next free port, and print it, if the port is in use.
    pub next_free_port: bool,
    /// Whether to print no banner.
    pub quiet: bool,
    /// Limits, timeouts, the log and all other settings of the server.
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
    /// Returns the SHA-256 fingerprint of the certificate, for comparison with the one that a browser shows. `None`
    /// without a certificate.
    pub fn fingerprint(&self) -> Option<String> {
        #[cfg(feature = "tls")]
        return self.ssl_context.as_ref()?.fingerprint();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Whether these options and this plan need a supervisor, which holds the sockets while worker processes serve.
    #[cfg(all(unix, feature = "reload"))]
    pub fn wants_supervisor(&self, plan: &LaunchPlan) -> bool {
        self.use_reloader || self.workers > 1 || plan.needs_supervisor()
    }

    /// Whether the process that serves becomes another user.
    #[cfg(all(unix, feature = "reload", feature = "cli"))]
    pub(crate) fn gives_up_rights(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.run_as.is_some();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Gives a file that this process has created to the user of [`run_as`](RunOptions::run_as).
    #[cfg(feature = "cli")]
    pub(crate) fn own(&self, file: &std::fs::File) {
        #[cfg(target_os = "linux")]
        if let Some(run_as) = &self.run_as {
            run_as.own(file);
        }
        let _ = file;
    }

    /// Makes this process run as [`run_as`](RunOptions::run_as) says, if it says something.
    pub(crate) fn give_up_rights(&self) -> Result<(), RunError> {
        #[cfg(all(target_os = "linux", feature = "cli"))]
        if let Some(run_as) = &self.run_as {
            run_as.apply()?;
        }
        Ok(())
    }

    /// Returns the scheme of the server's URLs.
    pub(crate) fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.ssl_context.is_some() {
            return "https";
        }
        self.settings.transport.as_ref().map_or("http", |layer| layer.scheme())
    }

    /// Converts the options into the arguments of [`make_server`](amboss_core::make_server): how requests run, and the
    /// settings.
    ///
    /// # Errors
    /// Returns an error if options contradict each other.
    pub fn resolve(self) -> Result<(Concurrency, Settings), RunError> {
        check_proxies(&self.settings.proxies).map_err(|message| RunErrorKind::Options(message.into()))?;
        let RunOptions { threaded, processes, request_handler, passthrough_errors, mut settings, .. } = self;
        #[cfg(feature = "tls")]
        if let Some(context) = self.ssl_context {
            settings.transport = Some(context.log(settings.log.clone()).layer());
        }
        let concurrency = match (threaded, processes) {
            (Some(true), 2..) => {
                return Err(RunErrorKind::Options("Cannot have a multi-thread and multi-process server.".into()).into());
            }
            (_, 2..) => Concurrency::Processes,
            _ if self.guest_of.is_some() => Concurrency::Guest,
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

/// Checks that someone may send the PROXY headers that are asked for.
///
/// # Errors
/// A message: no proxy is trusted.
pub(crate) fn check_proxies(proxies: &ProxySettings) -> Result<(), String> {
    if proxies.protocol != ProxyProtocol::Off && proxies.trusted.is_empty() {
        return Err("only trusted proxies send a PROXY header, and none is trusted; name them with \
                    --forwarded-allow-ips (trusted_proxies), or leave out --proxy-protocol (proxy_protocol)"
            .into());
    }
    Ok(())
}
