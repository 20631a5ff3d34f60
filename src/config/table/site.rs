//! Files beside the application, CGI scripts and hosts.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Setting;
use crate::config::parsers::{cache, text};
use crate::config::setting::Scope;
use crate::toolkit::middleware::check_host;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::list(
        "static",
        "/PREFIX=PATH",
        "Serve a folder below a prefix of the path, or a file at a path, without the application and for all hosts; may be \
         repeated. Names that begin with a dot, and links that lead out of the folder, are not served",
        |config, value| mount(value, "/static=./assets").map(|mount| config.site.static_files.push(mount)),
    )
    .scope(Scope::OwnServer),
    #[cfg(unix)]
    Setting::list(
        "cgi",
        "/PREFIX=FOLDER",
        "Run the CGI scripts of a folder below a prefix of the path, for all hosts; may be repeated. A script has 30 \
         seconds for its head and 5 minutes in total",
        |config, value| mount(value, "/cgi-bin=./cgi-bin").map(|mount| config.site.cgi.push(mount)),
    )
    .scope(Scope::OwnServer),
    Setting::switch(
        "spa",
        "Answer a browser's requests for pages that a folder does not have with its index.html, for applications that \
         route in the browser",
        |config| &mut config.site.spa,
    )
    .scope(Scope::Files),
    Setting::switch("no-listing", "List no files when a folder without an index.html is requested", |config| {
        &mut config.site.no_listing
    })
    .scope(Scope::Folder),
    Setting::value("cache", "SECONDS", "How long browsers may use a file without asking again", |config, value| {
        cache(value).map(|cache| config.site.cache = Some(cache))
    })
    .default_words("they always ask")
    .scope(Scope::Files)
    .hyphen(),
    Setting::list(
        "vhost",
        "HOST=APP",
        "Answer requests for a host, or for all names below (*.NAME), with another application: a folder or a program, as \
         a path that begins with ./, ../ or /, or a Python application; may be repeated. A program, with arguments behind \
         spaces, is started with the first request, by each worker, and inherits a socket (AMBOSS_SERVER_FD, LISTEN_FDS) \
         to which requests are passed on",
        |config, value| vhost(value).map(|vhost| config.site.vhost.push(vhost)),
    )
    .scope(Scope::OwnServer),
    Setting::list(
        "allowed-host",
        "NAME",
        "Answer only requests for this host, for localhost and the names below it, for the hosts of --bind, and for IP \
         addresses; others get 421. *.NAME stands for all names below; may be repeated",
        |config, value| {
            let name = text(value)?;
            check_host(name).map_err(|error| error.to_string())?;
            config.site.allowed_host.push(name.to_owned());
            Ok(())
        },
    )
    .scope(Scope::Amboss)
    .hyphen(),
    #[cfg(all(unix, feature = "reload"))]
    Setting::list("withheld", "NAME", "Name of a file that no folder publishes", |config, value| {
        config.site.withheld.extend(value.to_str().map(str::to_owned));
        Ok(())
    })
    .hidden(),
];

/// Parses `/prefix=path`.
fn mount(value: &OsStr, example: &str) -> Result<(String, PathBuf), String> {
    match text(value)?.split_once('=') {
        Some((prefix, path)) if prefix.starts_with('/') && !path.is_empty() => Ok((prefix.to_owned(), path.into())),
        _ => Err(format!("write it as /prefix=path, as in {example}")),
    }
}

/// Parses `host=app`.
fn vhost(value: &OsStr) -> Result<(String, String), String> {
    match text(value)?.split_once('=') {
        Some((host, target)) if !host.is_empty() && !target.is_empty() => Ok((host.to_owned(), target.to_owned())),
        _ => Err("write it as host=app, as in api.localhost=api:app or docs.localhost=./docs".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Config;

    #[test]
    fn a_mount_is_a_prefix_and_a_path() {
        let mount = |text: &str, example| mount(OsStr::new(text), example);
        assert_eq!(mount("/a=b=c", ""), Ok(("/a".into(), "b=c".into())));
        for text in ["a=b", "/a", "/a=", "=b", ""] {
            assert!(mount(text, "/static=./assets").unwrap_err().contains("/static=./assets"), "{text}");
        }
    }

    #[test]
    fn an_allowed_host_is_a_name_alone() {
        let store = |text: &str| {
            let setting = SETTINGS.iter().find(|setting| setting.name == "allowed-host").expect("it is there");
            setting.store(&mut Config::default(), &[text.into()]).map_err(|(_, reason)| reason)
        };
        for text in ["dev.example.org", "*.example.org", "LOCALHOST", "[::1]"] {
            assert_eq!(store(text), Ok(()));
        }
        for text in ["", "a b", "http://a", "a:80", "a/b", "a,b", "a?b", "..", "*"] {
            assert!(store(text).unwrap_err().contains("without a scheme and a port"), "{text}");
        }
    }
}
