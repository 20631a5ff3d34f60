//! The application, addresses, and how requests run.

use super::{Setting, TARGET};
#[cfg(unix)]
use crate::config::parsers::octal;
use crate::config::parsers::{integer, parse, text};
use crate::config::setting::{Kind, Scope};
use crate::BodyMode;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::positional(
        "app",
        Kind::App(|config, value| match text(value)? {
            "" => Err("name an application, a folder or .".into()),
            name if name.starts_with('-') => Err(format!("write a path such as ./{name}")),
            name => {
                config.app = Some(name.to_owned());
                Ok(())
            }
        }),
        "Python application to serve: module:object, module:factory(), module:factory(\"text\", n=1), or a module alone \
         that defines `app` or `application`; the path of a .py file can stand for the module. Or a folder of files to \
         serve, as a path that begins with ./, ../ or /. Or . to look into the current directory for an application",
    )
    .default_words("the built-in development application")
    .excludes(TARGET),
    #[cfg(all(unix, feature = "reload"))]
    Setting::positional(
        "program",
        Kind::Program(|config, value| {
            config.program.push(value.to_owned());
            Ok(())
        }),
        "Run this program instead, which serves on the sockets that AMBOSS_SERVER_FD or LISTEN_FDS passes to it",
    )
    .excludes(TARGET),
    Setting::list(
        "bind",
        "ADDRESS",
        "Address to listen on: host:port, [::1]:port, localhost:port (IPv4 and IPv6), unix:/path or fd://N; may be \
         repeated",
        |config, value| parse(value).map(|address| config.bind.push(address)),
    )
    .short('b')
    .excludes("address"),
    Setting::value("port", "PORT", "Port on 127.0.0.1; 0 picks a free one", |config, value| {
        let is_path = value.to_str().is_some_and(|value| value.contains('/'));
        let port = integer(value, 0..=65_535);
        let port = port.map_err(|error| if is_path { "the PID file, -p of gunicorn, is --pid".into() } else { error })?;
        config.port = Some(port);
        Ok(())
    })
    .short('p')
    .default_words("5000, or the next free port")
    .excludes("address"),
    Setting::value(
        "backlog",
        "N",
        "Length of the system's queue of connections that wait to be accepted",
        |config, value| integer(value, 1..=1_000_000).map(|backlog| config.backlog = backlog),
    )
    .default("1024"),
    #[cfg(unix)]
    Setting::value(
        "unix-mode",
        "MODE",
        "Permissions of the files of Unix sockets, in octal, such as 660",
        |config, value| octal(value).map(|mode| config.unix_mode = Some(mode)),
    )
    .default_words("what the umask leaves"),
    Setting::value(
        "processes",
        "N",
        "Run each request in a process of its own, at most N at a time",
        |config, value| integer(value, 2..=1000).map(|processes| config.processes = Some(processes)),
    )
    .excludes("concurrency")
    .scope(Scope::OwnServer),
    Setting::value("threads", "N", "Maximum number of threads that run requests", |config, value| {
        integer(value, 1..=10_000).map(|threads| config.threads = Some(threads))
    })
    .default_words("64; 16 for APP")
    .excludes("concurrency")
    .scope(Scope::OwnServer),
    Setting::switch("single", "Run one request at a time", |config| &mut config.single)
        .excludes("concurrency")
        .scope(Scope::OwnServer),
    Setting::choice(
        "body-mode",
        "MODE",
        &[
            ("collect", "When the body is complete, so that a slow upload takes no thread"),
            ("stream", "When the head is complete; the application reads the body as it arrives"),
        ],
        "When to call the application: once the request body is complete, or before, so that it reads the body as it \
         arrives",
        |config, value| {
            config.body_mode = if value == "stream" { BodyMode::Stream } else { BodyMode::Collect };
            Ok(())
        },
    )
    .default("collect")
    .scope(Scope::OwnServer),
    Setting::value(
        "body-directory",
        "DIRECTORY",
        "Directory for request bodies that are too long for memory until they are complete, in unnamed temporary files",
        |config, value| {
            config.body_directory = Some(value.into());
            Ok(())
        },
    )
    .default_words("TMPDIR, else /var/tmp")
    .scope(Scope::OwnServer),
    Setting::switch(
        "live",
        "Reload open pages in the browser when the code has been replaced; also pages of a PROGRAM that calls run_simple",
        |config| &mut config.live,
    ),
];
