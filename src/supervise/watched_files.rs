//! The selection of the files that the supervisor watches.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use amboss_reload::{Program, Scope, ScopeOptions, Waker, Watch, WatchOptions};

use super::cargo_program::CargoProgram;
use super::program::ProgramKind;
use crate::error::{RunError, RunErrorKind};
use crate::launch_plan::{LaunchPlan, SourceKnowledge};
use crate::options::RunOptions;

/// Starts to watch the files of a program: those of its cargo project, those that its workers report later, or the
/// current directory.
pub(super) fn start_watch(
    options: &RunOptions,
    plan: &LaunchPlan,
    kind: &ProgramKind,
    program: &Program,
    project: Option<&CargoProgram>,
) -> Result<Watch, RunError> {
    let mut scope = project.map_or_else(ScopeOptions::default, CargoProgram::scope);
    if project.is_none() && !plan.watch_reported {
        if kind.is_other() {
            scope.roots.push(PathBuf::from("."));
        }
        if program.path.components().count() > 1 {
            // A program that another tool builds changes when its file does.
            scope.optional_files.push(program.path.clone());
        }
    }
    scope.extra_files.extend(options.extra_files.iter().cloned());
    scope.exclude_patterns.extend(options.exclude_patterns.iter().cloned());
    scope.exclude_patterns.extend(own_output());
    let mut watch = WatchOptions::default();
    watch.backend = options.reloader_type.into();
    if let Some(interval) = options.reloader_interval {
        watch.poll_interval = interval;
    }
    let scope = Scope::new(scope).map_err(|error| RunErrorKind::Reload(error.to_string()))?;
    Watch::start(scope, watch).map_err(|error| RunErrorKind::Reload(error.to_string()).into())
}

/// Returns patterns of the files to which stdout and stderr of this process are redirected. If such a file were
/// watched, each line written to it would be a change, which would be logged with another line.
fn own_output() -> impl Iterator<Item = String> {
    let links = ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter();
    let files = links.filter_map(|link| std::fs::read_link(link).ok()).filter(|path| path.is_file());
    files.filter_map(|path| {
        let escape = |part| if matches!(part, '*' | '?' | '[') { format!("[{part}]") } else { part.to_string() };
        Some(path.to_str()?.chars().map(escape).collect())
    })
}

/// A filter that passes the files reported by workers to the watch.
pub(super) struct ReportedFiles {
    watch: Waker,
    sources: Option<Arc<dyn SourceKnowledge>>,
    /// Whether it has been logged that there are too many files.
    limit_logged: bool,
    /// When the newest worker was started.
    worker_started: SystemTime,
    /// Whether a worker has reported its files. Until then, all source files are watched.
    reported: bool,
}

impl ReportedFiles {
    pub(super) fn new(watch: &Watch, sources: Option<Arc<dyn SourceKnowledge>>) -> ReportedFiles {
        let worker_started = SystemTime::now();
        ReportedFiles { watch: watch.waker(), sources, limit_logged: false, worker_started, reported: false }
    }

    pub(super) fn note_started(&mut self) {
        self.worker_started = SystemTime::now();
    }

    /// Watches the files that a worker has reported. `since` is when the worker was started.
    pub(super) fn report(&mut self, files: Vec<PathBuf>, since: SystemTime) {
        self.reported = true;
        self.add(files, since);
    }

    /// Watches the files that the output of a failed worker names: the worker may have failed before it could report
    /// them.
    pub(super) fn report_failure(&mut self, output: &[u8]) {
        let Ok(working_directory) = std::env::current_dir() else { return };
        if let Some(sources) = self.sources.clone().filter(|_| self.reported) {
            self.add(sources.files_in_output(output, &working_directory), self.worker_started);
        }
    }

    fn add(&mut self, files: Vec<PathBuf>, since: SystemTime) {
        if !self.watch.add_files(files, since) && !std::mem::replace(&mut self.limit_logged, true) {
            let maximum = WatchOptions::default().max_added_files;
            say!(" * The program consists of more than {maximum} files; the others are not watched.");
        }
    }
}
