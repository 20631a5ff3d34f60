//! [`StaticFiles`].

use std::path::{Path, PathBuf};

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use crate::head_path::decoded_path;
use crate::prefix::can_match;

use super::error::{FilesError, FilesErrorKind};
use super::folder::{Folder, Presence};
use super::options::FolderOptions;
use super::path::has_encoded_slash;
use super::request::{denied, is_read, method_not_allowed};
use super::root::{open_named_file, Lookup};
use super::send::Source;

/// A middleware that serves folders and files under prefixes of the path, and passes every other request to the
/// application: Werkzeug's `SharedDataMiddleware`.
///
/// A request for a file that does not exist goes to the application, too. If several prefixes fit, the longest is tried
/// first.
///
/// ```no_run
/// use std::time::Duration;
/// use amboss_toolkit::files::{FolderOptions, StaticFiles};
/// use amboss_toolkit::Response;
///
/// let mut options = FolderOptions::default();
/// options.cache = Some(Duration::from_secs(86_400));
/// let app = StaticFiles::new(Response::text("Hello world!\n"))
///     .folder_with_options("/static", "assets", options)?
///     .file("/robots.txt", "assets/robots.txt")?;
/// assert!(app.matches(b"/static/style.css") && !app.matches(b"/statics"));
/// # Ok::<(), amboss_toolkit::files::FilesError>(())
/// ```
#[derive(Debug)]
pub struct StaticFiles<A> {
    app: A,
    /// Those with the longest prefix first.
    mounts: Vec<Mount>,
}

#[derive(Debug)]
struct Mount {
    /// Without a slash at the end.
    prefix: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Folder(Box<Folder>),
    File { path: PathBuf, cache_control: String },
}

impl<A> StaticFiles<A> {
    /// Wraps an application.
    pub fn new(app: A) -> StaticFiles<A> {
        StaticFiles { app, mounts: Vec::new() }
    }

    /// Serves a folder under a prefix, such as `/static`; `/` stands for all paths.
    ///
    /// # Errors
    /// A prefix without a slash at its beginning or one that was given before, and the errors of [`Folder::new`].
    pub fn folder(self, prefix: &str, path: impl AsRef<Path>) -> Result<StaticFiles<A>, FilesError> {
        self.folder_with_options(prefix, path, FolderOptions::default())
    }

    /// Serves a folder under a prefix with these options.
    ///
    /// # Errors
    /// The same as [`folder`](StaticFiles::folder).
    pub fn folder_with_options(
        self,
        prefix: &str,
        path: impl AsRef<Path>,
        options: FolderOptions,
    ) -> Result<StaticFiles<A>, FilesError> {
        let prefix = self.check_prefix(prefix)?;
        let folder = Folder::with_options(path, options)?;
        Ok(self.mount(prefix, Target::Folder(Box::new(folder))))
    }

    /// Serves one file at one path, such as `/favicon.ico`. It may be a link to any place, since it was named.
    ///
    /// # Errors
    /// A path without a slash at its beginning or one that was given before; a file that does not exist, is not a
    /// regular file, or can't be opened.
    pub fn file(self, prefix: &str, path: impl AsRef<Path>) -> Result<StaticFiles<A>, FilesError> {
        self.file_with_options(prefix, path, &FolderOptions::default())
    }

    /// Serves one file at one path, with the [`cache`](FolderOptions::cache) of these options. The others are for folders.
    ///
    /// # Errors
    /// The same as [`file`](StaticFiles::file).
    pub fn file_with_options(
        self,
        prefix: &str,
        path: impl AsRef<Path>,
        options: &FolderOptions,
    ) -> Result<StaticFiles<A>, FilesError> {
        let prefix = self.check_prefix(prefix)?;
        let path = std::path::absolute(path.as_ref()).map_err(|error| FilesError::from_io(path.as_ref(), error))?;
        // `open_named_file` says less about a failure than a person needs.
        std::fs::metadata(&path).map_err(|error| FilesError::from_io(&path, error))?;
        match open_named_file(&path).map_err(|error| FilesError::from_io(&path, error))? {
            Lookup::File(..) => {}
            Lookup::Denied => {
                return Err(FilesErrorKind::Unreadable(path, std::io::ErrorKind::PermissionDenied.into()).into())
            }
            Lookup::Folder | Lookup::Missing => return Err(FilesErrorKind::NotAFile(path).into()),
        }
        let cache_control = options.cache_control();
        Ok(self.mount(prefix, Target::File { path, cache_control }))
    }

    /// Serves a folder under a prefix, or a file at a path, whichever `path` is (an entry of Werkzeug's `exports`).
    ///
    /// # Errors
    /// The same as [`folder`](StaticFiles::folder) and [`file`](StaticFiles::file).
    pub fn export(self, prefix: &str, path: impl AsRef<Path>) -> Result<StaticFiles<A>, FilesError> {
        if path.as_ref().is_file() {
            self.file(prefix, path)
        } else {
            self.folder(prefix, path)
        }
    }

    /// Whether a percent-decoded path is under a prefix. Only the prefixes are compared; whether there is a file is not
    /// asked.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.mounts.iter().any(|mount| mount.covers(path))
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// Whether a file answers this request.
    fn has_file(&self, path: &[u8], head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let mut covering = self.mounts.iter().filter(|mount| mount.covers(path)).peekable();
        if covering.peek().is_some() {
            before_blocking();
        }
        covering.any(|mount| mount.has_file(path, head))
    }

    fn check_prefix(&self, prefix: &str) -> Result<String, FilesError> {
        if !can_match(prefix) {
            return Err(FilesErrorKind::InvalidPrefix(prefix.to_owned()).into());
        }
        let trimmed = prefix.trim_end_matches('/');
        if self.mounts.iter().any(|mount| mount.prefix == trimmed) {
            return Err(FilesErrorKind::DuplicatePrefix(prefix.to_owned()).into());
        }
        Ok(trimmed.to_owned())
    }

    fn mount(mut self, prefix: String, target: Target) -> StaticFiles<A> {
        self.mounts.push(Mount { prefix, target });
        self.mounts.sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        self
    }
}

impl<A: Application> Application for StaticFiles<A> {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        for mount in &self.mounts {
            if mount.covers(&environ.path()) {
                if let Some(body) = mount.respond(environ, start_response)? {
                    return Ok(body);
                }
            }
        }
        self.app.call(environ, start_response)
    }

    /// Whether a file answers the request, or the application says so. A prefix is not enough: a path without a file goes
    /// to the application, which may be slow.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let is_read = matches!(head.method(), b"GET" | b"HEAD");
        let mut is_ours = |path: &[u8]| !has_encoded_slash(head.target()) && self.has_file(path, head, before_blocking);
        is_read && decoded_path(&head).is_some_and(|path| is_ours(&path))
            || self.app.is_immediate(head, before_blocking)
    }
}

impl Mount {
    fn covers(&self, path: &[u8]) -> bool {
        match (path.strip_prefix(self.prefix.as_bytes()), &self.target) {
            (Some(rest), Target::Folder(_)) => rest.is_empty() || rest[0] == b'/',
            (Some(rest), Target::File { .. }) => rest.is_empty() || self.prefix.is_empty() && rest == b"/",
            (None, _) => false,
        }
    }

    fn has_file(&self, path: &[u8], head: Head<'_>) -> bool {
        match &self.target {
            Target::Folder(folder) => folder.presence(path, &self.prefix, head) == Presence::File,
            Target::File { path, .. } => matches!(open_named_file(path), Ok(Lookup::File(..))),
        }
    }

    fn respond(&self, environ: &Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Option<Body>, AppError> {
        let (path, cache_control) = match &self.target {
            Target::Folder(folder) => return folder.respond(environ, &self.prefix, start_response),
            Target::File { path, cache_control } => (path, cache_control),
        };
        let (file, metadata) = match open_named_file(path)? {
            Lookup::File(file, metadata) => (file, metadata),
            Lookup::Denied => return denied(start_response).map(Some),
            Lookup::Folder | Lookup::Missing => return Ok(None),
        };
        if !is_read(environ) {
            return method_not_allowed(start_response).map(Some);
        }
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let source = Source { file, metadata, name, coding: None, cache_control, vary: None };
        source.respond(environ, start_response).map(Some)
    }
}
