//! The programs that a supervisor starts: the workers and the error page.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amboss_reload::Program;

use super::variables;
use crate::error::{RunError, RunErrorKind};
use crate::launch_plan::{ForkWith, LaunchPlan};
use crate::live_reload::start_timestamp;
use crate::options::RunOptions;
use crate::reload_options::OnLoadFailure;

/// The kind of program that the workers run.
pub(super) enum ProgramKind {
    /// This program, started again with the same command line.
    Respawned,
    /// Forks of this process.
    Forked(Arc<ForkWith>),
    /// Another program that inherits its sockets from its parent.
    Other(Vec<OsString>),
}

impl ProgramKind {
    pub(super) fn of(plan: &LaunchPlan) -> ProgramKind {
        match (&plan.program, &plan.fork) {
            (Some(argv), _) if !argv.is_empty() => ProgramKind::Other(argv.clone()),
            (_, Some(fork)) => ProgramKind::Forked(fork.clone()),
            _ => ProgramKind::Respawned,
        }
    }

    pub(super) fn is_other(&self) -> bool {
        matches!(self, ProgramKind::Other(_))
    }
}

/// Returns the program of the workers.
pub(super) fn worker_program(
    kind: &ProgramKind,
    options: &RunOptions,
    plan: &LaunchPlan,
    orphan_timeout: std::time::Duration,
) -> Result<Program, RunError> {
    let this = std::env::current_exe().map_err(|error| {
        RunErrorKind::Reload(format!("can't find the path of this executable, which the workers run: {error}"))
    })?;
    let mut program = match kind {
        ProgramKind::Respawned => {
            let mut program = Program::new(this);
            program.args = own_arguments(plan);
            if let Some(argv) = &plan.respawn_command {
                (program.path, program.args) = split_argv(argv)?;
            }
            program
        }
        ProgramKind::Forked(fork) => {
            let fork = fork.clone();
            return Ok(Program::forked(move |forked| fork(forked)));
        }
        ProgramKind::Other(argv) => {
            let mut program = Program::new(this);
            (program.path, program.args) = split_argv(argv)?;
            // The program may ignore the end of its supervisor, and nothing else would end it.
            program.kill_with_parent = true;
            program
        }
    };
    program.exec_wrapper.clone_from(&plan.exec_wrapper);
    program.env = environment(options);
    program.env.push((variables::ORPHAN_TIMEOUT.into(), orphan_timeout.as_millis().to_string().into()));
    let is_interpreted = plan.respawn_command.is_some() || plan.watch_reported;
    // The reason why an interpreted program does not start is often only in its output.
    if options.use_reloader && (options.on_load_failure == OnLoadFailure::ErrorPage || is_interpreted) {
        program.capture_stderr = true;
        // The program writes to a pipe and can't detect that its output reaches a terminal.
        if amboss_core::wants_color(std::io::stderr().is_terminal()) {
            program.env.push(("CLICOLOR_FORCE".into(), "1".into()));
        }
    }
    Ok(program)
}

/// Returns the environment variables that tell the workers about the supervisor's options.
fn environment(options: &RunOptions) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    if options.live_reload {
        env.push((variables::LIVE_RELOAD.into(), start_timestamp().into()));
    }
    if options.use_reloader {
        env.push((variables::RELOADING.into(), "true".into()));
        // Read by Werkzeug's `is_running_from_reloader`, with which applications decide what to do only once.
        env.push(("WERKZEUG_RUN_MAIN".into(), "true".into()));
    }
    if options.workers > 1 {
        env.push((variables::MULTIPROCESS.into(), "true".into()));
    }
    env
}

/// Returns the program that serves the error page in place of `program`.
pub(super) fn error_page_program(program: &Program, plan: &LaunchPlan) -> Result<Program, RunError> {
    let mut page = Program::new("");
    page.env.clone_from(&program.env);
    page.exec_wrapper.clone_from(&program.exec_wrapper);
    page.kill_with_parent = program.kill_with_parent;
    if let Some(argv) = &plan.error_page_command {
        (page.path, page.args) = split_argv(argv)?;
        return Ok(page);
    }
    // This executable as it is now, even if another one is built in its place later.
    page.path = this_executable().unwrap_or_else(|| program.path.clone());
    page.args = own_arguments(plan);
    Ok(page)
}

/// Returns the arguments of this executable, as a worker and for the error page.
fn own_arguments(plan: &LaunchPlan) -> Vec<OsString> {
    plan.arguments.clone().unwrap_or_else(|| std::env::args_os().skip(1).collect())
}

/// Returns the path of this executable. On Linux, the path refers to the file that this process runs, even if another
/// file has its name now.
fn this_executable() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        return Some(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    std::env::current_exe().ok()
}

fn split_argv(argv: &[OsString]) -> Result<(PathBuf, Vec<OsString>), RunError> {
    match argv {
        [program, arguments @ ..] => Ok((program.into(), arguments.to_vec())),
        [] => {
            Err(RunErrorKind::Options("A command line in the launch plan is empty; begin it with a program.".into())
                .into())
        }
    }
}

/// Checks that a program of this name can be started, so that an error is reported once and not by every worker.
pub(crate) fn check_runnable(name: &OsStr) -> Result<(), RunError> {
    use std::os::unix::fs::PermissionsExt;
    let is_program =
        |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let shown = name.to_string_lossy();
    let message = if !name.as_bytes().contains(&b'/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| is_program(&folder.join(name))) {
            return Ok(());
        }
        format!(
            "there is no program '{shown}' in the directories of PATH; for one in this directory, write './{shown}'"
        )
    } else if is_program(Path::new(name)) {
        return Ok(());
    } else if Path::new(name).exists() {
        format!("'{shown}' is not a program; name an executable file")
    } else {
        format!("there is no program '{shown}'; build it first, or fix the path")
    };
    Err(RunErrorKind::Reload(message).into())
}
