//! The command lines with which a supervisor starts its children. Two of them use hidden subcommands of this command:
//! one that replaces itself with another program, and one that serves the error page.

use std::ffi::OsString;

#[cfg(all(unix, feature = "reload"))]
use super::args::{ERROR_PAGE, EXEC_AS_CHILD};
use crate::{RunError, RunOptions};

/// Sets the command lines. `argv` is [`Runner::respawn_argv`](super::Runner::respawn_argv).
#[cfg(all(unix, feature = "reload"))]
pub(super) fn set_commands(options: &mut RunOptions, arguments: &[OsString], argv: Option<Vec<OsString>>) {
    let Some(argv) = argv else {
        // The supervisor's default for the other command lines is this executable with its arguments.
        options.exec_wrapper = std::env::current_exe().ok().map(|this| vec![this.into(), EXEC_AS_CHILD.into()]);
        return;
    };
    let command = |subcommand: Option<&str>, arguments: &[OsString]| {
        argv.iter().cloned().chain(subcommand.map(OsString::from)).chain(arguments.iter().cloned()).collect()
    };
    options.error_page_command = Some(command(Some(ERROR_PAGE), arguments));
    if options.program.is_none() {
        options.respawn_command = Some(command(None, arguments));
    } else if !options.watch_reported {
        // The wrapper costs another start of the interpreter, and only programs that do not know amboss need it.
        options.exec_wrapper = Some(command(Some(EXEC_AS_CHILD), &[]));
    }
}

#[cfg(not(all(unix, feature = "reload")))]
pub(super) fn set_commands(_: &mut RunOptions, _: &[OsString], _: Option<Vec<OsString>>) {}

/// Checks that a supervisor has started this process to serve the error page.
///
/// # Errors
/// [`RunError::Options`] if it has not.
pub(super) fn check_error_page_wanted() -> Result<(), RunError> {
    #[cfg(all(unix, feature = "reload"))]
    if crate::is_running_from_reloader() && crate::reload::ErrorPage::is_wanted() {
        return Ok(());
    }
    Err(RunError::Options("__page can be started only by a supervisor; use --error-page instead"))
}
