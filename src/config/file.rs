//! Settings from a file: `amboss.toml`, or the table `[tool.amboss]` of `pyproject.toml`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::given::{Given, Source};
use super::nearest::nearest;
use super::setting::{Key, Kind};
use super::table::{self, Setting};

/// The file that is read if the command line names none.
const NAME: &str = "amboss.toml";

/// The file of a Python project, which may contain the settings, too.
const PYPROJECT: &str = "pyproject.toml";

/// The table's name in `pyproject.toml`.
const TABLE: &str = "tool.amboss";

/// What such a file contains, however the table is written.
const NAME_IN_TABLE: &str = "amboss";

/// Returns the settings of the file that the command line names, or else of a file in the current directory. `named` is
/// the path of that file, and the path as the command line has it.
///
/// # Errors
/// Messages: a file that can't be read, and keys and values that can't be used.
pub(super) fn read(named: Option<(&Path, &Path)>, advice: Advice) -> Result<Vec<Given>, Vec<String>> {
    if let Some((path, shown)) = named {
        return read_named(path, &shown.display().to_string(), advice);
    }
    if let Some(text) = contents(Path::new(NAME))? {
        return parse(&text, NAME, false, advice);
    }
    match contents(Path::new(PYPROJECT))? {
        // A file of other programs: it has to be well-formed only if it concerns amboss.
        Some(text) if text.contains(NAME_IN_TABLE) => parse(&text, PYPROJECT, true, advice),
        _ => Ok(Vec::new()),
    }
}

fn read_named(path: &Path, shown: &str, advice: Advice) -> Result<Vec<Given>, Vec<String>> {
    if path.extension().is_some_and(|extension| extension == "py") {
        return Err(vec![format!(
            "'{shown}' is a program in Python, and amboss reads TOML; `amboss migrate gunicorn -c {shown}` prints an \
             amboss.toml with the same settings"
        )]);
    }
    let text = contents(path)?
        .ok_or_else(|| vec![format!("there is no configuration file '{shown}'; create it, or fix the path")])?;
    let is_pyproject = path.file_name().is_some_and(|name| name == PYPROJECT);
    parse(&text, shown, is_pyproject, advice)
}

/// Returns the contents of a file; `None` if there is none.
fn contents(path: &Path) -> Result<Option<String>, Vec<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(vec![format!("can't read the configuration file '{}': {error}", path.display())]),
    }
}

/// A file while it is read.
struct File<'f> {
    name: &'f str,
    text: &'f str,
    advice: Advice,
    given: Vec<Given>,
    messages: Vec<String>,
}

/// Returns a sentence about a key that is one of another server.
pub(crate) type Advice = fn(&str) -> Option<String>;

/// Parses the text of a file.
fn parse(text: &str, name: &str, is_pyproject: bool, advice: Advice) -> Result<Vec<Given>, Vec<String>> {
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        vec![format!("{name}, line {line}: {}", error.message())]
    })?;
    let mut file = File { name, text, advice, given: Vec::new(), messages: Vec::new() };
    let root = root.get_ref();
    if is_pyproject {
        let tool = root.get("tool").and_then(|tool| tool.get_ref().as_table());
        match tool.and_then(|tool| tool.get("amboss")).map(|table| table.get_ref().as_table()) {
            Some(Some(table)) => file.read_table(table),
            Some(None) => file.messages.push(format!("{name}: {TABLE} has to be a table, as in [{TABLE}]")),
            None => {}
        }
    } else {
        file.read_table(root);
    }
    if file.messages.is_empty() {
        Ok(file.given)
    } else {
        Err(file.messages)
    }
}

impl File<'_> {
    fn read_table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            match (normal(key.get_ref()).as_str(), value.get_ref()) {
                ("limits", DeValue::Table(table)) => self.read_section(table, "limits", |key| match key {
                    Key::Limit(name) => Some(name),
                    _ => None,
                }),
                ("timeouts", DeValue::Table(table)) => self.read_section(table, "timeouts", |key| match key {
                    Key::Timeout(name) => Some(name),
                    _ => None,
                }),
                (name, _) => match table::find(name).filter(|setting| setting.key == Key::Top) {
                    Some(setting) => self.read_value(setting, key, value),
                    None => self.unknown(key, name, None),
                },
            }
        }
    }

    /// Reads `[limits]` or `[timeouts]`; `name_in` returns a setting's name there.
    fn read_section(&mut self, table: &DeTable<'_>, section: &str, name_in: fn(Key) -> Option<&'static str>) {
        for (key, value) in table {
            let name = normal(key.get_ref());
            let is_this = |setting: &&Setting| name_in(setting.key).is_some_and(|known| normal(known) == name);
            match table::settings().find(is_this) {
                Some(setting) => self.read_value(setting, key, value),
                None => self.unknown(key, &name, Some(section)),
            }
        }
    }

    fn read_value(&mut self, setting: &'static Setting, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let line = line_of(self.text, key.span().start);
        let expected = match &setting.kind {
            Kind::Switch(_) => "true or false",
            Kind::Count(_) => "a number",
            Kind::List(..) | Kind::Program(_) => "a text or a list of texts",
            Kind::Value(..) | Kind::Choice { .. } | Kind::App(_) => "a text or a number",
        };
        let values = match (&setting.kind, value.get_ref()) {
            (Kind::Switch(_), DeValue::Boolean(on)) => Some(vec![on.to_string().into()]),
            (Kind::Switch(_), _) => None,
            (Kind::Count(_), DeValue::Boolean(on)) => Some(vec![on.to_string().into()]),
            (Kind::List(..) | Kind::Program(_), DeValue::Array(values)) => {
                values.iter().map(|value| scalar(value.get_ref())).collect()
            }
            // One value with commas can be written as a list.
            (Kind::Value(..), DeValue::Array(values)) if setting.has_commas => {
                let values: Option<Vec<_>> = values.iter().map(|value| value.get_ref().as_str()).collect();
                values.map(|values| vec![values.join(",").into()])
            }
            (_, value) => scalar(value).map(|value| vec![value]),
        };
        match values {
            Some(values) if values.is_empty() && matches!(setting.kind, Kind::Program(_)) => {
                self.messages.push(format!("{}, line {line}: program is empty; begin it with a program", self.name));
            }
            Some(values) => {
                let source = Source::File { file: self.name.to_owned(), line };
                self.given.push(Given::new(setting, values, source));
            }
            None => {
                let (name, path) = (self.name, setting.path_in_file().unwrap_or_default());
                self.messages.push(format!("{name}, line {line}: {path} has to be {expected}"));
            }
        }
    }

    fn unknown(&mut self, key: &Spanned<Cow<'_, str>>, name: &str, section: Option<&str>) {
        let line = line_of(self.text, key.span().start);
        let shown = section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}"));
        // A name that is known elsewhere: a limit outside of [limits], the flag of a timeout, or gunicorn's spelling.
        let is_known = |setting: &&Setting| {
            let key = setting.key_in_table().map(normal);
            setting.name == name || setting.aliases.contains(&name) || key.as_deref() == Some(name)
        };
        let advice = match table::settings().filter(|setting| !setting.hidden).find(is_known) {
            Some(setting) => match setting.path_in_file() {
                Some(path) => format!("it is written as {path}"),
                None => format!("it is for the command line, as --{}", setting.name),
            },
            None if (self.advice)(name).is_some() => (self.advice)(name).unwrap_or_default(),
            None => match nearest(&shown, table::settings().filter_map(Setting::path_in_file)) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "amboss --help lists the settings".into(),
            },
        };
        self.messages.push(format!("{}, line {line}: there is no setting {shown}; {advice}", self.name));
    }
}

/// Keys may be written with underscores.
fn normal(key: &str) -> String {
    key.replace('_', "-")
}

/// Returns a text or a number as text.
fn scalar(value: &DeValue<'_>) -> Option<OsString> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "").into()),
        // Permissions.
        DeValue::Integer(number) if number.radix() == 8 => Some(format!("0o{}", number.as_str()).into()),
        DeValue::Float(number) => Some(number.as_str().replace('_', "").into()),
        _ => None,
    }
}

/// Parses a list of texts, as it would stand in a file; `None` if it is none.
pub(super) fn parse_array(text: &str) -> Option<Vec<OsString>> {
    let value = DeValue::parse(text).ok()?;
    value.get_ref().as_array()?.iter().map(|value| scalar(value.get_ref())).collect()
}

/// Returns the line, from 1, of a position in a text.
fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_of_flags_or_of_fields_of_the_settings() {
        let text =
            "threads = 8\nno_listing = true\nbind = ['a:1', 'b:2']\nquiet = 2\nforwarded-allow-ips = ['::1', '*']\n\
                    [limits]\nbody = '1M'\nrequest_line = 8_190\n[timeouts]\nminimum_rate = 0\nidle = 2.5\n";
        let given = parse(text, "amboss.toml", false, |_| None).unwrap();
        let shown: Vec<String> =
            given.iter().map(|given| format!("{}={:?}", given.setting.name, given.values)).collect();
        assert_eq!(
            shown,
            [
                "bind=[\"a:1\", \"b:2\"]",
                "forwarded-allow-ips=[\"::1,*\"]",
                "limit-body=[\"1M\"]",
                "limit-request-line=[\"8190\"]",
                "no-listing=[\"true\"]",
                "quiet=[\"2\"]",
                "threads=[\"8\"]",
                "idle-timeout=[\"2.5\"]",
                "minimum-rate=[\"0\"]",
            ]
        );
        let threads = given.iter().find(|given| given.setting.name == "threads").expect("it is given");
        assert_eq!(threads.source.to_string(), "amboss.toml, line 1");
    }

    #[test]
    fn only_the_own_table_of_a_python_project_counts() {
        let text = "[project]\nname = 'shop'\n[tool.ruff]\nthreads = 1\n[tool.amboss]\napp = 'shop:app'\n";
        let given = parse(text, "pyproject.toml", true, |_| None).unwrap();
        assert_eq!(format!("{given:?}"), "[app=[\"shop:app\"] from pyproject.toml, line 6]");
    }

    #[test]
    fn what_can_t_be_used_is_explained_with_its_line() {
        for (text, message) in [
            ("thread = 8", "amboss.toml, line 1: there is no setting thread; did you mean threads?"),
            (
                "\nidle-timeout = 8",
                "amboss.toml, line 2: there is no setting idle-timeout; it is written as timeouts.idle",
            ),
            ("request_line = 1", "it is written as limits.request_line"),
            ("certfile = 'a'", "it is written as cert"),
            ("[limits]\nbodys = 1", "line 2: there is no setting limits.bodys; did you mean limits.body?"),
            ("xyzzy = 1", "there is no setting xyzzy; amboss --help lists the settings"),
            ("single = 'yes'", "single has to be true or false"),
            ("threads = [1]", "threads has to be a text or a number"),
            ("threads = 1\nthreads = 2", "amboss.toml, line 2: duplicate key"),
            ("threads", "amboss.toml, line 1: "),
            ("statsd_host = 'a'", "there is no setting statsd-host; it is known"),
            ("program = []", "line 1: program is empty; begin it with a program"),
            ("umask = 0x22", "umask has to be a text or a number"),
        ] {
            let advice: Advice = |name| (name == "statsd-host").then(|| "it is known".into());
            let messages = parse(text, "amboss.toml", false, advice).unwrap_err();
            assert!(messages[0].contains(message), "{text}: {messages:?}");
        }
    }
}
