//! The configuration that is being made from that of another server.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::option::{Becomes, PeerOption, Takes};
use crate::config::conflicts;
use crate::config::given::{Given, Source};
use crate::config::layers::Resolved;
use crate::config::show::{assignment, SECTIONS};
use crate::config::table::{self, Setting};
use crate::config::values::Config;
use crate::config::wrap::wrap;

/// A setting with its values, and the number of the source that gave them.
type Entry = (&'static Setting, Vec<OsString>, usize);

/// Settings of amboss, and remarks about what could not be carried over.
#[derive(Default)]
pub(crate) struct Draft {
    settings: Vec<Entry>,
    /// The number of the source that is being read.
    source: usize,
    /// Remarks about settings, by their names.
    comments: Vec<(&'static str, String)>,
    /// What has no counterpart, and why.
    missing: Vec<String>,
    /// What amboss needs no setting for, and why.
    not_needed: Vec<String>,
    /// Values of options that are joined at the end, by names of the peer's own.
    kept: Vec<(&'static str, String)>,
    /// The option that is being converted.
    current: String,
}

impl Draft {
    /// Applies an option, which was given under this name, with its values. A switch has the values `true` or `false`.
    pub(super) fn apply(&mut self, option: &'static PeerOption<Draft>, name: &str, values: &[String]) {
        name.clone_into(&mut self.current);
        if option.takes == Takes::Nothing && values.first().is_some_and(|value| value == "false") {
            return;
        }
        match option.becomes {
            Becomes::Same(setting) => self.set_all(setting, values),
            Becomes::Converted(_, convert) => convert(self, values),
            Becomes::NotNeeded(reason) => self.not_needed(reason),
            Becomes::Nothing(reason) => self.missing(reason),
        }
    }

    /// Begins to read another source, whose settings replace those of the sources before it.
    pub(super) fn next_source(&mut self) {
        self.source += 1;
    }

    /// Sets a setting to one value.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.set_all(name, &[value.into()]);
    }

    /// Adds values to a list of the same source, or replaces the value of another setting. A value that amboss does not
    /// accept becomes a remark.
    pub(super) fn set_all(&mut self, name: &'static str, values: &[String]) {
        let Some(setting) = table::find(name) else {
            self.missing(&format!("amboss has no --{name} on this system"));
            return;
        };
        let Given { values, .. } = Given::new(setting, values.iter().map(OsString::from).collect(), Source::Flag);
        if let Err((value, reason)) = setting.store(&mut Config::default(), &values) {
            let value = value.to_string_lossy().into_owned();
            self.missing(&format!("{value:?} can't be the value of {name}: {reason}"));
            return;
        }
        let source = self.source;
        match self.settings.iter_mut().find(|(known, ..)| known.name == name) {
            Some((_, known, known_source)) if setting.is_list() && *known_source == source => known.extend(values),
            Some(known) => *known = (setting, values, source),
            None => self.settings.push((setting, values, source)),
        }
    }

    /// Removes a setting.
    pub(super) fn unset(&mut self, name: &str) {
        self.settings.retain(|(setting, ..)| setting.name != name);
    }

    /// Whether a setting is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.settings.iter().any(|(setting, ..)| setting.name == name)
    }

    /// Whether a setting was set by the source that is being read.
    pub(super) fn has_here(&self, name: &str) -> bool {
        self.settings.iter().any(|(setting, _, source)| setting.name == name && *source == self.source)
    }

    /// Returns the first value of a setting.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let (_, values, _) = self.settings.iter().find(|(setting, ..)| setting.name == name)?;
        values.first()?.to_str()
    }

    /// Has each worker run one request at a time, as the other server does.
    pub(super) fn set_one_thread(&mut self, reason: &str) {
        self.set("threads", "1");
        let advice = "If the application may run in threads, more of them answer more clients at once.";
        self.comment("threads", &format!("{reason} {advice}"));
    }

    /// Keeps the value of an option until the end, under this name.
    pub(super) fn keep(&mut self, name: &'static str, values: &[String]) {
        self.kept.extend(values.first().map(|value| (name, value.clone())));
    }

    /// Returns the value that was kept last under this name.
    pub(super) fn kept(&self, name: &str) -> Option<String> {
        self.kept.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// Adds a remark above a setting.
    pub(super) fn comment(&mut self, name: &'static str, text: &str) {
        self.comments.push((name, text.to_owned()));
    }

    /// Says that the current option has no counterpart.
    pub(super) fn missing(&mut self, reason: &str) {
        self.remark(&self.current.clone(), reason);
    }

    /// Says why an option has no counterpart.
    pub(super) fn remark(&mut self, option: &str, reason: &str) {
        self.missing.push(format!("{option}: {reason}"));
    }

    /// Says that amboss needs no setting for the current option.
    pub(super) fn not_needed(&mut self, reason: &str) {
        self.not_needed.push(format!("{}: {reason}", self.current));
    }

    /// Adds an option that is unknown.
    pub(super) fn unknown(&mut self, name: &str) {
        self.remark(name, "this is no option that amboss knows; check how it is written");
    }

    /// Returns the file.
    pub(super) fn print(mut self, origin: &str) -> String {
        self.settings.sort_by_key(|(setting, ..)| table::position(setting));
        self.check();
        let mut text = String::new();
        comment(&mut text, &format!("Made from: {origin}"));
        for (header, is_in) in SECTIONS {
            let settings: Vec<_> = self.settings.iter().filter(|(setting, ..)| is_in(setting.key)).collect();
            if settings.is_empty() {
                continue;
            }
            text.push('\n');
            if let Some(header) = header {
                let _ = writeln!(text, "[{header}]");
            }
            for (setting, values, _) in settings {
                for (_, remark) in self.comments.iter().filter(|(name, _)| *name == setting.name) {
                    comment(&mut text, remark);
                }
                let _ = writeln!(text, "{}", assignment(setting, values));
            }
        }
        for (title, remarks) in [("Without counterpart:", &self.missing), ("Not needed:", &self.not_needed)] {
            if remarks.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n# {title}");
            for remark in remarks {
                comment(&mut text, &format!("- {remark}"));
            }
        }
        text
    }

    /// Adds a remark for settings that contradict each other or have no effect.
    fn check(&mut self) {
        let source = || Source::File { file: "amboss.toml".into(), line: 0 };
        let given = self.settings.iter().map(|(setting, values, _)| Given::new(setting, values.clone(), source()));
        match Resolved::new(vec![Vec::new(), given.collect()]) {
            Ok(resolved) => {
                if let Some(message) = conflicts::message(&resolved) {
                    self.missing.push(format!("two of these settings: {message}"));
                }
                let unused = resolved.unused.into_iter().filter(|_| self.has("app"));
                let unused: Vec<String> =
                    unused.map(|(given, reason)| format!("{}: {reason}", given.setting.name)).collect();
                self.missing.extend(unused);
            }
            Err(messages) => self.missing.extend(messages),
        }
    }
}

/// The width of comments.
const WIDTH: usize = 78;

/// Appends a comment. The lines of an item of a list are indented.
fn comment(text: &mut String, remark: &str) {
    let is_item = remark.starts_with("- ");
    for (index, line) in wrap(remark, WIDTH - 4).iter().enumerate() {
        let indent = if is_item && index > 0 { "  " } else { "" };
        let _ = writeln!(text, "# {indent}{line}");
    }
}
