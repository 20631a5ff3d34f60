//! The layers that settings come from, and the configuration that follows from them: a flag counts more than an
//! environment variable, that more than a file, and that more than the default.

use std::collections::HashMap;
use std::ffi::OsString;

use super::given::{Given, Source};
use super::scope;
use super::setting::{DefaultValue, Kind};
use super::table::{self, Setting};
use super::values::Config;

/// What was given, and the configuration that follows from it.
pub(crate) struct Resolved {
    pub(crate) config: Config,
    /// The settings in effect, in the order of the table.
    pub(crate) given: Vec<Given>,
    /// Settings of the environment and of files that have no effect here, each with the reason.
    pub(crate) unused: Vec<(Given, String)>,
    /// What `amboss .` has chosen, and why.
    pub(crate) chosen: Option<String>,
}

impl Resolved {
    /// Resolves the layers, of which the first counts most.
    ///
    /// # Errors
    /// Messages: values that can't be used, and settings that exclude each other.
    pub(crate) fn new(layers: Vec<Vec<Given>>) -> Result<Resolved, Vec<String>> {
        let mut given: Vec<Given> = Vec::new();
        let mut unused: Vec<(Given, String)> = Vec::new();
        // The layer whose member of an exclusion group is in effect, and that member.
        let mut groups: HashMap<&str, (usize, usize)> = HashMap::new();
        let mut layer_of: HashMap<&str, usize> = HashMap::new();
        for (layer, mut members) in layers.into_iter().enumerate() {
            members.sort_by_key(Given::position);
            for member in members {
                if given.iter().any(|known| known.setting.name == member.setting.name) {
                    continue;
                }
                // A switch that is off excludes nothing.
                if let Some(group) = member.setting.excludes.filter(|_| !member.is_off()) {
                    let &mut (winner, index) = groups.entry(group).or_insert((layer, given.len()));
                    if winner != layer {
                        let reason = format!("{} counts more", given[index].spelling());
                        unused.push((member, reason));
                        continue;
                    }
                    if index != given.len() {
                        return Err(vec![exclusion(group, &given[index], &member)]);
                    }
                }
                if let Some(partner) = member.setting.belongs_to {
                    if layer_of.get(partner).is_some_and(|of_partner| *of_partner != layer) {
                        unused.push((member, format!("it belongs to another --{partner}")));
                        continue;
                    }
                }
                layer_of.insert(member.setting.name, layer);
                given.push(member);
            }
        }
        let config = build(&given)?;
        let mut effective = Vec::new();
        for member in &given {
            match scope::check(member, &config, &given) {
                Ok(()) => effective.push(member.clone()),
                Err(reason) if member.source == Source::Flag => return Err(vec![reason]),
                Err(reason) => unused.push((member.clone(), reason)),
            }
        }
        effective.sort_by_key(Given::position);
        let mut config = build(&effective)?;
        if config.debug {
            config.live = true;
            #[cfg(all(unix, feature = "reload"))]
            {
                config.reload.reload = true;
            }
        }
        Ok(Resolved { config, given: effective, unused, chosen: None })
    }

    /// Returns the setting with this name, if it was given.
    pub(crate) fn given(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.setting.name == name)
    }

    /// Returns the arguments of a process that is started with this configuration: flags for everything that was given
    /// here, except for what only one process acts on.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![format!("--{}", super::NO_CONFIG).into()];
        let mut last = Vec::new();
        for given in self.given.iter().filter(|given| !given.setting.once) {
            let Given { setting, values, .. } = given;
            match &setting.kind {
                Kind::App(_) => last.splice(0..0, values.iter().cloned()).for_each(drop),
                Kind::Program(_) => last.extend(std::iter::once("--".into()).chain(values.iter().cloned())),
                Kind::Switch(_) if given.is_off() => {
                    arguments.extend(setting.negation().map(|name| format!("--{name}").into()));
                }
                Kind::Switch(_) => arguments.push(setting.flag().into()),
                Kind::Count(_) => {
                    let times = values.first().and_then(|times| times.to_str()?.parse().ok()).unwrap_or(1);
                    arguments.extend((0..times).map(|_: usize| setting.flag().into()));
                }
                _ => arguments.extend(values.iter().map(|value| {
                    let mut argument = OsString::from(setting.flag());
                    argument.push("=");
                    argument.push(value);
                    argument
                })),
            }
        }
        arguments.extend(last);
        arguments
    }

    /// Adds to a message about settings where those come from that are not on the command line.
    pub(crate) fn explain(&self, message: &str, settings: &[&str]) -> String {
        let mut message = message.to_owned();
        for given in settings.iter().filter_map(|name| self.given(name)).filter(|given| given.source != Source::Flag) {
            let (flag, source) = (given.setting.flag(), &given.source);
            message += &format!(" ({flag} comes from {source}");
            if let Some(negation) = given.setting.negation() {
                message += &format!("; --{negation} switches it off");
            }
            message.push(')');
        }
        message
    }
}

/// Stores the given values, and collects the messages for those that can't be used.
fn build(given: &[Given]) -> Result<Config, Vec<String>> {
    let mut config = Config::default();
    let mut messages = Vec::new();
    for given in given {
        let Err((value, reason)) = given.setting.store(&mut config, &given.values) else { continue };
        let value = value.to_string_lossy();
        messages.push(match &given.source {
            Source::Flag => format!("invalid value '{value}' for '{}': {reason}", given.setting.usage()),
            Source::Variable(name) => format!("invalid value '{value}' of {name}: {reason}"),
            Source::File { .. } => format!("invalid value '{value}' for {}: {reason}", given.spelling()),
        });
    }
    if messages.is_empty() {
        Ok(config)
    } else {
        Err(messages)
    }
}

/// Returns the message for two settings of one layer that exclude each other.
fn exclusion(group: &str, one: &Given, other: &Given) -> String {
    if group == table::TARGET {
        return "APP and PROGRAM can't both be served; leave out one of them".into();
    }
    format!("'{}' cannot be used with '{}'; leave out one of them", one.spelling(), other.spelling())
}

/// Returns the text of the default, for people.
pub(crate) fn default_text(setting: &Setting) -> Option<&'static str> {
    match setting.default {
        DefaultValue::None => None,
        DefaultValue::Value(text) | DefaultValue::Words(text) => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(source: Source, settings: &[(&str, &[&str])]) -> Vec<Given> {
        let given = |(name, values): &(&str, &[&str])| {
            let setting = table::find(name).expect("there is such a setting");
            Given::new(setting, values.iter().map(OsString::from).collect(), source.clone())
        };
        settings.iter().map(given).collect()
    }

    fn flags(settings: &[(&str, &[&str])]) -> Vec<Given> {
        layer(Source::Flag, settings)
    }

    fn file(settings: &[(&str, &[&str])]) -> Vec<Given> {
        layer(Source::File { file: "amboss.toml".into(), line: 7 }, settings)
    }

    fn arguments(layers: Vec<Vec<Given>>) -> String {
        let resolved = Resolved::new(layers).unwrap_or_else(|messages| panic!("{messages:?}"));
        let words: Vec<_> = resolved.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn the_first_layer_that_has_a_setting_counts() {
        let layers = vec![
            flags(&[("threads", &["8"]), ("app", &["./"])]),
            layer(Source::Variable("AMBOSS_BACKLOG".into()), &[("backlog", &["5"]), ("threads", &["4"])]),
            file(&[("backlog", &["6"]), ("bind", &["a:1", "b:2"]), ("app", &["shop:app"])]),
        ];
        assert_eq!(arguments(layers), "--no-config --bind=a:1 --bind=b:2 --backlog=5 --threads=8 ./");
    }

    #[test]
    fn a_setting_of_a_lower_layer_gives_way_to_one_that_excludes_it() {
        let lower = || file(&[("threads", &["8"]), ("bind", &["a:1"])]);
        assert_eq!(
            arguments(vec![flags(&[("single", &["true"]), ("port", &["0"])]), lower()]),
            "--no-config --port=0 --single"
        );
        let error = Resolved::new(vec![vec![], file(&[("threads", &["8"]), ("single", &["true"])])]).err();
        let message =
            "'threads (amboss.toml, line 7)' cannot be used with 'single (amboss.toml, line 7)'; leave out one of \
                       them";
        assert_eq!(error, Some(vec![message.to_owned()]));
    }

    #[test]
    fn a_switch_that_is_off_excludes_nothing() {
        for (switch, other, value) in [("single", "threads", "8"), ("single", "processes", "8")] {
            let expected = format!("--no-config --{other}={value} --no-{switch}");
            let lower = file(&[(other, &[value])]);
            assert_eq!(arguments(vec![flags(&[(switch, &["false"])]), lower]), expected);
            let both = file(&[(other, &[value]), (switch, &["false"])]);
            assert_eq!(arguments(vec![vec![], both]), expected);
        }
        #[cfg(feature = "tls")]
        {
            let lower = file(&[("cert", &["a"]), ("key", &["b"])]);
            assert_eq!(
                arguments(vec![flags(&[("adhoc", &["false"])]), lower]),
                "--no-config --no-adhoc --cert=a --key=b"
            );
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_key_belongs_to_the_certificate_of_its_layer() {
        let resolved = Resolved::new(vec![flags(&[("cert", &["a"])]), file(&[("cert", &["b"]), ("key", &["c"])])]);
        let resolved = resolved.unwrap_or_else(|messages| panic!("{messages:?}"));
        assert_eq!(resolved.arguments(), ["--no-config", "--cert=a"]);
        assert_eq!(resolved.unused[0].1, "it belongs to another --cert");
    }

    #[test]
    fn a_switch_of_a_lower_layer_can_be_switched_off() {
        let lower = || file(&[("spa", &["true"]), ("quiet", &["2"])]);
        assert_eq!(arguments(vec![flags(&[("app", &["./"])]), lower()]), "--no-config --quiet --quiet --spa ./");
        let off = flags(&[("app", &["./"]), ("spa", &["false"]), ("quiet", &["0"])]);
        assert_eq!(arguments(vec![off, lower()]), "--no-config --no-spa ./");
    }

    #[test]
    fn a_setting_without_effect_is_an_error_as_a_flag_and_ignored_in_a_file() {
        let settings: &[(&str, &[&str])] = &[("worker-class", &["gevent"]), ("threads", &["3"])];
        assert_eq!(arguments(vec![vec![], file(settings)]), "--no-config --threads=3");
        let error = Resolved::new(vec![flags(settings)]).err().expect("it has no effect");
        assert!(error[0].starts_with("--worker-class is for a Python application"), "{error:?}");
    }

    #[test]
    fn what_would_be_taken_for_a_flag_is_refused() {
        for (name, message) in
            [("app", "invalid value '--version' for '[APP]': write a path such as ./--version"), ("program", "")]
        {
            let values: &[&str] = if name == "app" { &["--version"] } else { &[] };
            let resolved = Resolved::new(vec![flags(&[(name, values)])]);
            assert_eq!(resolved.err().map(|messages| messages[0].clone()).unwrap_or_default(), message);
        }
    }

    #[test]
    fn each_value_that_can_t_be_used_has_a_message_with_its_source() {
        let layers = vec![
            flags(&[("threads", &["0"])]),
            layer(Source::Variable("AMBOSS_BACKLOG".into()), &[("backlog", &["x"])]),
            file(&[("idle-timeout", &["0"])]),
        ];
        assert_eq!(
            Resolved::new(layers).err().expect("nothing can be used"),
            [
                "invalid value '0' for '--threads <N>': 0 is not in 1..=10000",
                "invalid value 'x' of AMBOSS_BACKLOG: give a whole number in 1..=1000000",
                "invalid value '0' for timeouts.idle (amboss.toml, line 7): give seconds, from 0.1 to 86400 (a day)",
            ]
        );
    }
}
