//! The interface between the command line and the program that runs it.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use super::hang_up::HangUp;
use crate::config::log_file::ReopenLogs;
use crate::config::values::WorkerClass;
use crate::{Address, Application, RunError, RunOptions, ServeError, Server, Worker};
#[cfg(all(unix, feature = "reload"))]
use crate::{LaunchPlan, SourceKnowledge};

/// What a program that runs the command line must provide.
pub trait Runner {
    /// Serves Python applications: `target`, and those of [`AppConfig::hosts`], by their names as on the command line.
    /// Without `target`, [`AppConfig::own_app`] serves all other hosts.
    ///
    /// # Errors
    /// An error that [`run`](super::run) prints and turns into the exit code; [`RunErrorKind::Exit`](crate::RunErrorKind::Exit) if everything has been
    /// printed already.
    fn serve(&mut self, target: Option<&str>, config: AppConfig) -> Result<(), RunError>;

    /// Installs signal handlers. Called in the process that serves (`worker`) right before it serves something other
    /// than a Python application.
    ///
    /// # Errors
    /// Why the handlers can't be installed.
    fn started(&mut self, server: &Server, worker: &Worker, signals: Signals) -> Result<(), RunError>;

    /// Sets an environment variable of this process, for the application.
    fn set_variable(&mut self, name: &str, value: &str) {
        std::env::set_var(name, value);
    }

    /// Serves until that server is told to stop.
    ///
    /// # Errors
    /// What ended the server.
    fn wait(&mut self, mut server: Server) -> Result<(), ServeError> {
        server.serve_forever()
    }

    /// The start of the argv that runs this command again, to which the arguments are appended: an interpreter, and
    /// what makes it run the command. `None` if this executable is the command.
    ///
    /// With `as_root`, the command begins as root and becomes another user later. Until then, no code of the working
    /// directory may run, because that user may write there.
    fn respawn_argv(&self, as_root: bool) -> Option<Vec<OsString>> {
        let _ = as_root;
        None
    }

    /// What the program knows about the sources of the programs that it serves.
    #[cfg(all(unix, feature = "reload"))]
    fn sources(&self) -> Option<Arc<dyn SourceKnowledge>> {
        None
    }
}

/// What signal handlers need.
#[derive(Clone)]
pub struct Signals {
    /// Whether to print nothing when a signal arrives.
    pub quiet: bool,
    /// The action for USR1, if there is a log file.
    pub reopen_logs: Option<ReopenLogs>,
    /// The action for HUP in a process without a supervisor.
    pub hang_up: HangUp,
}

impl Signals {
    /// Reads from the options what signals should do.
    pub fn new(options: &RunOptions) -> Signals {
        const ADVICE: &str = "start amboss with --workers 2 or more";
        Signals {
            quiet: options.quiet,
            reopen_logs: options.reopen_logs.clone(),
            hang_up: HangUp::new(options, ADVICE),
        }
    }
}

/// The settings for serving a Python application.
#[derive(Clone)]
pub struct AppConfig {
    /// The addresses to listen on.
    pub addresses: Vec<Address>,
    /// The server's options. `options.settings.runtime.threads` holds the number of threads.
    pub options: RunOptions,
    /// The application for all hosts without a Python application, if no target is given.
    pub own_app: Option<Arc<dyn Application>>,
    /// The hosts that have Python applications of their own, and the names of these applications.
    pub hosts: Vec<(String, String)>,
    /// How a supervisor starts its workers.
    #[cfg(all(unix, feature = "reload"))]
    pub plan: LaunchPlan,
    /// How long a request may run before its worker is replaced.
    pub timeout: Option<Duration>,
    /// The number of requests after which a worker is replaced.
    pub max_requests: Option<u64>,
    /// The maximum of the random number that each worker adds to `max_requests`.
    pub max_requests_jitter: u64,
    /// How requests run in a worker; `None` for threads, unless the application has replaced them.
    pub worker_class: Option<WorkerClass>,
    /// The maximum number of requests that run at once in greenlets, if it was given.
    pub worker_connections: Option<usize>,
    /// Why requests can't run in greenlets, if a flag excludes that.
    pub greenlet_conflict: Option<String>,
    /// Whether the application is imported once and the workers are forked from that process.
    pub preload: bool,
    /// Whether the applications are only imported, to check them.
    pub check: bool,
    /// The arguments of a process that serves with this configuration.
    pub arguments: Vec<OsString>,
}
