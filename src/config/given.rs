//! A setting that was given, and where.

use std::ffi::OsString;
use std::fmt;

use super::setting::Kind;
use super::table::{self, Setting};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag,
    /// The environment variable with this name.
    Variable(String),
    /// A line of a file.
    File {
        /// The name of the file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("command line"),
            Source::Variable(name) => f.write_str(name),
            Source::File { file, line } => write!(f, "{file}, line {line}"),
        }
    }
}

/// A setting that was given, with its values as text.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) values: Vec<OsString>,
    pub(crate) source: Source,
}

impl Given {
    /// Makes the value of a switch `true` or `false`, and writes that of a choice as the table does; other values stay as
    /// they are.
    pub(crate) fn new(setting: &'static Setting, mut values: Vec<OsString>, source: Source) -> Given {
        if let Kind::Choice { choices, .. } = &setting.kind {
            for value in &mut values {
                let known = choices.iter().find(|(choice, _)| value.eq_ignore_ascii_case(choice));
                if let Some((choice, _)) = known {
                    *value = OsString::from(choice);
                }
            }
        }
        if let (Kind::Switch(_), [value]) = (&setting.kind, &mut values[..]) {
            match value.to_str().map(str::to_ascii_lowercase).as_deref() {
                Some("1" | "yes" | "on" | "true") => *value = "true".into(),
                Some("0" | "no" | "off" | "false") => *value = "false".into(),
                _ => {}
            }
        }
        Given { setting, values, source }
    }

    /// Whether this is a switch that is switched off.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.setting.kind, Kind::Switch(_)) && self.values.first().is_some_and(|value| value == "false")
    }

    /// Returns the setting's position in the table.
    pub(super) fn position(&self) -> Option<usize> {
        table::position(self.setting)
    }

    /// Returns how the setting is written where it was given.
    pub(crate) fn spelling(&self) -> String {
        match &self.source {
            Source::Flag => self.setting.usage(),
            Source::Variable(name) => name.clone(),
            Source::File { .. } => {
                format!("{} ({})", self.setting.path_in_file().unwrap_or_default(), self.source)
            }
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?} from {}", self.setting.name, self.values, self.source)
    }
}

/// Whether a setting was given and is not switched off.
pub(super) fn is_on(name: &str, given: &[Given]) -> bool {
    given.iter().any(|given| given.setting.name == name && !given.is_off())
}
