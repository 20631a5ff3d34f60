//! `--print-config`: the configuration as an `amboss.toml`, with the source of each value.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use super::given::Given;
use super::layers::{default_text, Resolved};
use super::setting::{DefaultValue, Key, Kind};
use super::table::{self, Setting};

/// The column in which the sources begin.
const COLUMN: usize = 44;

/// Returns the configuration as a file in TOML. A setting that was not given is in a comment, with its default.
pub(crate) fn print(resolved: &Resolved) -> String {
    let mut text = String::new();
    for (header, is_in) in SECTIONS {
        let settings: Vec<_> = table::settings().filter(|setting| !setting.hidden && is_in(setting.key)).collect();
        if let Some(header) = header {
            let _ = writeln!(text, "\n[{header}]");
        }
        for setting in settings {
            let line = match resolved.given(setting.name) {
                Some(given) if is_binary(&given.values) => {
                    let line = format!("# {}", assignment(setting, &given.values));
                    annotated(&line, &format!("{}; not UTF-8, so it can't be written here", given.source))
                }
                Some(given) => annotated(&assignment(setting, &given.values), &given.source.to_string()),
                None => default_line(setting),
            };
            text.push_str(&line);
        }
    }
    if !resolved.unused.is_empty() {
        text.push_str("\n# Without effect here:\n");
    }
    for (Given { setting, values, source }, reason) in &resolved.unused {
        let _ = writeln!(text, "# {} # {source}: {reason}", assignment(setting, values));
    }
    text
}

/// A table of a file, and which keys are in it.
type Section = (Option<&'static str>, fn(Key) -> bool);

/// The tables of a file, in their order.
pub(crate) const SECTIONS: [Section; 3] = [
    (None, |key| key == Key::Top),
    (Some("timeouts"), |key| matches!(key, Key::Timeout(_))),
    (Some("limits"), |key| matches!(key, Key::Limit(_))),
];

/// Returns a line of a file that gives these values to a setting.
pub(crate) fn assignment(setting: &Setting, values: &[OsString]) -> String {
    let key = key(setting);
    let value = match (&setting.kind, values) {
        (Kind::List(..) | Kind::Program(_), values) => {
            let values: Vec<String> = values.iter().map(|value| literal(value, false)).collect();
            format!("[{}]", values.join(", "))
        }
        (Kind::Switch(_) | Kind::Count(_), [value]) => value.to_string_lossy().into_owned(),
        (_, [value]) => literal(value, true),
        (_, _) => "\"\"".into(),
    };
    format!("{key} = {value}")
}

/// Returns a TOML literal.
fn literal(value: &OsStr, may_be_number: bool) -> String {
    let text = value.to_string_lossy();
    // Longer numbers are texts: TOML's integers have 64 bits and a sign.
    if may_be_number && text.len() <= 18 && text.parse::<u64>().is_ok_and(|number| number.to_string() == text) {
        return text.into_owned();
    }
    string(&text)
}

/// Returns a string of TOML on one line, so that it can stand in a comment.
fn string(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(literal, "\\u{:04X}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal + "\""
}

/// Whether a value can't be written as text, which TOML needs.
fn is_binary(values: &[OsString]) -> bool {
    values.iter().any(|value| value.to_str().is_none())
}

fn default_line(setting: &Setting) -> String {
    let words = default_text(setting);
    match (&setting.kind, setting.default) {
        (Kind::Switch(_), _) => annotated(&format!("# {} = false", key(setting)), words.unwrap_or("default")),
        (_, DefaultValue::Value(value)) => annotated(&format!("# {}", assignment(setting, &[value.into()])), "default"),
        (_, DefaultValue::Words(words)) => annotated(&format!("# {} =", key(setting)), &format!("default: {words}")),
        (_, DefaultValue::None) => annotated(&format!("# {} =", key(setting)), "not set"),
    }
}

fn key(setting: &Setting) -> &'static str {
    setting.key_in_table().unwrap_or_default()
}

fn annotated(line: &str, comment: &str) -> String {
    format!("{line:COLUMN$} # {comment}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_on_one_line_and_means_the_same() {
        for text in ["", "plain", "a\"b\\c", "two\nlines\tand\r\u{1}\u{85}", "ä€", "\"\"\"x", "12"] {
            let literal = string(text);
            assert!(!literal.contains('\n'), "{literal}");
            let read: toml::Table = format!("key = {literal}").parse().expect("it is TOML");
            assert_eq!(read["key"].as_str(), Some(text));
        }
    }
}
