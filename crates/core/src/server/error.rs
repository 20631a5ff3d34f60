//! Why a server ended or could not begin.

use std::fmt;
use std::io;

use crate::wsgi::AppError;

/// Why a server ended or could not begin.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The system refused something.
    Io(io::Error),
    /// Settings that contradict each other, or a state of the process in which the server can't run.
    Settings(String),
    /// The application failed, and [`Settings::passthrough_errors`](super::Settings::passthrough_errors) is on.
    Application(AppError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Io(error) => error.fmt(f),
            ServeError::Settings(message) => f.write_str(message),
            ServeError::Application(error) => write!(f, "the application failed: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Io(error) => Some(error),
            ServeError::Settings(_) => None,
            ServeError::Application(error) => Some(&**error),
        }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> ServeError {
        ServeError::Io(error)
    }
}
