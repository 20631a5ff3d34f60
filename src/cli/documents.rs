//! The manual page and the completions of shells, made from the table of settings.

use clap_complete::Shell;
use clap_mangen::roff::{roman, Roff};

use super::command_line::documentation;
use crate::config::table::{Setting, TOPICS};

/// Returns the manual page, in the format of `man`.
pub(super) fn manual() -> String {
    let man = clap_mangen::Man::new(documentation()).manual("User Commands");
    let mut page = Vec::new();
    // Writing to a vector does not fail.
    let _ = man.render(&mut page);
    let mut roff = Roff::new();
    roff.control("SH", ["SETTINGS IN FILES AND VARIABLES"]);
    roff.text([roman(
        "Each line has a flag, the environment variable with the same meaning, and the key of amboss.toml.",
    )]);
    for setting in TOPICS.iter().flat_map(|topic| topic.settings).filter(|setting| !setting.hidden) {
        roff.control("TP", []);
        roff.text([roman(setting.usage())]);
        roff.text([roman(names(setting))]);
    }
    String::from_utf8_lossy(&page).into_owned() + &roff.to_roff()
}

/// Returns the variable and the key of a setting.
fn names(setting: &Setting) -> String {
    let key = setting.path_in_file().unwrap_or_default();
    format!("{}, {key}", setting.variable())
}

/// Returns the completions for a shell, with a comment on where to put them.
pub(super) fn completions(shell: Shell) -> String {
    let place = match shell {
        Shell::Bash => "amboss completions bash > ~/.local/share/bash-completion/completions/amboss",
        Shell::Fish => "amboss completions fish > ~/.config/fish/completions/amboss.fish",
        Shell::Zsh => "amboss completions zsh > _amboss, in a directory of $fpath",
        Shell::PowerShell => "amboss completions powershell >> $PROFILE",
        _ => "amboss completions elvish >> ~/.config/elvish/rc.elv",
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut documentation(), "amboss", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    // The first line of zsh's script is one that zsh reads.
    match script.split_once('\n') {
        Some((first, rest)) if first.starts_with("#compdef") => format!("{first}\n# {place}\n{rest}"),
        _ => format!("# {place}\n{script}"),
    }
}
