//! Serving files: [`Folder`] is an application that serves one folder, and [`StaticFiles`] is a middleware that serves
//! folders and files under prefixes of the path.
//!
//! ```no_run
//! use amboss_core::{AppError, Body, Environ, StartResponse, ThreadedWsgiServer};
//! use amboss_toolkit::files::StaticFiles;
//!
//! fn hello(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
//!     start_response.start("200 OK", &[("Content-Type", "text/html")])?;
//!     Ok(Body::from("<link rel=stylesheet href=/static/style.css>Hello world!"))
//! }
//!
//! let app = StaticFiles::new(hello).folder("/static", "assets")?.file("/favicon.ico", "assets/icon.ico")?;
//! ThreadedWsgiServer::bind("localhost:5000", app)?.serve_forever()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is served
//!
//! Only regular files inside the folder, whatever the request and the file system look like. The system resolves each
//! path with the folder as its root (`openat2` with `RESOLVE_BENEATH` on Linux 5.6 and later, a walk through open
//! folders elsewhere; crate `cap-std`), so a symbolic link that leaves the folder is not found, even if it is exchanged
//! while it is opened. Links inside the folder are followed, also to names that begin with a dot. Not found, too, are: `..` and `.`, NUL, backslashes, encoded
//! slashes (`%2f`), pipes, sockets and devices (opened without waiting), names that begin with a dot (unless
//! [`FolderOptions::hidden`]; `/.well-known/` is public, RFC 8615), and, on Windows, device names, alternate streams and
//! short names. A file that the server may not read is answered with 403.
//!
//! The folder may be deleted and created again, or be a link that is exchanged: the server notices it within a
//! millisecond.
//!
//! # How it is served
//!
//! - GET and HEAD; other methods get 405 with `Allow`.
//! - A folder's address without a trailing slash is redirected (308) to the one with it, and one with several slashes
//!   in a row to the one with single slashes.
//! - `ETag` is made from size, times and inode; it is strong, except within the granularity of the file's time stamps
//!   after a change. Copies of a file on several machines have different tags.
//! - `Last-Modified`, and all preconditions in the order of RFC 9110 §13.2.2.
//! - Ranges: one as 206, several as `multipart/byteranges`, at most 16, never a byte twice; `If-Range`.
//! - Small files are read and sent with the head; larger ones are sent by `sendfile`, whatever their length.
//! - `Content-Type` by extension, with `X-Content-Type-Options: nosniff`.
//! - With [`FolderOptions::precompressed`], `app.js.br`, `app.js.zst` or `app.js.gz` beside `app.js`, by Accept-Encoding.
//!   Each is a representation with an `ETag`, to which ranges apply.

mod entries;
mod error;
mod folder;
mod found;
mod listing;
mod looked_up;
mod multipart;
mod options;
mod page;
mod path;
mod precompressed;
mod read_at;
mod request;
mod root;
mod send;
mod static_files;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod validators;

pub use error::{FilesError, FilesErrorKind};
pub use folder::Folder;
pub use options::FolderOptions;
pub use static_files::StaticFiles;
