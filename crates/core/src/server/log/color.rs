//! Whether to write in colour.

use std::env;
use std::ffi::OsStr;

/// Whether to write in colour to an output stream; `terminal` says whether that is a terminal. All of amboss uses this
/// rule.
///
/// A non-empty `NO_COLOR` switches colours off (<https://no-color.org>). Otherwise, a `CLICOLOR_FORCE` that is neither
/// empty nor `0` switches them on (<https://bixense.com/clicolors>). Without either, a terminal gets colours.
pub fn wants_color(terminal: bool) -> bool {
    decide(env::var_os("NO_COLOR").as_deref(), env::var_os("CLICOLOR_FORCE").as_deref(), terminal)
}

fn decide(no_color: Option<&OsStr>, force: Option<&OsStr>, terminal: bool) -> bool {
    let is_set = |value: Option<&OsStr>| value.is_some_and(|value| !value.is_empty());
    !is_set(no_color) && (terminal || is_set(force) && force != Some(OsStr::new("0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_non_empty_no_color_switches_colours_off() {
        for (no_color, force, terminal, expected) in [
            (None, None, true, true),
            (None, None, false, false),
            (Some(""), None, true, true),
            (Some("0"), None, true, false),
            (Some("0"), Some("1"), true, false),
            (Some("1"), Some("1"), false, false),
            (None, Some("1"), false, true),
            (None, Some("0"), false, false),
            (None, Some(""), false, false),
            (None, Some("0"), true, true),
        ] {
            let decision = decide(no_color.map(OsStr::new), force.map(OsStr::new), terminal);
            assert_eq!(decision, expected, "NO_COLOR={no_color:?} CLICOLOR_FORCE={force:?} terminal={terminal}");
        }
    }
}
