//! The command lines with which a supervisor starts its children. Two of them use hidden subcommands of this command:
//! one that replaces itself with another program, and one that serves the error page.

#[cfg(all(unix, feature = "reload"))]
use std::ffi::OsString;

#[cfg(all(unix, feature = "reload"))]
use super::command_line::{ERROR_PAGE, EXEC_AS_CHILD};
#[cfg(all(unix, feature = "reload"))]
use super::runner::Runner;
#[cfg(all(unix, feature = "reload"))]
use crate::LaunchPlan;
use crate::{RunError, RunErrorKind};

/// Adds the command lines of this command, with these arguments, to a plan. `as_root`: whether its children begin as root
/// and become another user.
#[cfg(all(unix, feature = "reload"))]
pub(super) fn set_commands(plan: &mut LaunchPlan, arguments: Vec<OsString>, as_root: bool, runner: &dyn Runner) {
    plan.sources = runner.sources();
    let Some(argv) = runner.respawn_argv(as_root) else {
        // The supervisor's default for the other command lines is this executable with these arguments.
        plan.exec_wrapper = exec_wrapper(runner);
        plan.arguments = Some(arguments);
        return;
    };
    let command = |subcommand: Option<&str>, arguments: &[OsString]| {
        argv.iter().cloned().chain(subcommand.map(OsString::from)).chain(arguments.iter().cloned()).collect()
    };
    plan.error_page_command = Some(command(Some(ERROR_PAGE), &arguments));
    if plan.program.is_none() {
        plan.respawn_command = Some(command(None, &arguments));
    } else if !plan.watch_reported {
        // The wrapper costs another start of the interpreter, and only programs that do not know amboss need it.
        plan.exec_wrapper = exec_wrapper(runner);
    }
}

/// Returns the command that executes the program which is appended to it as a child of a supervisor.
#[cfg(all(unix, feature = "reload"))]
pub(super) fn exec_wrapper(runner: &dyn Runner) -> Option<Vec<OsString>> {
    let this = || std::env::current_exe().ok().map(|this| vec![this.into()]);
    let mut argv = runner.respawn_argv(false).or_else(this)?;
    argv.push(EXEC_AS_CHILD.into());
    Some(argv)
}

/// Checks that a supervisor has started this process to serve the error page.
///
/// # Errors
/// [`RunErrorKind::Options`](crate::RunErrorKind::Options) if it has not.
pub(super) fn check_error_page_wanted() -> Result<(), RunError> {
    #[cfg(all(unix, feature = "reload"))]
    if crate::is_running_from_reloader() && crate::supervise::ErrorPage::is_wanted() {
        return Ok(());
    }
    Err(RunErrorKind::Options("__page can be started only by a supervisor; use --error-page instead".into()).into())
}
