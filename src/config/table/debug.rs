//! Development with the debugger.

use super::Setting;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::switch(
        "debug",
        "For development: --reload, --live, and pages that explain failures; for browsers those of Werkzeug, with its \
         console, if APP's interpreter has it and there is one worker; on addresses of this machine only",
        |config| &mut config.debug,
    ),
    Setting::switch(
        "debug-anywhere",
        "Show the pages of --debug to other machines as well: everyone there can read the source code",
        |config| &mut config.debug_anywhere,
    )
    .needs(&["debug"]),
];
