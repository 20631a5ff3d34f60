//! Settings from environment variables: `AMBOSS_` and the flag's name, and three variables that platforms and other
//! servers use.

use std::ffi::{OsStr, OsString};

use super::given::{is_on, Given, Source};
use super::nearest::nearest;
use super::setting::Kind;
use super::table::{self, Setting};

/// Variables that amboss sets or reads itself. They are no settings. Those of [`INTERNAL_PREFIXES`] are none either.
const INTERNAL: [&str; 5] =
    ["AMBOSS_SERVER_FD", "AMBOSS_CONTROL_FD", "AMBOSS_RUN_MAIN", "AMBOSS_GENERATION", "AMBOSS_EDITOR"];

/// The beginnings of variables with which a supervisor tells its children how to serve, and of those of tests.
const INTERNAL_PREFIXES: [&str; 2] = ["AMBOSS_CHILD_", "AMBOSS_TEST_"];

/// Returns the settings of the environment, in two layers: the variables of amboss, and `PORT`, `WEB_CONCURRENCY` and
/// `FORWARDED_ALLOW_IPS`.
///
/// # Errors
/// Messages: variables that are no setting.
///
/// `is_debugging`: whether the command line says so. Then `PORT` is one of this machine alone.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    is_debugging: bool,
) -> Result<[Vec<Given>; 2], Vec<String>> {
    let (mut own, mut common) = (Vec::new(), Vec::new());
    let mut messages = Vec::new();
    let variables: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let mut port = None;
    for (name, value) in variables {
        match name.as_str() {
            "PORT" => port = Some(value),
            "WEB_CONCURRENCY" => common.extend(given("workers", value, &name)),
            "FORWARDED_ALLOW_IPS" => common.extend(given("forwarded-allow-ips", value, &name)),
            _ if !name.starts_with("AMBOSS_") || is_internal(&name) => {}
            _ if is_service_link(&name, &value) => {}
            _ => match table::settings().find(|setting| is_variable_of(setting, &name)) {
                Some(setting) => own.push(Given::new(setting, split(setting, &value), Source::Variable(name))),
                None => messages.push(unknown(&name)),
            },
        }
    }
    if let Some(port) = port {
        let is_port = port.to_str().is_some_and(|port| port.parse::<u16>().is_ok());
        common.extend(if is_port && !is_debugging && !is_on("debug", &own) {
            given("bind", address(&port), "PORT")
        } else {
            // On this machine alone; or the value is wrong, and the setting says so if it counts.
            given("port", port, "PORT")
        });
    }
    if messages.is_empty() {
        Ok([own, common])
    } else {
        Err(messages)
    }
}

/// Whether a setting can be given by a variable, and this is its name.
fn is_variable_of(setting: &Setting, name: &str) -> bool {
    !setting.hidden && setting.variable() == name
}

fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name) || INTERNAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether Kubernetes or Docker has set the variable, for a service whose name begins with `amboss`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_PORT` with the value `tcp://…`, `…_PORT_80_TCP_ADDR` and others.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let has_protocol =
        name.split_once("_PORT_").is_some_and(|(_, rest)| rest.contains("_TCP") || rest.contains("_UDP"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || has_protocol
        || name.ends_with("_PORT") && value.to_str().is_some_and(|value| value.contains("://"))
}

fn unknown(name: &str) -> String {
    let known = table::settings().filter(|setting| !setting.hidden).map(Setting::variable);
    match nearest(name, known) {
        Some(nearest) => format!("there is no setting for the variable {name}; did you mean {nearest}?"),
        None => format!("there is no setting for the variable {name}; amboss --help lists the settings"),
    }
}

/// Returns the value of a common variable for this setting; `None` if this command does not have the setting.
fn given(setting: &str, value: OsString, variable: &str) -> Option<Given> {
    Some(Given::new(table::find(setting)?, vec![value], Source::Variable(variable.to_owned())))
}

/// The address for `PORT`. Platforms that set it connect from other machines.
fn address(port: &OsStr) -> OsString {
    let mut address = OsString::from("0.0.0.0:");
    address.push(port);
    address
}

/// Splits the value of a list at commas. A value with a comma of its own is written as in a file: `["a, b"]`.
fn split(setting: &Setting, value: &OsStr) -> Vec<OsString> {
    let Some(text) = value.to_str().filter(|_| setting.is_list()) else { return vec![value.to_owned()] };
    if let Some(values) = super::file::parse_array(text) {
        return values;
    }
    if matches!(setting.kind, Kind::Program(_)) {
        return text.split_whitespace().map(OsString::from).collect();
    }
    text.split(',').map(|part| part.trim().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(variables: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        read(variables, false).map(|[own, common]| format!("{own:?} {common:?}"))
    }

    #[test]
    fn variables_are_settings_of_two_layers() {
        for (variables, expected) in [
            (
                &[("AMBOSS_THREADS", "8"), ("HOME", "/"), ("AMBOSS_SINGLE", "")][..],
                "[threads=[\"8\"] from AMBOSS_THREADS] []",
            ),
            (&[("AMBOSS_SINGLE", "Yes")], "[single=[\"true\"] from AMBOSS_SINGLE] []"),
            (&[("AMBOSS_IDLE_TIMEOUT", "5")], "[idle-timeout=[\"5\"] from AMBOSS_IDLE_TIMEOUT] []"),
            (&[("AMBOSS_BIND", "[::1]:80, unix:/x")], "[bind=[\"[::1]:80\", \"unix:/x\"] from AMBOSS_BIND] []"),
            (&[("AMBOSS_VHOST", "['a=b:c(1, 2)']")], "[vhost=[\"a=b:c(1, 2)\"] from AMBOSS_VHOST] []"),
            (&[("PORT", "80")], "[] [bind=[\"0.0.0.0:80\"] from PORT]"),
            (&[("AMBOSS_SERVER_FD", "3"), ("AMBOSS_TEST_CACHE", "/x"), ("AMBOSS_CHILD_LIVE", "1")], "[] []"),
            (
                &[("PORT", "80"), ("AMBOSS_DEBUG", "1")],
                "[debug=[\"true\"] from AMBOSS_DEBUG] [port=[\"80\"] from PORT]",
            ),
            (&[("AMBOSS_PORT", "tcp://10.0.0.2:80"), ("AMBOSS_PORT_80_TCP_ADDR", "10.0.0.2")], "[] []"),
            (&[("AMBOSS_WEB_SERVICE_HOST", "10.0.0.2"), ("AMBOSS_WEB_SERVICE_PORT_HTTP", "80")], "[] []"),
            (&[("AMBOSS_WEB_PORT", "tcp://10.0.0.2:80"), ("AMBOSS_WEB_PORT_80_TCP", "tcp://10.0.0.2:80")], "[] []"),
        ] {
            assert_eq!(shown(variables).as_deref(), Ok(expected), "{variables:?}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_names_the_nearest() {
        assert_eq!(
            shown(&[("AMBOSS_THREAD", "8"), ("AMBOSS_XYZZY", "1")]).unwrap_err(),
            [
                "there is no setting for the variable AMBOSS_THREAD; did you mean AMBOSS_THREADS?",
                "there is no setting for the variable AMBOSS_XYZZY; amboss --help lists the settings"
            ]
        );
    }
}
