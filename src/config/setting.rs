//! A setting of the command, as data: its names, what it takes, its help, and how a value is stored.

use std::ffi::OsStr;

/// A setting that can be given as a flag, as an environment variable, and in a configuration file. `C` is the type that
/// values are stored in.
pub(crate) struct Setting<C: 'static> {
    /// The flag without its dashes. The variable's name follows from it, and usually the key in a file.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind<C>,
    /// What the setting does, in one or two sentences without a full stop at the end.
    pub(crate) help: &'static str,
    pub(crate) short: Option<char>,
    /// Other spellings of the flag, which gunicorn uses for the same.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) key: Key,
    pub(crate) default: DefaultValue,
    /// The group of settings of which only one can be in effect.
    pub(crate) excludes: Option<&'static str>,
    /// Settings of which at least one has to be given as well.
    pub(crate) needs: &'static [&'static str],
    /// The setting that this one belongs to: it counts only if both are given in the same place.
    pub(crate) belongs_to: Option<&'static str>,
    /// Whether one value is a list that is separated by commas.
    pub(crate) has_commas: bool,
    pub(crate) scope: Scope,
    /// Whether the process that the user starts acts on the setting, and the processes that it starts do not.
    pub(crate) once: bool,
    /// Whether a value may begin with a dash.
    pub(crate) hyphen: bool,
    pub(crate) hidden: bool,
}

/// What a setting takes.
pub(crate) enum Kind<C: 'static> {
    /// Nothing: the setting is on or off.
    Switch(fn(&mut C) -> &mut bool),
    /// Nothing, but it counts how often the flag is given.
    Count(fn(&mut C) -> &mut u8),
    /// One value.
    Value(&'static str, Store<C>),
    /// One value of these.
    Choice {
        /// The placeholder for the value.
        name: &'static str,
        /// The values, each with what it means.
        choices: &'static [(&'static str, &'static str)],
        /// The value of a flag that is given without one; `None` if it needs one.
        missing: Option<&'static str>,
        store: Store<C>,
    },
    /// Any number of values.
    List(&'static str, Store<C>),
    /// The first argument that is no flag.
    App(Store<C>),
    /// The arguments after `--`.
    #[cfg_attr(not(all(unix, feature = "reload")), allow(dead_code))]
    Program(Store<C>),
}

/// A function that parses a value and stores it.
///
/// # Errors
/// What the value has to look like.
pub(crate) type Store<C> = fn(&mut C, &OsStr) -> Result<(), String>;

/// Where a setting stands in a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// At the top, under the flag's name.
    Top,
    /// In `[limits]`, under its name in [`amboss_core::Limits`].
    Limit(&'static str),
    /// In `[timeouts]`, under its name in [`amboss_core::Timeouts`].
    Timeout(&'static str),
    /// The setting is not read from files.
    #[cfg_attr(not(all(unix, feature = "reload")), allow(dead_code))]
    None,
}

/// The value of a setting that is not given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DefaultValue {
    /// None; a switch is off, a list is empty.
    None,
    /// This value.
    Value(&'static str),
    /// One that follows from something else.
    Words(&'static str),
}

/// For which servers a setting has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// For all.
    Any,
    /// For Python applications.
    Python,
    /// For amboss's own server, and not for that of a PROGRAM.
    OwnServer,
    /// For amboss's own server, and for a PROGRAM that uses amboss.
    Amboss,
    /// For servers of files.
    Files,
    /// For a folder that can be listed.
    Folder,
}

impl<C> Setting<C> {
    const fn new(name: &'static str, kind: Kind<C>, help: &'static str) -> Setting<C> {
        Setting {
            name,
            kind,
            help,
            short: None,
            aliases: &[],
            key: Key::Top,
            default: DefaultValue::None,
            excludes: None,
            needs: &[],
            belongs_to: None,
            has_commas: false,
            scope: Scope::Any,
            once: false,
            hyphen: false,
            hidden: false,
        }
    }

    pub(crate) const fn switch(name: &'static str, help: &'static str, place: fn(&mut C) -> &mut bool) -> Setting<C> {
        Setting::new(name, Kind::Switch(place), help)
    }

    pub(crate) const fn count(name: &'static str, help: &'static str, place: fn(&mut C) -> &mut u8) -> Setting<C> {
        Setting::new(name, Kind::Count(place), help)
    }

    pub(crate) const fn value(
        name: &'static str,
        value_name: &'static str,
        help: &'static str,
        store: Store<C>,
    ) -> Setting<C> {
        Setting::new(name, Kind::Value(value_name, store), help)
    }

    pub(crate) const fn list(
        name: &'static str,
        value_name: &'static str,
        help: &'static str,
        store: Store<C>,
    ) -> Setting<C> {
        Setting::new(name, Kind::List(value_name, store), help)
    }

    pub(crate) const fn choice(
        name: &'static str,
        value_name: &'static str,
        choices: &'static [(&'static str, &'static str)],
        help: &'static str,
        store: Store<C>,
    ) -> Setting<C> {
        Setting::new(name, Kind::Choice { name: value_name, choices, missing: None, store }, help)
    }

    pub(crate) const fn positional(name: &'static str, kind: Kind<C>, help: &'static str) -> Setting<C> {
        Setting::new(name, kind, help)
    }

    pub(crate) const fn short(mut self, short: char) -> Setting<C> {
        self.short = Some(short);
        self
    }

    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Setting<C> {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn limit(mut self, name: &'static str) -> Setting<C> {
        self.key = Key::Limit(name);
        self
    }

    pub(crate) const fn timeout(mut self, name: &'static str) -> Setting<C> {
        self.key = Key::Timeout(name);
        self
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Setting<C> {
        self.default = DefaultValue::Value(value);
        self
    }

    pub(crate) const fn default_words(mut self, words: &'static str) -> Setting<C> {
        self.default = DefaultValue::Words(words);
        self
    }

    pub(crate) const fn excludes(mut self, group: &'static str) -> Setting<C> {
        self.excludes = Some(group);
        self
    }

    pub(crate) const fn needs(mut self, names: &'static [&'static str]) -> Setting<C> {
        self.needs = names;
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) const fn belongs_to(mut self, name: &'static str) -> Setting<C> {
        self.belongs_to = Some(name);
        self
    }

    pub(crate) const fn has_commas(mut self) -> Setting<C> {
        self.has_commas = true;
        self
    }

    pub(crate) const fn scope(mut self, scope: Scope) -> Setting<C> {
        self.scope = scope;
        self
    }

    pub(crate) const fn once(mut self) -> Setting<C> {
        self.once = true;
        self
    }

    pub(crate) const fn hyphen(mut self) -> Setting<C> {
        self.hyphen = true;
        self
    }

    #[cfg(all(unix, feature = "reload"))]
    pub(crate) const fn hidden(mut self) -> Setting<C> {
        self.hidden = true;
        self.key = Key::None;
        self
    }

    /// The value that a flag has if it is given without one.
    pub(crate) const fn missing(mut self, value: &'static str) -> Setting<C> {
        if let Kind::Choice { missing, .. } = &mut self.kind {
            *missing = Some(value);
        }
        self
    }

    /// Returns the flag as usage lines show it, such as `--threads <N>`.
    pub(crate) fn usage(&self) -> String {
        match &self.kind {
            Kind::Switch(_) | Kind::Count(_) => format!("--{}", self.name),
            Kind::Value(value, _) | Kind::List(value, _) | Kind::Choice { name: value, missing: None, .. } => {
                format!("--{} <{value}>", self.name)
            }
            Kind::Choice { name, missing: Some(_), .. } => format!("--{}[=<{name}>]", self.name),
            Kind::App(_) => "[APP]".into(),
            Kind::Program(_) => "<PROGRAM>...".into(),
        }
    }

    /// Returns the flag, or the word that stands for a positional argument.
    pub(crate) fn flag(&self) -> String {
        match self.kind {
            Kind::App(_) => "APP".into(),
            Kind::Program(_) => "PROGRAM".into(),
            _ => format!("--{}", self.name),
        }
    }

    /// Returns the flag that switches a switch off.
    pub(crate) fn negation(&self) -> Option<String> {
        matches!(self.kind, Kind::Switch(_)).then(|| match self.name.strip_prefix("no-") {
            Some(rest) => rest.to_owned(),
            None => format!("no-{}", self.name),
        })
    }

    /// Returns the name of the environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("AMBOSS_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// Returns the key in a file, without its table.
    pub(crate) fn key_in_table(&self) -> Option<&'static str> {
        match self.key {
            Key::Top => Some(self.name),
            Key::Limit(name) | Key::Timeout(name) => Some(name),
            Key::None => None,
        }
    }

    /// Returns the key in a file, with its table.
    pub(crate) fn path_in_file(&self) -> Option<String> {
        let name = self.key_in_table()?;
        Some(match self.key {
            Key::Limit(_) => format!("limits.{name}"),
            Key::Timeout(_) => format!("timeouts.{name}"),
            Key::Top | Key::None => name.to_owned(),
        })
    }

    /// Whether the setting takes any number of values.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..) | Kind::Program(_))
    }

    /// Stores values. `values` holds `true` or `false` for a switch, the number for a count, and otherwise what was given.
    ///
    /// # Errors
    /// The value that can't be used, and why.
    pub(crate) fn store<'v>(
        &self,
        config: &mut C,
        values: &'v [std::ffi::OsString],
    ) -> Result<(), (&'v OsStr, String)> {
        for value in values {
            let value = value.as_os_str();
            let stored = match &self.kind {
                Kind::Switch(place) => switch(value).map(|on| *place(config) = on),
                Kind::Count(place) => count(value).map(|times| *place(config) = times),
                Kind::Choice { choices, .. } if !choices.iter().any(|(choice, _)| value == *choice) => {
                    let choices: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
                    Err(format!("[possible values: {}]", choices.join(", ")))
                }
                Kind::Choice { store, .. }
                | Kind::Value(_, store)
                | Kind::List(_, store)
                | Kind::App(store)
                | Kind::Program(store) => store(config, value),
            };
            stored.map_err(|reason| (value, reason))?;
        }
        Ok(())
    }
}

/// Parses the value of a switch.
fn switch(value: &OsStr) -> Result<bool, String> {
    match value.to_str() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err("write true or false".into()),
    }
}

/// Parses how often a flag was given.
fn count(value: &OsStr) -> Result<u8, String> {
    match value.to_str() {
        Some("true") => Ok(1),
        Some("false") => Ok(0),
        text => text.and_then(|text| text.parse().ok()).ok_or_else(|| "write a number, from 0 to 255".into()),
    }
}
