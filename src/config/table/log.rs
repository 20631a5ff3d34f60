//! The log.

use super::Setting;
use crate::config::setting::Scope;
use crate::config::values::Color;
use crate::LogFormat;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::choice(
        "log-format",
        "FORMAT",
        &[
            ("werkzeug", "Werkzeug's format, with size and duration"),
            ("common", "Common log format"),
            ("combined", "Common log format with referrer and user agent"),
            ("json", "One JSON object per line"),
        ],
        "Format of the access log",
        |config, value| {
            config.log.format = match value.to_str() {
                Some("common") => LogFormat::Common,
                Some("combined") => LogFormat::Combined,
                Some("json") => LogFormat::Json,
                _ => LogFormat::Werkzeug,
            };
            Ok(())
        },
    )
    .default("werkzeug")
    .scope(Scope::OwnServer),
    Setting::value(
        "log-file",
        "FILE",
        "Append the log to this file instead of writing it to stderr; USR1 reopens the file after it was moved",
        |config, value| {
            config.log.file = Some(value.into());
            Ok(())
        },
    )
    .scope(Scope::OwnServer),
    Setting::choice(
        "color",
        "WHEN",
        &[("auto", "On a terminal, unless the environment says otherwise"), ("always", ""), ("never", "")],
        "Colours in the log; auto: on a terminal, unless the environment says otherwise",
        |config, value| {
            config.log.color = match value.to_str() {
                Some("always") => Color::Always,
                Some("never") => Color::Never,
                _ => Color::Auto,
            };
            Ok(())
        },
    )
    .default("auto"),
    Setting::count("quiet", "Print no banner and no access log; given twice, no errors either", |config| {
        &mut config.log.quiet
    })
    .short('q'),
];
