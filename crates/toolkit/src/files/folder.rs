//! [`Folder`].

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use amboss_core::http::Head;
use amboss_core::{AppError, Application, Body, Environ, StartResponse};

use crate::error::HttpError;
use crate::head_path::decoded_path;
use crate::response::Response;

use super::error::FilesError;
use super::found::Found;
use super::options::FolderOptions;
use super::path::{encode, has_encoded_slash, RelativePath};
use super::request::{accepts, denied, is_read, method_not_allowed, names};
use super::root::{Lookup, Opened, Root};
use super::send::Source;
use super::{listing, looked_up, precompressed};

/// An application that serves the files of a folder; see the [module](super) for what is served and how.
///
/// ```no_run
/// use amboss_core::ThreadedWsgiServer;
/// use amboss_toolkit::files::Folder;
///
/// ThreadedWsgiServer::bind("localhost:5000", Folder::new("site")?)?.serve_forever()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Folder {
    root: Root,
    options: FolderOptions,
    cache_control: String,
}

/// The kind of answer to a GET request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    None,
    /// A file, a redirect to one, or a refusal.
    File,
    Listing,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// A path at which there is no folder, or one that the server's user may not open.
    pub fn new(path: impl AsRef<Path>) -> Result<Folder, FilesError> {
        Folder::with_options(path, FolderOptions::default())
    }

    /// Opens a folder that is served with these options.
    ///
    /// # Errors
    /// A path at which there is no folder, or one that the server's user may not open; with
    /// [`listing`](FolderOptions::listing), one that it may not read.
    pub fn with_options(path: impl AsRef<Path>, options: FolderOptions) -> Result<Folder, FilesError> {
        let path = path.as_ref();
        let root = Root::open(path)?;
        if let Some(opened) = root.current().filter(|_| options.listing) {
            opened.dir.entries().map_err(|error| FilesError::from_io(path, error))?;
        }
        let cache_control = options.cache_control();
        Ok(Folder { root, options, cache_control })
    }

    /// Answers a request whose path begins with `prefix`. `None` if there is nothing to answer it with.
    pub(super) fn respond(
        &self,
        environ: &Environ<'_>,
        prefix: &str,
        start_response: &mut dyn StartResponse,
    ) -> Result<Option<Body>, AppError> {
        let full_path = environ.path();
        let Some(path) = RelativePath::parse(&full_path[prefix.len()..], self.options.hidden) else { return Ok(None) };
        let is_withheld = self.options.withholds_in(&path.bytes);
        if is_withheld || environ.get("RAW_URI").is_some_and(|target| has_encoded_slash(&target)) {
            return Ok(None);
        }
        let Some(root) = self.root.current() else { return Ok(None) };
        let wants_html = || is_read(environ) && accepts(environ, b"text/html");
        let found = match looked_up::take(self.address(), &full_path[prefix.len()..]) {
            Some(found) => Some(found),
            None => self.find(&root, &path, &wants_html)?,
        };
        let Some(found) = found else { return Ok(None) };
        if !is_read(environ) {
            return method_not_allowed(start_response).map(Some);
        }
        let found = match found {
            // Middleware around the folder, such as scripts or a check of the user below `/a/b`, has compared its prefix
            // with the path as it was sent, and has passed on `/a//b`. So the client asks again.
            found if path.is_merged => {
                Found::Redirect { slash: path.is_folder || matches!(found, Found::Redirect { .. }) }
            }
            found => found,
        };
        let body = match found {
            Found::File { file, metadata, path, is_fallback } => {
                let source = self.choose(&root, file, metadata, &path, is_fallback, environ)?;
                source.respond(environ, start_response)
            }
            Found::Redirect { slash } => self.redirect(environ, prefix, &path, slash, start_response),
            Found::Listing => listing::respond(&root, &path, prefix, &self.options, environ, start_response),
            Found::Denied => denied(start_response),
        };
        body.map(Some)
    }

    /// The kind of answer to a GET request whose path begins with `prefix`.
    pub(super) fn presence(&self, full_path: &[u8], prefix: &str, head: Head<'_>) -> Presence {
        let wants_html = || head.get_all("accept").any(|accept| names(accept, b"text/html"));
        let below = &full_path[prefix.len()..];
        let Some(path) = RelativePath::parse(below, self.options.hidden) else { return Presence::None };
        if self.options.withholds_in(&path.bytes) {
            return Presence::None;
        }
        let Some(root) = self.root.current() else { return Presence::None };
        match self.find(&root, &path, &wants_html) {
            Ok(Some(Found::Listing)) => Presence::Listing,
            Ok(Some(found)) => {
                looked_up::keep(self.address(), below, found);
                Presence::File
            }
            Ok(None) | Err(_) => Presence::None,
        }
    }

    /// Distinguishes the folder from others, for as long as it stays where it is.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn find<'p>(
        &self,
        root: &Opened,
        path: &'p RelativePath<'_>,
        wants_html: &dyn Fn() -> bool,
    ) -> io::Result<Option<Found<'p>>> {
        let found = if path.is_folder { self.page_of(root, path)? } else { self.file_or_folder(root, path)? };
        if found.is_none() && self.options.spa && !path.name().contains(&b'.') && wants_html() {
            if let Lookup::File(file, metadata) = root.look_up(self.options.index.as_bytes())? {
                let path = Cow::Owned(self.options.index.clone().into_bytes());
                return Ok(Some(Found::File { file, metadata, path, is_fallback: true }));
            }
        }
        Ok(found)
    }

    fn file_or_folder<'p>(&self, root: &Opened, path: &'p RelativePath<'_>) -> io::Result<Option<Found<'p>>> {
        Ok(match root.look_up(&path.bytes)? {
            Lookup::File(file, metadata) => {
                Some(Found::File { file, metadata, path: Cow::Borrowed(&path.bytes), is_fallback: false })
            }
            Lookup::Folder => self.page_of(root, path)?.map(|_| Found::Redirect { slash: true }),
            Lookup::Denied => Some(Found::Denied),
            Lookup::Missing => None,
        })
    }

    /// The index of a folder, or its listing.
    fn page_of<'p>(&self, root: &Opened, path: &RelativePath<'_>) -> io::Result<Option<Found<'p>>> {
        if !self.options.index.is_empty() {
            let index = path.join(&self.options.index);
            match root.look_up(&index)? {
                Lookup::File(file, metadata) => {
                    return Ok(Some(Found::File { file, metadata, path: Cow::Owned(index), is_fallback: false }))
                }
                Lookup::Denied => return Ok(Some(Found::Denied)),
                Lookup::Folder | Lookup::Missing => {}
            }
        }
        let is_listed = self.options.listing && matches!(root.look_up(&path.bytes)?, Lookup::Folder);
        Ok(is_listed.then_some(Found::Listing))
    }

    /// Chooses between a file and its compressed forms.
    fn choose<'s>(
        &'s self,
        root: &Opened,
        file: File,
        metadata: Metadata,
        path: &'s [u8],
        is_fallback: bool,
        environ: &Environ<'_>,
    ) -> io::Result<Source<'s>> {
        // RFC 9110 §12.5.5: what the choice depends on, for caches.
        let vary = match (is_fallback, self.options.precompressed) {
            (false, false) => None,
            (true, false) => Some("Accept"),
            (false, true) => Some("Accept-Encoding"),
            (true, true) => Some("Accept, Accept-Encoding"),
        };
        let mut source = Source { file, metadata, name: path, coding: None, cache_control: &self.cache_control, vary };
        if let Some(accepted) = environ.get("HTTP_ACCEPT_ENCODING").filter(|_| self.options.precompressed) {
            if let Some((coding, file, metadata)) = precompressed::open(root, path, &source.metadata, &accepted)? {
                source = Source { file, metadata, coding: Some(coding), ..source };
            }
        }
        Ok(source)
    }

    /// Redirects to the address with single slashes, and with one at its end if `slash` is true: an absolute path, and
    /// never `//`, which would name another host.
    fn redirect(
        &self,
        environ: &Environ<'_>,
        prefix: &str,
        path: &RelativePath<'_>,
        slash: bool,
        start_response: &mut dyn StartResponse,
    ) -> Result<Body, AppError> {
        let script_name = environ.get("SCRIPT_NAME").unwrap_or_default();
        let mut full = [&script_name[..], prefix.as_bytes(), b"/", &path.bytes].concat();
        if slash && !full.ends_with(b"/") {
            full.push(b'/');
        }
        let mut location = format!("/{}", encode(&full).trim_start_matches('/')).into_bytes();
        let query = environ.query();
        if !query.is_empty() {
            location.push(b'?');
            location.extend_from_slice(&query);
        }
        let link = String::from_utf8_lossy(&location).into_owned();
        HttpError::from(Response::redirect(link).with_status(308))
            .with_header("Location", location)
            // Browsers keep a permanent redirect, and the folder may become a file: it is kept as long as a file is.
            .with_header("Cache-Control", self.cache_control.as_str())
            .respond(start_response)
    }
}

impl Application for Folder {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        match self.respond(environ, "", start_response)? {
            Some(body) => Ok(body),
            // Another client may get the index for this path.
            None if is_read(environ) && self.options.spa => {
                HttpError::new(404).with_header("Vary", "Accept").respond(start_response)
            }
            None if is_read(environ) => HttpError::new(404).respond(start_response),
            None => method_not_allowed(start_response),
        }
    }

    /// Everything but a listing, which reads the whole folder.
    fn is_immediate(&self, head: Head<'_>, before_blocking: &mut dyn FnMut()) -> bool {
        let Some(path) = decoded_path(&head).filter(|path| self.options.listing && path.ends_with(b"/")) else {
            return true;
        };
        before_blocking();
        self.presence(&path, "", head) != Presence::Listing
    }
}
