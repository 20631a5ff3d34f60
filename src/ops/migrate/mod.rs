//! `amboss migrate`: prints the `amboss.toml` that corresponds to the configuration of gunicorn, uWSGI or granian, and says
//! what has no counterpart.
//!
//! The options of each server are a table (`gunicorn`, `granian`, `uwsgi`). Flags, and keys of a file, are looked up there
//! and applied to a [`Draft`]. The messages for flags of gunicorn that amboss does not have come from its table, too.

mod draft;
mod granian;
mod gunicorn;
mod ini;
mod option;
mod uwsgi;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use draft::Draft;
use option::{Becomes, PeerOption, Takes};

use crate::config::nearest::nearest;

/// The program that evaluates gunicorn's configuration file.
const EVALUATE: &str = include_str!("gunicorn_conf.py");

/// Returns the configuration file for a command line of gunicorn, without the word `gunicorn`.
///
/// # Errors
/// A message: its configuration file can't be evaluated. `python` returns the interpreter that does that.
pub(crate) fn gunicorn(
    arguments: &[String],
    python: impl FnOnce() -> Result<std::path::PathBuf, String>,
) -> Result<String, String> {
    let mut draft = Draft::default();
    let (file, arguments) = without_file(arguments);
    let file = file.or_else(|| Path::new("gunicorn.conf.py").exists().then(|| "gunicorn.conf.py".to_owned()));
    if let Some(file) = file.as_deref().filter(|file| !file.is_empty()) {
        let file = file.strip_prefix("file:").unwrap_or(file);
        if let Some(module) = file.strip_prefix("python:") {
            return Err(format!("give the path of the file of the module {module:?}"));
        }
        for (name, values) in evaluate(file, &python()?)? {
            match find(gunicorn::OPTIONS, &name) {
                Some(option) => draft.apply(option, &name, &values),
                // A file may have variables of its own; only what looks like a setting is worth a remark.
                None if nearest(&name, names(gunicorn::OPTIONS)).is_some_and(|near| near != name) && name.len() > 4 => {
                    draft.unknown(&name);
                }
                None => {}
            }
        }
    }
    draft.next_source();
    command_line(&mut draft, gunicorn::OPTIONS, &arguments);
    gunicorn::finish(&mut draft);
    Ok(draft.print(&origin("gunicorn", &arguments, file.as_deref())))
}

/// Returns the configuration file for a command line of granian, without the word `granian`.
pub(crate) fn granian(arguments: &[String]) -> String {
    let mut draft = Draft::default();
    granian::begin(&mut draft);
    command_line(&mut draft, granian::OPTIONS, arguments);
    granian::finish(&mut draft);
    draft.print(&origin("granian", arguments, None))
}

/// Returns the configuration file for a file of uWSGI.
///
/// # Errors
/// A message: the file can't be read, or has no options.
pub(crate) fn uwsgi(path: &Path) -> Result<String, String> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("can't read '{shown}': {error}"))?;
    let options = ini::parse(&text);
    if options.is_empty() {
        return Err(format!("'{shown}' has no section [uwsgi]; name the INI file of uWSGI"));
    }
    let mut draft = Draft::default();
    for (name, value) in options {
        match find(uwsgi::OPTIONS, &name) {
            Some(option) => draft.apply(option, &name, &[value]),
            // An option that others refer to may have any name.
            None if text.contains(&format!("%({name})")) => {}
            None => draft.unknown(&name),
        }
    }
    uwsgi::finish(&mut draft);
    Ok(draft.print(&shown))
}

/// Returns how many arguments a flag of gunicorn has that needs no counterpart, and a sentence that says why.
pub(crate) fn not_needed(flag: &str) -> Option<(usize, String)> {
    let option = find(gunicorn::OPTIONS, flag).filter(|_| flag.starts_with('-'))?;
    let Becomes::NotNeeded(reason) = option.becomes else { return None };
    let arguments = if option.takes == Takes::Value { 1 } else { 0 };
    Some((arguments, format!("{flag} of gunicorn has no effect here: {reason}")))
}

/// Returns what to use in place of a setting of gunicorn in a file, such as `statsd_host`.
pub(crate) fn advice_for_key(key: &str) -> Option<String> {
    let option = find(gunicorn::OPTIONS, &key.replace('-', "_"))?;
    Some(format!("it is a setting of gunicorn; {}", option.advice()))
}

/// Returns what to use in place of a flag of gunicorn, such as `--statsd-host`.
pub(crate) fn advice(flag: &str) -> Option<String> {
    let option = find(gunicorn::OPTIONS, flag).filter(|_| flag.starts_with('-'))?;
    Some(format!("{flag} is an option of gunicorn; {}", option.advice()))
}

fn find(options: &'static [PeerOption<Draft>], name: &str) -> Option<&'static PeerOption<Draft>> {
    options.iter().find(|option| option.names.contains(&name))
}

fn names(options: &'static [PeerOption<Draft>]) -> impl Iterator<Item = String> {
    options.iter().flat_map(|option| option.names.iter().map(ToString::to_string))
}

/// Applies the flags of a command line. The first other argument is the application.
fn command_line(draft: &mut Draft, options: &'static [PeerOption<Draft>], arguments: &[String]) {
    let mut arguments = arguments.iter().cloned().peekable();
    while let Some(argument) = arguments.next() {
        let (name, attached) = split(&argument);
        if !argument.starts_with('-') || argument == "-" {
            if draft.has_here("app") {
                draft.unknown(&argument);
            } else {
                draft.set("app", argument);
            }
            continue;
        }
        match find(options, &name) {
            Some(option) if option.takes == Takes::Value => {
                let value = attached.or_else(|| arguments.next()).unwrap_or_default();
                draft.apply(option, &name, &[value]);
            }
            Some(option) => draft.apply(option, &name, &[attached.unwrap_or_else(|| "true".into())]),
            None => {
                draft.unknown(&argument);
                // What follows is more likely the flag's value than the application.
                if attached.is_none() && arguments.peek().is_some_and(|next| !next.contains([':', '-'])) {
                    arguments.next();
                }
            }
        }
    }
}

/// Splits a flag from the value that is attached to it: `--bind=x`, `-w4`.
fn split(argument: &str) -> (String, Option<String>) {
    if argument.starts_with("--") {
        return match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument.to_owned(), None),
        };
    }
    match argument.char_indices().nth(2) {
        Some((end, _)) => {
            let value = argument[end..].trim_start_matches('=');
            (argument[..end].to_owned(), Some(value.to_owned()))
        }
        None => (argument.to_owned(), None),
    }
}

/// Returns the configuration file of a command line of gunicorn, and the other arguments.
fn without_file(arguments: &[String]) -> (Option<String>, Vec<String>) {
    let (mut file, mut rest) = (None, Vec::new());
    let mut arguments = arguments.iter().cloned();
    while let Some(argument) = arguments.next() {
        match split(&argument) {
            (name, attached) if name == "-c" || name == "--config" => file = attached.or_else(|| arguments.next()),
            _ => rest.push(argument),
        }
    }
    (file, rest)
}

/// Returns the settings of a gunicorn.conf.py.
fn evaluate(file: &str, python: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let output = Command::new(python).arg("-c").arg(EVALUATE).arg(file).output();
    let output = output.map_err(|error| format!("'{}' can't be run: {error}", python.display()))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error.trim().lines().last().unwrap_or("it printed nothing").to_owned();
        return Err(format!("'{file}' can't be evaluated with {}: {last}", python.display()));
    }
    // The file may print something, too.
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.trim().lines().last().unwrap_or_default();
    serde_json::from_str(json).map_err(|error| format!("'{file}' can't be evaluated: {error}"))
}

fn origin(program: &str, arguments: &[String], file: Option<&str>) -> String {
    let file = file.into_iter().flat_map(|file| ["-c", file]);
    let words = std::iter::once(program).chain(file).chain(arguments.iter().map(String::as_str));
    let quoted = words.map(|word| {
        match word.contains(|c: char| c.is_whitespace() || "\"'()%$&;|<>*?".contains(c)) || word.is_empty() {
            true => format!("'{}'", word.replace('\'', "'\\''")),
            false => word.to_owned(),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
