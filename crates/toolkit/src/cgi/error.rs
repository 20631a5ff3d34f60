//! [`CgiError`].

use std::path::PathBuf;
use std::{fmt, io};

use amboss_core::AppError;

/// The reason why an application can't run as a CGI script, or a folder can't be used for scripts.
#[derive(Debug)]
pub struct CgiError {
    kind: CgiErrorKind,
}

/// The kinds of [`CgiError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum CgiErrorKind {
    /// The prefix of a folder does not begin with a slash, or has a part that no path has.
    Prefix(String),
    /// The folder with the scripts can't be opened.
    Folder(PathBuf, io::Error),
    /// The environment has no `REQUEST_METHOD`: no web server has started the program.
    NoRequest,
    /// The request in the environment is malformed; the client has received 400 or a similar status.
    Request(String),
    /// The application has failed. Before the head, the client has received 500, or the status of an
    /// [`InputError`](amboss_core::InputError); after the head, the response is incomplete.
    Application(AppError),
    /// The application has panicked. The message has been printed to standard error.
    Panic,
    /// The response can't be written to standard output.
    Output(io::Error),
}

impl CgiError {
    /// The kind of the error.
    pub fn kind(&self) -> &CgiErrorKind {
        &self.kind
    }
}

impl From<CgiErrorKind> for CgiError {
    fn from(kind: CgiErrorKind) -> CgiError {
        CgiError { kind }
    }
}

impl fmt::Display for CgiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CgiErrorKind::Prefix(prefix) => {
                write!(
                    f,
                    "the prefix {prefix:?} is not a path that begins with a slash: write one such as \"/cgi-bin\""
                )
            }
            CgiErrorKind::Folder(path, error) => {
                write!(f, "the folder of CGI scripts {} can't be opened: {error}; check the path", path.display())
            }
            CgiErrorKind::NoRequest => f.write_str(
                "REQUEST_METHOD is not set: this program is a CGI script, so a web server has to start it (RFC 3875)",
            ),
            CgiErrorKind::Request(message) => write!(f, "the request in the environment is malformed: {message}"),
            CgiErrorKind::Application(error) => write!(f, "the application has failed: {error}"),
            CgiErrorKind::Panic => f.write_str("the application has panicked; the message is above"),
            CgiErrorKind::Output(error) => write!(f, "the response can't be written to standard output: {error}"),
        }
    }
}

impl std::error::Error for CgiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            CgiErrorKind::Folder(_, error) | CgiErrorKind::Output(error) => Some(error),
            CgiErrorKind::Application(error) => Some(&**error),
            _ => None,
        }
    }
}
