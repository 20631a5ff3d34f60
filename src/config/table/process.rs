//! The process: its directory, environment, user and name.

use super::Setting;
#[cfg(unix)]
use crate::config::parsers::octal;
use crate::config::parsers::{is_variable, text};
#[cfg(target_os = "linux")]
use crate::config::setting::Scope;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::value(
        "chdir",
        "DIRECTORY",
        "Change to this directory first; paths of other settings are relative to it, and APP is imported from it",
        |config, value| {
            config.process.chdir = Some(value.into());
            Ok(())
        },
    )
    .once(),
    Setting::list(
        "env",
        "NAME=VALUE",
        "Set an environment variable for the application; may be repeated",
        |config, value| match text(value)?.split_once('=') {
            Some((name, value)) if is_variable(name, value) => {
                config.process.env.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            _ => Err("write it as NAME=VALUE, as in DJANGO_SETTINGS_MODULE=shop.settings".into()),
        },
    )
    .short('e')
    .once(),
    Setting::list(
        "env-file",
        "FILE",
        "Set the environment variables of this file (NAME=VALUE lines, as in .env) that are not set yet; may be repeated",
        |config, value| {
            config.process.env_file.push(value.into());
            Ok(())
        },
    )
    .once(),
    #[cfg(unix)]
    Setting::value(
        "pid",
        "FILE",
        "Write the process ID of the server, or of the supervisor of workers, into this file while it runs",
        |config, value| {
            config.process.pid = Some(value.into());
            Ok(())
        },
    )
    .aliases(&["pidfile"]),
    #[cfg(unix)]
    Setting::value(
        "umask",
        "MODE",
        "Permissions to take away from new files and Unix sockets of the server and the application, in octal, such as 027",
        |config, value| octal(value).map(|mode| config.process.umask = Some(mode)),
    )
    .short('m')
    .default_words("that of the shell")
    .once(),
    #[cfg(target_os = "linux")]
    Setting::value(
        "user",
        "USER",
        "Run requests as this user, a name or a number, once root has opened the sockets and read keys",
        |config, value| text(value).map(|name| config.process.user = Some(name.to_owned())),
    )
    .short('u')
    .default_words("the user who starts amboss")
    .scope(Scope::OwnServer),
    #[cfg(target_os = "linux")]
    Setting::value(
        "group",
        "GROUP",
        "Run requests as this group, a name or a number",
        |config, value| text(value).map(|name| config.process.group = Some(name.to_owned())),
    )
    .short('g')
    .default_words("that of --user")
    .scope(Scope::OwnServer),
    #[cfg(target_os = "linux")]
    Setting::value(
        "name",
        "NAME",
        "Name of the processes for ps, top and pgrep, of which they show 15 bytes",
        |config, value| text(value).map(|name| config.process.name = Some(name.to_owned())),
    )
    .short('n')
    .default_words("that of the program"),
];
