//! The plan by which a supervisor starts its workers.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss_reload::Forked;

/// A function that forks a worker; see [`LaunchPlan::fork`].
pub type ForkWith = dyn Fn(Forked) -> std::io::Result<u32> + Send + Sync;

/// The plan by which a supervisor starts its workers. The default starts this executable again with its arguments.
/// Commands, language bindings and other programs that start amboss change the plan; see
/// [`ServerBuilder::launch`](crate::ServerBuilder::launch).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LaunchPlan {
    /// A program and its arguments to serve in place of this executable: any program that inherits its sockets from its
    /// parent (`AMBOSS_SERVER_FD`, `LISTEN_FDS`).
    pub program: Option<Vec<OsString>>,
    /// The arguments with which this executable is started again as a worker, and for the error page; by default those of
    /// this process.
    pub arguments: Option<Vec<OsString>>,
    /// The command line that starts this program again as a worker, program first. Needed if this executable with its
    /// arguments does not start the program again, for example because an interpreter has removed its own arguments.
    pub respawn_command: Option<Vec<OsString>>,
    /// The command line that serves the error page. It must call [`ServerBuilder::run`](crate::ServerBuilder::run),
    /// which serves the page without loading the application, even if the application can't be loaded. The default is
    /// this executable as it was when this process started, with its arguments.
    pub error_page_command: Option<Vec<OsString>>,
    /// A command line that calls [`exec_as_child`](crate::exec_as_child) with the arguments that follow it.
    pub exec_wrapper: Option<Vec<OsString>>,
    /// Whether, with [`use_reloader`](crate::RunOptions::use_reloader), the supervisor watches the files that the
    /// workers [report](crate::Worker::report_files), and `extra_files`, instead of the project's directory and the
    /// executable. Such workers also report when they are ready, so a long import is not taken for a failed start.
    pub watch_reported: bool,
    /// Whether the supervisor keeps a spare: a worker that is started ahead of time, prepares itself
    /// ([`AppLoader::prepare_spare`](crate::AppLoader::prepare_spare)), and serves after the next change. Only with
    /// [`use_reloader`](crate::RunOptions::use_reloader).
    pub spare: bool,
    /// Whether even a single worker without a reloader has a supervisor, which replaces it when it dies or [requests a
    /// replacement](crate::Worker::request_replacement).
    pub supervised: bool,
    /// Forks workers from this process, which has loaded the application already. Called in the thread that calls
    /// [`ServerBuilder::run`](crate::ServerBuilder::run). In the parent, the function returns the process ID of the
    /// worker; in the worker, it calls [`ServerBuilder::run_forked`](crate::ServerBuilder::run_forked) and ends the
    /// process. The caller has to make sure that the loaded state survives a fork: other threads do not exist in the
    /// worker. Can't be combined with `use_reloader`, because the code would not be loaded again.
    pub fork: Option<Arc<ForkWith>>,
    /// The binding's knowledge about the sources of the programs, if the plan is made by a language binding.
    pub sources: Option<Arc<dyn SourceKnowledge>>,
}

impl LaunchPlan {
    /// Whether the plan needs a supervisor regardless of the options.
    pub(crate) fn needs_supervisor(&self) -> bool {
        self.program.is_some() || self.supervised || self.fork.is_some()
    }
}

impl fmt::Debug for LaunchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchPlan")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("respawn_command", &self.respawn_command)
            .field("error_page_command", &self.error_page_command)
            .field("watch_reported", &self.watch_reported)
            .field("spare", &self.spare)
            .field("supervised", &self.supervised)
            .finish_non_exhaustive()
    }
}

/// A language binding's knowledge about the sources of its programs. Used with [`LaunchPlan::watch_reported`].
pub trait SourceKnowledge: Send + Sync {
    /// Returns a glob of the files to watch until the first worker has reported its files, because a worker may die
    /// before it does.
    fn watch_until_reported(&self) -> &str;

    /// Called for each file that has changed, before the program is started again, so that files compiled from it can
    /// be deleted.
    fn file_changed(&self, path: &Path);

    /// Returns the files that the output of a failed program names, and the files that it reports missing.
    /// `working_directory` is the directory in which the program ran.
    fn files_in_output(&self, output: &[u8], working_directory: &Path) -> Vec<PathBuf>;
}
