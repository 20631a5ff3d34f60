//! Whether what is written for people is coloured.

use std::env;
use std::ffi::OsStr;

/// Whether to write in colour to standard error, say, which is a `terminal` or not: the one rule for everything of
/// amboss.
///
/// `NO_COLOR` with any value but an empty one switches colours off (<https://no-color.org>). Otherwise `CLICOLOR_FORCE`
/// with any value but an empty one or `0` switches them on (<https://bixense.com/clicolors>), and else a terminal does.
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
    fn any_value_of_no_color_switches_colours_off() {
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
            let seen = decide(no_color.map(OsStr::new), force.map(OsStr::new), terminal);
            assert_eq!(seen, expected, "NO_COLOR={no_color:?} CLICOLOR_FORCE={force:?} terminal={terminal}");
        }
    }
}
