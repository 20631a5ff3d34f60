//! How a supervisor starts its workers.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss_reload::Forked;

/// Forks a worker; see [`LaunchPlan::fork`].
pub type ForkWith = dyn Fn(Forked) -> std::io::Result<u32> + Send + Sync;

/// How a supervisor starts its workers, where that is not simply this executable with its arguments: for commands, language
/// bindings, and other programs that start amboss. See [`ServerBuilder::launch`](crate::ServerBuilder::launch).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LaunchPlan {
    /// A program and its arguments that serve instead of this process: any program that takes its sockets from its parent
    /// (`AMBOSS_SERVER_FD`, `LISTEN_FDS`).
    pub program: Option<Vec<OsString>>,
    /// The command line that starts this program again as a worker, where this executable and its arguments do not, as with
    /// an interpreter that removes arguments of its own. First the program, then its arguments.
    pub respawn_command: Option<Vec<OsString>>,
    /// The command line that serves the error page: it must reach [`ServerBuilder::run`](crate::ServerBuilder::run) even if
    /// the application can't be loaded, and the application is not loaded there. By default this executable, as it was when
    /// it was started, with its arguments.
    pub error_page_command: Option<Vec<OsString>>,
    /// A command line that runs [`exec_as_child`](crate::exec_as_child) on the arguments that follow it.
    pub exec_wrapper: Option<Vec<OsString>>,
    /// Whether, with [`use_reloader`](crate::RunOptions::use_reloader), the supervisor watches the files that the workers
    /// [report](crate::Worker::report_files), and `extra_files`, instead of the project's directory and the executable. The
    /// workers also say when they are ready, however long they import before.
    pub watch_reported: bool,
    /// Whether a single worker without a reloader also has a supervisor, which replaces it when it dies or
    /// [asks for it](crate::Worker::request_replacement).
    pub supervised: bool,
    /// Forks workers from this process, which has loaded the application already. Called in the thread that calls
    /// [`ServerBuilder::run`](crate::ServerBuilder::run). In the parent, the function returns the process ID of the worker;
    /// in the worker, it calls [`ServerBuilder::run_forked`](crate::ServerBuilder::run_forked) and ends the process. Only the
    /// caller knows whether what is in memory survives a fork: there are no other threads in the worker. Not together with
    /// `use_reloader`, since nothing would be read again.
    pub fork: Option<Arc<ForkWith>>,
    /// The scheme of the program's URLs in the banner, if the program speaks TLS itself.
    pub program_scheme: Option<&'static str>,
    /// The fingerprint of the program's certificate.
    pub program_fingerprint: Option<String>,
    /// What a language binding knows about the sources of its programs.
    pub sources: Option<Arc<dyn SourceKnowledge>>,
}

impl LaunchPlan {
    /// Whether the plan needs a supervisor, whatever the options are.
    pub(crate) fn needs_supervisor(&self) -> bool {
        self.program.is_some() || self.supervised || self.fork.is_some()
    }
}

impl fmt::Debug for LaunchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchPlan")
            .field("program", &self.program)
            .field("respawn_command", &self.respawn_command)
            .field("error_page_command", &self.error_page_command)
            .field("watch_reported", &self.watch_reported)
            .field("supervised", &self.supervised)
            .finish_non_exhaustive()
    }
}

/// What a language binding knows about the sources of its programs. Used with [`LaunchPlan::watch_reported`].
pub trait SourceKnowledge: Send + Sync {
    /// A glob of the files that are watched until the first worker has reported its files: a worker may die before it can.
    fn watch_until_reported(&self) -> &str;

    /// Called for each file that has changed, before the program is started again: to delete what was compiled from it.
    fn file_changed(&self, path: &Path);

    /// Returns the files that the output of a failed program names, and those that would repair what it misses.
    /// `working_directory` is where the program ran.
    fn files_in_output(&self, output: &[u8], working_directory: &Path) -> Vec<PathBuf>;
}
