//! Why a server ended or could not begin.

use std::fmt;
use std::io;

use super::io::address::Address;
use crate::wsgi::AppError;

/// Why a server ended or could not begin.
#[derive(Debug)]
pub struct ServeError {
    kind: ServeErrorKind,
}

/// The kinds of [`ServeError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeErrorKind {
    /// The server can't listen on an address.
    Bind {
        /// The address.
        address: Address,
        /// The system's error.
        error: io::Error,
    },
    /// The system refused something else.
    Io(io::Error),
    /// The settings contradict each other, or the process is in a state in which the server can't run. The text says
    /// what to change.
    Settings(String),
    /// The application failed, and [`Settings::passthrough_errors`](super::Settings::passthrough_errors) is on.
    Application(AppError),
}

impl ServeError {
    /// The kind of the error.
    pub fn kind(&self) -> &ServeErrorKind {
        &self.kind
    }

    /// Returns the kind with its values.
    pub fn into_kind(self) -> ServeErrorKind {
        self.kind
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ServeErrorKind::Bind { address, error } => write!(f, "can't listen on {address}: {error}"),
            ServeErrorKind::Io(error) => error.fmt(f),
            ServeErrorKind::Settings(message) => f.write_str(message),
            ServeErrorKind::Application(error) => write!(f, "the application failed: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ServeErrorKind::Bind { error, .. } | ServeErrorKind::Io(error) => Some(error),
            ServeErrorKind::Settings(_) => None,
            ServeErrorKind::Application(error) => Some(&**error),
        }
    }
}

impl From<ServeErrorKind> for ServeError {
    fn from(kind: ServeErrorKind) -> ServeError {
        ServeError { kind }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> ServeError {
        ServeErrorKind::Io(error).into()
    }
}
