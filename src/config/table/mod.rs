//! The table of all settings. Flags, environment variables, configuration files, help, the manual, completions and the
//! reference are made from it.

mod app;
mod debug;
mod limits;
mod log;
mod process;
mod proxies;
#[cfg(all(unix, feature = "reload"))]
mod reload;
mod server;
mod site;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;

use super::setting;
use super::values::Config;

pub(crate) type Setting = setting::Setting<Config>;

/// Settings that belong together, under a heading of the help.
pub(crate) struct Topic {
    /// The heading; `None` for the first topic.
    pub(crate) heading: Option<&'static str>,
    pub(crate) settings: &'static [Setting],
}

/// The group of the settings that say what to serve.
pub(crate) const TARGET: &str = "target";

/// All settings, in the order of the help.
pub(crate) const TOPICS: &[Topic] = &[
    Topic { heading: None, settings: server::SETTINGS },
    Topic { heading: Some("Log"), settings: log::SETTINGS },
    Topic { heading: Some("Process"), settings: process::SETTINGS },
    Topic { heading: Some("Python applications"), settings: app::SETTINGS },
    Topic { heading: Some("Files, CGI scripts and hosts"), settings: site::SETTINGS },
    Topic { heading: Some("Proxies"), settings: proxies::SETTINGS },
    Topic { heading: Some("Development"), settings: debug::SETTINGS },
    #[cfg(feature = "tls")]
    Topic { heading: Some("HTTPS"), settings: tls::SETTINGS },
    #[cfg(all(unix, feature = "reload"))]
    Topic { heading: Some("Reloading and workers"), settings: reload::SETTINGS },
    Topic { heading: Some("Timeouts"), settings: timeouts::SETTINGS },
    Topic { heading: Some("Limits"), settings: limits::SETTINGS },
];

/// Returns all settings.
pub(crate) fn settings() -> impl Iterator<Item = &'static Setting> {
    TOPICS.iter().flat_map(|topic| topic.settings)
}

/// Returns the position of a setting in the table.
pub(crate) fn position(setting: &Setting) -> Option<usize> {
    settings().position(|other| other.name == setting.name)
}

/// Returns the setting with this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::setting::{DefaultValue, Kind};

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for setting in settings() {
            for name in
                setting.aliases.iter().map(ToString::to_string).chain([setting.name.into()]).chain(setting.negation())
            {
                assert!(names.insert(name.clone()), "{name}");
            }
            if let Some(short) = setting.short {
                assert!(names.insert(short.to_string()), "-{short}");
            }
            if let Some(path) = setting.path_in_file() {
                assert!(names.insert(format!("key {path}")), "{path}");
            }
        }
    }

    #[test]
    fn a_default_is_the_value_that_counts_without_the_setting() {
        let default = format!("{:?}", Config::default());
        for setting in settings() {
            let DefaultValue::Value(value) = setting.default else { continue };
            let mut config = Config::default();
            setting.store(&mut config, &[value.into()]).unwrap_or_else(|error| panic!("{}: {error:?}", setting.name));
            assert_eq!(format!("{config:?}"), default, "{}", setting.name);
        }
    }

    #[test]
    fn each_limit_and_each_timeout_of_the_server_is_a_setting() {
        let config = Config::default();
        let paths: HashSet<String> = settings().filter_map(Setting::path_in_file).collect();
        let is_field = |word: &&str| word.chars().all(|character| character.is_ascii_lowercase() || character == '_');
        for (table, fields) in
            [("limits", format!("{:?}", config.limits)), ("timeouts", format!("{:?}", config.timeouts))]
        {
            let words = fields.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':'));
            let mut number = 0;
            for field in words.filter(is_field) {
                let name = match field {
                    // The limits of a head and of chunked bodies are structs of their own.
                    "head" if table == "limits" => continue,
                    "chunked" => continue,
                    "extensions" => "chunk_extensions",
                    other => other,
                };
                assert!(paths.contains(&format!("{table}.{name}")), "{table}.{name}");
                number += 1;
            }
            assert!(number >= 9, "{fields}");
        }
    }

    #[test]
    fn a_help_text_is_a_sentence_without_a_full_stop() {
        for setting in settings() {
            let help = setting.help;
            assert!(
                help.starts_with(|first: char| first.is_uppercase()) && !help.ends_with('.'),
                "{}: {help}",
                setting.name
            );
            assert!(!help.contains("[default"), "{}: the default is a field of its own", setting.name);
        }
    }

    #[test]
    fn the_names_that_settings_refer_to_exist() {
        for setting in settings() {
            for name in setting.needs {
                // `program` is none without the feature `reload`.
                assert!(find(name).is_some() || cfg!(not(feature = "reload")), "{}: {name}", setting.name);
            }
            if let Kind::Choice { choices, missing: Some(missing), .. } = setting.kind {
                assert!(choices.iter().any(|(choice, _)| *choice == missing), "{}", setting.name);
            }
        }
    }
}
