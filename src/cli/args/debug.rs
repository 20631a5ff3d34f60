//! The flags of development with the debugger.

use clap::{ArgGroup, Args};

use crate::RunOptions;

/// The flags of development with the debugger. `--debug` counts as `--reload` for the flags that require it: both are
/// members of the group `reloading`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Development", group = ArgGroup::new("reloading").multiple(true))]
pub(super) struct DebugArgs {
    /// For development: --reload, --live, and pages that explain failures; for browsers those of Werkzeug, with its
    /// console, if APP's interpreter has it and there is one worker; on addresses of this machine only
    #[arg(long, group = "reloading")]
    debug: bool,

    /// Show the pages of --debug to other machines as well: everyone there can read the source code
    #[arg(long, requires = "debug")]
    debug_anywhere: bool,
}

impl DebugArgs {
    pub(super) fn is_on(&self) -> bool {
        self.debug
    }

    /// Copies the flags into the server's options.
    pub(super) fn apply(&self, options: &mut RunOptions) {
        options.use_debugger = self.debug;
        options.debug_anywhere = self.debug_anywhere;
    }
}
