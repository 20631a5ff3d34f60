//! The reference of all settings, as Markdown, made from the table. A test compares it with the file `REFERENCE.md`.

use std::fmt::Write as _;

use super::layers::default_text;
use super::setting::Kind;
use super::table::{Setting, TOPICS};
use super::wrap::wrap;

/// Returns the reference.
fn reference() -> String {
    let mut text = String::from(
        "# Settings of the command\n\nMade from the table in `table/`; `AMBOSS_TEST_REWRITE=1 cargo test -p amboss --lib \
         reference` writes it again.\n\nA flag counts more than its environment variable, that more than its key in \
         `amboss.toml` (or in `[tool.amboss]` of\n`pyproject.toml`), and that more than the default. `PORT`, \
         `WEB_CONCURRENCY` and `FORWARDED_ALLOW_IPS` count more than\nthe file. `--no-` in front of a switch switches it \
         off. In a variable, commas separate the values of a list; a value with a\ncomma is written as in a file, \
         `[\"a, b\"]`. A time is in seconds or has a unit: `250ms`, `30s`, `5m` or `1h`. \
         A size is in bytes or has a unit: `64K`, `10M` or `1G`. `amboss --print-config` shows what counts, and `--check-config` checks it.\n",
    );
    for topic in TOPICS {
        let heading = topic.heading.unwrap_or("Server");
        let _ = write!(text, "\n## {heading}\n\n| flag | key | variable | default |\n|---|---|---|---|\n");
        for setting in topic.settings.iter().filter(|setting| !setting.hidden) {
            text.push_str(&row(setting));
        }
        for setting in topic.settings.iter().filter(|setting| !setting.hidden) {
            let _ = write!(text, "\n{}\n", paragraph(setting));
        }
    }
    text
}

/// Returns the row of a setting in the table of its topic.
fn row(setting: &Setting) -> String {
    let short = setting.short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let key = setting.path_in_file().unwrap_or_default();
    let default = default_text(setting).unwrap_or(match setting.kind {
        Kind::Switch(_) => "off",
        _ => "none",
    });
    let usage = escape(&setting.usage());
    format!("| {short}`{usage}` | `{key}` | `{}` | {} |\n", setting.variable(), escape(default))
}

/// Returns what a setting does, its values, and its other spellings.
fn paragraph(setting: &Setting) -> String {
    let mut text = format!("`{}`: {}.", setting.flag(), setting.help);
    if let Kind::Choice { choices, .. } = &setting.kind {
        let choices: Vec<String> = choices
            .iter()
            .map(|(choice, help)| if help.is_empty() { format!("`{choice}`") } else { format!("`{choice}` ({help})") })
            .collect();
        let _ = write!(text, " Values: {}.", choices.join("; "));
    }
    if !setting.aliases.is_empty() {
        let aliases: Vec<String> = setting.aliases.iter().map(|alias| format!("`--{alias}`")).collect();
        let _ = write!(text, " Also {}.", aliases.join(", "));
    }
    wrap(&text, 120).join("\n")
}

/// A cell of a table ends at a `|`.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

#[cfg(all(test, target_os = "linux", feature = "tls", feature = "reload"))]
#[test]
fn the_reference_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/REFERENCE.md");
    let expected = reference();
    if std::env::var_os("AMBOSS_TEST_REWRITE").is_some() {
        std::fs::write(path, &expected).expect("the file can be written");
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "write it again: AMBOSS_TEST_REWRITE=1 cargo test -p amboss --lib reference");
}
