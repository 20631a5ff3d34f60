//! The flags of what stands around the application: files, CGI scripts and hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::seconds;
use crate::toolkit::files::{Folder, FolderOptions};
use crate::toolkit::middleware::check_host;
use crate::toolkit::Response;
use crate::{Address, Application, RunOptions};

/// The flags of files, CGI scripts and hosts.
#[derive(Args, Debug)]
#[command(next_help_heading = "Files, CGI scripts and hosts")]
pub(in crate::cli) struct SiteArgs {
    /// Serve a folder below a prefix of the path, or a file at a path, without the application and for all hosts; may be
    /// repeated. Names that begin with a dot, and links that lead out of the folder, are not served
    #[arg(long = "static", value_name = "/PREFIX=PATH", value_parser = |text: &str| mount(text, "/static=./assets"))]
    static_files: Vec<(String, PathBuf)>,

    /// Run the CGI scripts of a folder below a prefix of the path, for all hosts; may be repeated. A script has 30 seconds
    /// for its head and 5 minutes in total
    #[cfg(unix)]
    #[arg(long, value_name = "/PREFIX=FOLDER", value_parser = |text: &str| mount(text, "/cgi-bin=./cgi-bin"))]
    cgi: Vec<(String, PathBuf)>,

    /// Answer a browser's requests for pages that a folder does not have with its index.html, for applications that route
    /// in the browser
    #[arg(long)]
    spa: bool,

    /// List no files when a folder without an index.html is requested
    #[arg(long)]
    no_listing: bool,

    /// How long browsers may use a file without asking again [default: they always ask]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::cache, allow_hyphen_values = true)]
    cache: Option<Duration>,

    /// Answer requests for a host, or for all names below (*.NAME), with another application: a folder or a program, as a
    /// path that begins with ./, ../ or /, or a Python application; may be repeated. A program, with arguments behind
    /// spaces, is started with the first request, by each worker, and inherits a socket (AMBOSS_SERVER_FD, LISTEN_FDS)
    /// to which requests are passed on
    #[arg(long, value_name = "HOST=APP", value_parser = vhost)]
    vhost: Vec<(String, String)>,

    /// Answer only requests for this host, for localhost and the names below it, for the hosts of --bind, and for IP
    /// addresses; others get 421. *.NAME stands for all names below; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host, allow_hyphen_values = true)]
    allowed_host: Vec<String>,
}

impl SiteArgs {
    /// Returns the flags of `amboss`'s own server that were given.
    #[cfg(all(unix, feature = "reload"))]
    pub(super) fn given(&self) -> [(bool, &'static str); 7] {
        [
            (!self.static_files.is_empty(), "--static"),
            (!self.cgi.is_empty(), "--cgi"),
            (!self.vhost.is_empty(), "--vhost"),
            (self.spa, "--spa"),
            (self.no_listing, "--no-listing"),
            (self.cache.is_some(), "--cache"),
            (!self.allowed_host.is_empty(), "--allowed-host"),
        ]
    }

    /// Returns a flag that has no effect without a folder; `serves_folder`: whether the application is one.
    pub(super) fn without_folder(&self, serves_folder: bool) -> Option<&'static str> {
        let serves_folder =
            serves_folder || self.vhost.iter().any(|(_, target)| folder(target).is_some() && !is_program(target));
        let has_folder = serves_folder || !self.static_files.is_empty();
        let flags = [
            (self.spa && !has_folder, "--spa"),
            (self.cache.is_some() && !has_folder, "--cache"),
            (self.no_listing && !serves_folder, "--no-listing"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Returns how folders are served. `listing`: whether they are listed unless the flags say otherwise.
    pub(in crate::cli) fn folder_options(&self, listing: bool) -> FolderOptions {
        let mut options = FolderOptions::default();
        options.spa = self.spa;
        options.listing = listing && !self.no_listing;
        options.cache = self.cache;
        options.precompressed = true;
        options
    }

    /// Returns the hosts with Python applications, and the names of these applications.
    pub(in crate::cli) fn python_hosts(&self) -> Vec<(String, String)> {
        let is_python = |target: &str| folder(target).is_none() && !is_program(target);
        self.vhost.iter().filter(|(_, target)| is_python(target)).cloned().collect()
    }

    /// Returns the hosts with programs, and the command lines of these.
    #[cfg(all(unix, feature = "reload"))]
    pub(in crate::cli) fn programs(&self) -> Vec<(String, Vec<std::ffi::OsString>)> {
        self.vhost.iter().filter_map(|(host, target)| Some((host.clone(), program(target)?))).collect()
    }

    /// Returns a flag by which requests wait for another process in the thread of the server.
    pub(super) fn blocking_flag(&self) -> Option<&'static str> {
        #[cfg(unix)]
        if !self.cgi.is_empty() {
            return Some("--cgi");
        }
        self.vhost.iter().any(|(_, target)| is_program(target)).then_some("--vhost with a program")
    }

    /// Copies the flags into the options of a server with these addresses. The loader of a Python application replaces
    /// the applications of [`python_hosts`](SiteArgs::python_hosts).
    ///
    /// # Errors
    /// A message: a folder or a host can't be used.
    pub(super) fn apply(&self, options: &mut RunOptions, addresses: &[Address]) -> Result<(), String> {
        for (host, target) in &self.vhost {
            let app: Arc<dyn Application> = match folder(target).filter(|_| !is_program(target)) {
                Some(folder) => {
                    let folder = Folder::with_options(folder, self.folder_options(true));
                    Arc::new(folder.map_err(|error| error.to_string())?)
                }
                None => Arc::new(Response::empty(503)),
            };
            options.hosts.push((host.clone(), app));
        }
        options.static_files.clone_from(&self.static_files);
        options.folder_options = self.folder_options(false);
        #[cfg(unix)]
        options.cgi.clone_from(&self.cgi);
        options.allowed_hosts = (!self.allowed_host.is_empty()).then(|| self.allowed_host.clone());
        // A forked worker and the error page of a PROGRAM know no addresses.
        options.bound_names.extend(crate::surroundings::names_of(addresses));
        crate::surroundings::check(options).map_err(|error| error.to_string())
    }
}

/// Parses `/prefix=path`.
fn mount(text: &str, example: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((prefix, path)) if prefix.starts_with('/') && !path.is_empty() => Ok((prefix.to_owned(), path.into())),
        _ => Err(format!("write it as /prefix=path, as in {example}")),
    }
}

/// Parses `host=app`.
fn vhost(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((host, target)) if !host.is_empty() && !target.is_empty() => Ok((host.to_owned(), target.to_owned())),
        _ => Err("write it as host=app, as in api.localhost=api:app or docs.localhost=./docs".into()),
    }
}

/// Checks that a text is the name of a host.
fn host(text: &str) -> Result<String, String> {
    check_host(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// The words of a command line whose program is a file that can be executed, named by a path that begins with a dot or a
/// slash. The words are separated by spaces.
#[cfg(all(unix, feature = "reload"))]
fn program(target: &str) -> Option<Vec<std::ffi::OsString>> {
    use std::os::unix::fs::PermissionsExt;

    let mut words = target.split(' ').filter(|word| !word.is_empty());
    let path = words.next().filter(|path| ["./", "../", "/"].iter().any(|beginning| path.starts_with(beginning)))?;
    let metadata = Path::new(path).metadata().ok()?;
    let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 && !path.ends_with(".py");
    is_program.then(|| std::iter::once(path).chain(words).map(Into::into).collect())
}

/// Whether the application of a host is a program.
fn is_program(target: &str) -> bool {
    #[cfg(all(unix, feature = "reload"))]
    return program(target).is_some();
    #[cfg(not(all(unix, feature = "reload")))]
    {
        let _ = target;
        false
    }
}

/// Returns the folder that an APP names: a path that begins with a dot or a slash and is no file of Python. Other paths
/// may be those of Python packages, for which the loader of Python applications has messages.
pub(in crate::cli) fn folder(target: &str) -> Option<&Path> {
    let path = Path::new(target);
    let begins_as_folder = matches!(target, "." | "..")
        || ["./", "../", "/", ".\\", "..\\"].iter().any(|beginning| target.starts_with(beginning))
        || cfg!(windows) && path.is_absolute();
    let names_python = target.contains(".py") || target.rsplit('/').next().is_some_and(|name| name.contains(':'));
    (begins_as_folder && (path.is_dir() || !names_python)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_names_a_folder() {
        for (target, is_folder) in [
            (".", true),
            ("..", true),
            ("./site", true),
            ("/srv/www", true),
            ("site/", false),
            ("parts/nowhere", false),
            ("../site/", true),
            ("/srv/app.py:app", false),
            ("./app:app", false),
            ("site", false),
            ("module:app", false),
            ("pkg/app.py", false),
            ("pkg/app.py:app", false),
            ("./app.py", false),
        ] {
            assert_eq!(folder(target).is_some(), is_folder, "{target}");
        }
    }

    #[test]
    fn a_mount_is_a_prefix_and_a_path() {
        assert_eq!(mount("/a=b=c", ""), Ok(("/a".into(), "b=c".into())));
        for text in ["a=b", "/a", "/a=", "=b", ""] {
            assert!(mount(text, "/static=./assets").unwrap_err().contains("/static=./assets"), "{text}");
        }
    }

    #[test]
    fn an_allowed_host_is_a_name_alone() {
        for text in ["dev.example.org", "*.example.org", "LOCALHOST", "[::1]"] {
            assert_eq!(host(text), Ok(text.into()));
        }
        for text in ["", "a b", "http://a", "a:80", "a/b", "a,b", "a?b", "..", "*"] {
            assert!(host(text).unwrap_err().contains("without a scheme and a port"), "{text}");
        }
    }
}
