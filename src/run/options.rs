//! What can be asked for.

use std::fmt;
#[cfg(all(unix, feature = "reload"))]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(all(unix, feature = "reload"))]
use std::time::Duration;

use amboss_core::{Address, Concurrency, RequestHandler, Settings};

use super::RunError;
#[cfg(all(unix, feature = "reload"))]
use crate::reload::{BrokenSave, ForkWith, ReloaderType};

/// What [`run_simple`](crate::run_simple) can be told; named after Werkzeug's parameters where it has them.
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
    /// The command line that starts this program again as a child, where this executable and its arguments don't: those
    /// of an interpreter, which has eaten some of its own. First the program, then its arguments.
    #[cfg(all(unix, feature = "reload"))]
    pub respawn_command: Option<Vec<std::ffi::OsString>>,
    /// The command line that shows the error page: one that gets as far as [`run_host`](crate::run_host) however broken
    /// the application is, which is not made there. By default this executable, as it was when it was started, with its
    /// arguments.
    #[cfg(all(unix, feature = "reload"))]
    pub error_page_command: Option<Vec<std::ffi::OsString>>,
    /// With `use_reloader`: watched is what the children [report](crate::Worker::report_files), and `extra_files`,
    /// instead of the project's folder and the executable. They also say when they are ready: what they import before may
    /// take its time.
    #[cfg(all(unix, feature = "reload"))]
    pub watch_reported: bool,
    /// A supervisor also for one process that nothing reloads: one that dies is replaced, and one that
    /// [asks for it](crate::Worker::ask_to_be_replaced).
    #[cfg(all(unix, feature = "reload"))]
    pub supervised: bool,
    /// Children are copies of this process, which has the application in memory already: in the thread that calls
    /// [`run_host`](crate::run_host) this forks, and returns the copy's process id in the parent; in the copy it calls
    /// [`run_forked`](crate::run_forked) and ends the process. Only the caller knows whether what it has in memory can
    /// stand that: other threads don't exist in the copy. Not with `use_reloader`, since nothing would be read anew.
    #[cfg(all(unix, feature = "reload"))]
    pub fork: Option<Arc<ForkWith>>,
    /// A command line that runs [`exec_as_child`](crate::exec_as_child) on what is added to it.
    #[cfg(all(unix, feature = "reload"))]
    #[doc(hidden)]
    pub exec_wrapper: Option<Vec<std::ffi::OsString>>,
    /// The scheme of the program's URLs in the banner, when it speaks TLS by itself.
    #[cfg(all(unix, feature = "reload"))]
    #[doc(hidden)]
    pub program_scheme: Option<&'static str>,
    /// The fingerprint of its certificate.
    #[cfg(all(unix, feature = "reload"))]
    #[doc(hidden)]
    pub program_fingerprint: Option<String>,
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
        #[cfg(all(unix, feature = "reload"))]
        if self.program_fingerprint.is_some() {
            return self.program_fingerprint.clone();
        }
        #[cfg(feature = "tls")]
        return self.ssl_context.as_ref()?.fingerprint();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Is this process to hold the sockets, and others to serve?
    #[cfg(all(unix, feature = "reload"))]
    #[doc(hidden)]
    pub fn wants_supervisor(&self) -> bool {
        self.use_reloader || self.workers > 1 || self.program.is_some() || self.supervised || self.fork.is_some()
    }

    /// The scheme of the server's URLs.
    pub(super) fn scheme(&self) -> &'static str {
        #[cfg(all(unix, feature = "reload"))]
        if let Some(scheme) = self.program_scheme {
            return scheme;
        }
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
        #[cfg(all(unix, feature = "reload"))]
        if self.fork.is_some() && self.use_reloader {
            return Err(RunError::Options(
                "An application that is in memory before its processes are made is not read again when a file changes; \
                 leave out either the preloading or the reloader.",
            ));
        }
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
