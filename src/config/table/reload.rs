//! Reloading and workers.

use super::Setting;
use crate::config::parsers::{integer, interval, parse, text};
use crate::config::setting::Scope;

/// The settings of which one has to be on for those that concern reloading.
const RELOADING: &[&str] = &["reload", "debug"];

pub(super) const SETTINGS: &[Setting] = &[
    Setting::switch(
        "reload",
        "Restart with the new code whenever a file changes, without losing a request",
        |config| &mut config.reload.reload,
    )
    .short('r'),
    Setting::value("reloader-type", "TYPE", "How to detect changes: auto, stat or notify", |config, value| {
        parse(value).map(|kind| config.reload.reloader_type = kind)
    })
    .default("auto")
    .needs(RELOADING),
    Setting::value(
        "reloader-interval",
        "SECONDS",
        "Seconds between two scans of the stat reloader",
        |config, value| interval(value).map(|interval| config.reload.reloader_interval = interval),
    )
    .default("1")
    .needs(RELOADING),
    Setting::list(
        "extra-files",
        "PATH",
        "Watch this file, directory or glob as well; may be repeated",
        |config, value| {
            config.reload.extra_files.push(value.into());
            Ok(())
        },
    )
    .aliases(&["reload-extra-file"])
    .needs(RELOADING),
    Setting::list(
        "exclude-patterns",
        "PATTERN",
        "Ignore changes to paths that match this pattern, such as \"*/static/*\"; may be repeated",
        |config, value| text(value).map(|pattern| config.reload.exclude_patterns.push(pattern.to_owned())),
    )
    .needs(RELOADING),
    Setting::switch("error-page", "While the newest code is broken, answer every request with the reason", |config| {
        &mut config.reload.error_page
    })
    .default_words("the old code keeps serving, if there is any")
    .needs(RELOADING),
    Setting::switch(
        "spare",
        "For an application in Python: keep an interpreter ready that has imported the libraries with which the \
         application begins. It makes a reload faster, and takes the memory of these libraries once more",
        |config| &mut config.reload.spare,
    )
    .needs(RELOADING)
    .scope(Scope::Python),
    Setting::value("workers", "N", "Number of worker processes; a worker that dies is replaced", |config, value| {
        integer(value, 1..=1000).map(|workers| config.reload.workers = workers)
    })
    .short('w')
    .default("1"),
    Setting::switch(
        "watch-reported",
        "Watch the files that PROGRAM reports, and --extra-files, instead of the current directory",
        |config| &mut config.reload.watch_reported,
    )
    .needs(&["program"])
    .hidden(),
];
