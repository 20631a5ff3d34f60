//! The log.

use super::Setting;
use crate::config::parsers::{parse, slow};
use crate::config::setting::Scope;
use crate::config::values::{Color, LogLevel};
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
        "Append access lines and errors to this file instead of writing them to stderr; USR1 reopens the file after it was \
         moved",
        |config, value| {
            config.log.file = Some(value.into());
            Ok(())
        },
    )
    .scope(Scope::OwnServer),
    Setting::value(
        "access-logfile",
        "FILE",
        "Append only the access lines to this file; - stands for stdout",
        |config, value| {
            config.log.access_file = Some(value.into());
            Ok(())
        },
    )
    .default_words("that of --log-file")
    .scope(Scope::OwnServer),
    Setting::value(
        "error-logfile",
        "FILE",
        "Append only the errors to this file; - stands for stderr",
        |config, value| {
            config.log.error_file = Some(value.into());
            Ok(())
        },
    )
    .default_words("that of --log-file")
    .scope(Scope::OwnServer),
    Setting::value(
        "access-log-format",
        "FORMAT",
        "Format of the access lines in place of --log-format, written as gunicorn's: \"%(h)s %(r)s %(s)s %(M)s\"; fields of \
         the request are %({host}i)s",
        |config, value| parse(value).map(|format| config.log.access_format = Some(format)),
    )
    .aliases(&["access-logformat"])
    .default_words("that of --log-format")
    .hyphen()
    .scope(Scope::OwnServer),
    Setting::value(
        "log-slow",
        "SECONDS",
        "Write a line to the error log about each request that takes longer than this, from its complete head to the last \
         byte of the response",
        |config, value| slow(value).map(|limit| config.log.slow = Some(limit)),
    )
    .default_words("never")
    .scope(Scope::OwnServer),
    Setting::switch(
        "request-id",
        "Give each request an ID, for the application (HTTP_X_REQUEST_ID), the log and the response (X-Request-ID); a trusted \
         proxy may send one",
        |config| &mut config.log.request_ids,
    )
    .scope(Scope::OwnServer),
    Setting::switch("no-access-log", "Log no requests", |config| &mut config.log.no_access_log)
        .scope(Scope::OwnServer),
    Setting::choice(
        "log-level",
        "LEVEL",
        &[
            ("debug", "As info"),
            ("info", "The banner, what a supervisor does, warnings and errors"),
            ("warning", "Warnings and errors"),
            ("error", "As warning"),
            ("critical", "Only what a supervisor says about workers that die, and what ends the server"),
        ],
        "Which messages to print; access lines are not among them",
        |config, value| {
            config.log.level = match value.to_str() {
                Some("warning" | "error") => LogLevel::Warning,
                Some("critical") => LogLevel::Critical,
                _ => LogLevel::Info,
            };
            Ok(())
        },
    )
    .default("info"),
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
